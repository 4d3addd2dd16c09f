"""The pool of slots: made cold once, then reused.

Whatever else happens, two rules hold. A slot with somebody's work in it is not touched until that work is on
a ref. And nothing that takes long is done under the repository's lock: only the registration of a worktree,
which is what fails when two processes do it at once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import BaseFileLock

from stratum_git.errors import BugError, HostError, StratumError
from stratum_git.git.refs import LostRace, RefSession, RefUpdate, tip_nowait, transact
from stratum_git.git.repository import Repository, identity
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import attach, check_out, clean, clone_private, discard, folders_of
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots import trash
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.mounts import detach
from stratum_git.slots.occupancy import (
    Kind,
    Occupant,
    Occupied,
    Vacant,
    as_left,
    forget,
    is_bare,
    read_record,
    try_lock,
    work_in,
    write_record,
)
from stratum_git.slots.registry import Registry
from stratum_git.slots.scrub import is_reusable, scrub
from stratum_git.slots.slot import Slot

BY = "stratum-git"
NAME = re.compile(r"(?:slot|clone)-[0-9a-f]{8}")
DETACHED = RefName("")


class SlotFailed(HostError):  # noqa: N818 - reads as what happened
    """A slot could not be made ready, or not be saved."""


@dataclass
class SlotPool:
    """The slots of one repository. Safe for several threads and processes.

    ``keep`` is how many idle slots stay for the next tenants, ``lock_timeout`` how many seconds are spent
    waiting for other processes that register worktrees in the same repository. ``refs`` is what moves
    branches, where many are moved, ``trees`` what saves looking for dirt in small checkouts; whoever gave
    them closes them.
    """

    repo: Repository
    folders: StateFolders
    keep: int = 8
    lock_timeout: float = 30.0
    refs: RefSession | None = None
    trees: TreeReader | None = None
    _registry: Registry = field(init=False, repr=False)
    _last_folders: tuple[Oid | None, frozenset[str]] = field(
        init=False, repr=False, default=(None, frozenset())
    )

    def __post_init__(self) -> None:
        lock = self.folders.locks / "worktrees.lock"
        self._registry = Registry(self.repo, self.folders.slots, lock, self.lock_timeout)

    def acquire(
        self,
        *,
        base: Oid,
        branch: RefName,
        occupant: Occupant,
        isolation: Kind,
        keep_ignored: tuple[str, ...] = (),
    ) -> Slot:
        """Returns a slot whose HEAD is on *branch* at *base*, clean, and held by this process.

        A *branch* that exists is moved to *base*: what it pointed to must be on another ref. Untracked files
        of a former tenant that match *keep_ignored* stay, if that one asked for the same.

        Raises:
            BranchInUse: The user has the branch checked out.
            SlotFailed: Anything else; nothing half-made is left behind.
        """
        if isolation == "worktree":
            self.branch_in_use(branch)
        path, lock = (self._reused(base) if isolation == "worktree" else None) or self._fresh(isolation)
        slot = Slot(path, isolation, base, branch, occupant, lock, keep_ignored)
        return self._ready(slot, Occupied(isolation, base, branch, occupant, keep_ignored))

    def borrow(self, *, base: Oid, occupant: Occupant) -> Slot:
        """Returns a detached slot for what makes no work: after a crash it is thrown away."""
        path, lock = self._reused(base) or self._fresh("worktree")
        return self._ready(Slot(path, "worktree", base, DETACHED, occupant, lock), None)

    def release(self, slot: Slot) -> None:
        """Gives a slot back. Its work is on a ref by now; nothing of it stays in the slot."""
        if not slot.lock.is_locked:
            raise BugError(f"the slot {slot.name} was released twice")
        kept = False
        try:
            # A slot that cannot be cleaned is thrown away: another one takes its place.
            with suppress(StratumError, OSError):
                write_record(slot.path, Vacant(slot.kind, slot.base, ready=False))
                kept = self._is_worth_keeping(slot) and self._is_offered(slot)
        finally:
            if not kept:
                self._abolish(slot.path, slot.lock)
            slot.lock.release()

    def mend(self, slot: Slot) -> bool:
        """Makes a slot one that git can read; returns whether its tenant had taken its repository from it."""
        # Git would take the next repository above it for its own.
        detach(slot.path)
        if slot.kind != "worktree" or self._registry.is_sound(slot.path):
            return False
        self._is_mended(slot.path, Occupied(slot.kind, slot.base, slot.branch, slot.occupant))
        return True

    def folders_in(self, slot: Slot) -> frozenset[str]:
        """Returns the folders of the commit that a slot started from."""
        return self._folders_of(slot.base)

    def retire(self, slot: Slot) -> None:
        """Throws a slot away, whose work is on a ref. Whoever was in it may still be: nobody comes next."""
        with suppress(StratumError, OSError):
            write_record(slot.path, Vacant(slot.kind, slot.base, ready=False))
        self._abolish(slot.path, slot.lock)

    def leave(self, slot: Slot) -> None:
        """Lets go of a slot whose tenant stays: no process holds it until it is entered, or recovered."""
        slot.lock.release()

    def enter(self, occupant: Occupant) -> Slot | None:
        """Returns the slot that *occupant* was left in, held by this process; ``None`` when there is none."""
        for path in self._paths():
            slot = self._abandoned(path, lambda who: who == occupant)
            if slot is not None:
                return slot
        return None

    def find(self, occupant: Occupant) -> tuple[Path, Oid] | None:
        """Returns the slot that *occupant* is in, whoever holds it, and the commit it started from there."""
        for path in self._paths():
            record = work_in(path, lambda who: who == occupant)
            if record is not None:
                return path, record.base
        return None

    def recover(
        self, flow: str | None = None, *, spare: frozenset[Occupant] = frozenset()
    ) -> tuple[Slot, ...]:
        """Returns the slots with work of *flow*, or of any, whose process is gone; this one holds them now.

        Those of *spare* stay: no process holds them, and their tenants are at work all the same.

        The caller puts their work on refs and releases them. Of several who ask, each gets other slots.

        Raises:
            SlotFailed: A slot cannot be made readable. Nothing was changed in any of them.
        """
        found: list[Slot] = []
        try:
            for path in self._paths():
                slot = self._abandoned(path, lambda who: flow in {None, who.flow} and who not in spare)
                if slot is not None:
                    found.append(slot)
        except BaseException:
            for slot in found:
                slot.lock.release()
            raise
        return tuple(found)

    def branch_in_use(self, branch: RefName) -> None:
        """Raises BranchInUse when the user has *branch* checked out; slots that are on it leave it."""
        self._registry.vacate(branch)

    def tidy(self) -> None:
        """Throws away what nobody needs: half-made slots, idle ones beyond ``keep``, entries of lost ones."""
        spare = self.keep
        for path in self._nameless():
            lock = try_lock(path)
            # Whoever is making it holds the lock, and has no record yet.
            if lock is not None and read_record(path) is None and is_bare(path):
                self._abolish(path, lock)
            elif lock is not None:
                lock.release()
        for path in self._paths():
            record = read_record(path)
            if not isinstance(record, Vacant):
                continue
            good = record.ready and record.kind == "worktree" and self._registry.is_sound(path)
            spare -= good
            if not good or spare < 0:
                self._replace(path)
        for path, entry in self._registry.lost().items():
            lock = try_lock(path)
            if lock is not None and read_record(path) is None and self._registry.holds_nothing(entry):
                self._abolish(path, lock)
            elif lock is not None:
                lock.release()
        self._registry.sweep()

    def occupants(self) -> frozenset[Occupant]:
        """Returns whose work is in slots, whether or not anybody is at it now."""
        records = map(read_record, self._paths())
        return frozenset(record.occupant for record in records if isinstance(record, Occupied))

    def empty_trash(self, limit: float, clock: Callable[[], float]) -> bool:
        """Deletes what was thrown away, for about *limit* seconds; returns whether all of it is gone."""
        return trash.empty(self.folders.trash, limit=limit, clock=clock)

    def _reused(self, base: Oid) -> tuple[Path, BaseFileLock] | None:
        for path in self._vacant(base):
            lock = try_lock(path)
            if lock is None:
                continue
            record = read_record(path)
            if isinstance(record, Vacant) and record.ready and self._registry.is_sound(path):
                return path, lock
            if isinstance(record, Vacant):
                self._abolish(path, lock)
            lock.release()
        return None

    def _fresh(self, kind: Kind) -> tuple[Path, BaseFileLock]:
        folder, prefix = self.folders.slots, "slot" if kind == "worktree" else "clone"
        while True:
            path = folder / f"{prefix}-{secrets.token_hex(4)}"
            lock = None if path.exists() else try_lock(path)
            if lock is not None:
                return path, lock

    def _ready(self, slot: Slot, record: Occupied | None) -> Slot:
        try:
            self._prepare(slot)
            if record is not None:
                write_record(slot.path, record)
        except BaseException as error:
            # Nothing was done in it yet, so there is no work to lose.
            self._abolish(slot.path, slot.lock)
            if not isinstance(error, StratumError | OSError):
                raise
            raise _failed(slot, error) from error
        return slot

    def _prepare(self, slot: Slot) -> None:
        before = read_record(slot.path)
        write_record(slot.path, Vacant(slot.kind, slot.base, ready=False))
        if slot.kind == "branch":
            who = identity(self.repo)
            clone_private(
                self.repo, slot.path, base=slot.base, branch=slot.branch, name=who.name, email=who.email
            )
            return
        if before == as_left(slot.kind, slot.base, slot.keep_ignored):
            # It lies there just as it is wanted; to look at every file again would cost what was saved.
            self._join(slot)
            return
        if before is None:
            self._registry.add(slot.path, slot.base)
        # Detached first: git looks at everybody's worktrees before it moves a branch by name.
        check_out(slot.path, slot.base, None)
        self._join(slot)
        if isinstance(before, Vacant) and before.kept and before.kept != slot.keep_ignored:
            clean(slot.path, self._folders_of(slot.base))

    def _join(self, slot: Slot) -> None:
        if slot.branch != DETACHED:
            self._point(slot.branch, slot.base)
            attach(slot.path, slot.branch)

    def _point(self, branch: RefName, base: Oid) -> None:
        """Makes *branch*, or moves it, to *base*."""
        now = tip_nowait(self.repo, branch)
        if now == base:
            return
        update = [RefUpdate(branch, base, now)]
        session = self.refs
        answer = transact(self.repo, update, message=BY) if session is None else session.transact(update)
        if isinstance(answer, LostRace):
            raise HostError(f"{branch} was moved by somebody else meanwhile")

    def _is_worth_keeping(self, slot: Slot) -> bool:
        return slot.kind == "worktree" and self._registry.is_sound(slot.path) and is_reusable(slot.path)

    def _is_offered(self, slot: Slot) -> bool:
        """Cleans a slot for whoever comes next, and returns whether there is use for it."""
        folders = self._folders_of(slot.base)
        scrub(slot.path, slot.base, folders, slot.keep_ignored, self.folders.trash, self.trees)
        # Counted in turn: several may be given back at once.
        with self._registry.turn():
            wanted = len(self._idle()) < self.keep
            if wanted:
                write_record(slot.path, as_left(slot.kind, slot.base, slot.keep_ignored))
        return wanted

    def _abandoned(self, path: Path, is_wanted: Callable[[Occupant], bool]) -> Slot | None:
        if work_in(path, is_wanted) is None:
            return None
        lock = try_lock(path)
        if lock is None:
            return None
        try:
            # Read again: somebody else may have recovered it in between.
            record = work_in(path, is_wanted)
            if record is not None and self._is_mended(path, record):
                kind, kept = record.kind, record.kept
                return Slot(path, kind, record.base, record.branch, record.occupant, lock, kept)
        except (StratumError, OSError) as error:
            lock.release()
            what = f"the abandoned slot {path} cannot be read: {_words(error)}"
            raise SlotFailed(what, hint="save what you need of it, then delete its .json file") from error
        if record is not None:
            self._abolish(path, lock)
        lock.release()
        return None

    def _is_mended(self, path: Path, record: Occupied) -> bool:
        """Makes an abandoned slot readable for git; returns whether there is anything left of it."""
        if record.kind == "worktree":
            spare, lock = self._fresh("worktree")
            try:
                return self._registry.mend(path, spare, record.base, record.branch)
            finally:
                forget(spare)
                lock.release()
        return path.is_dir()

    def _replace(self, path: Path) -> None:
        lock = try_lock(path)
        if lock is not None and isinstance(read_record(path), Vacant):
            self._abolish(path, lock)
        elif lock is not None:
            lock.release()

    def _abolish(self, path: Path, lock: BaseFileLock) -> None:
        """Throws a slot away and gives its lock back. What cannot be done now, :meth:`tidy` does later."""
        try:
            with suppress(StratumError, OSError):
                discard(path, self.folders.trash)
                self._registry.drop(path)
                forget(path)
        finally:
            lock.release()

    def _folders_of(self, commit: Oid) -> frozenset[str]:
        """Returns the folders of a commit, asked of git once for as long as slots are at the same one."""
        known, folders = self._last_folders
        if known != commit:
            folders = folders_of(self.repo, commit)
            self._last_folders = (commit, folders)
        return folders

    def _idle(self) -> list[Path]:
        """Returns the worktrees that wait for a tenant."""
        return [path for path, record in self._vacancies() if record.ready]

    def _vacant(self, base: Oid) -> list[Path]:
        """Returns the worktrees that nobody's work is in, those last used for the same base first."""
        return [path for _, path in sorted((r.base != base, path) for path, r in self._vacancies())]

    def _vacancies(self) -> Iterator[tuple[Path, Vacant]]:
        for path in self._paths():
            record = read_record(path)
            if isinstance(record, Vacant) and record.kind == "worktree":
                yield path, record

    def _nameless(self) -> list[Path]:
        """Returns what a process that was killed began to make, or to drop, and of which no record tells."""
        names = {path.name.partition(".")[0] for path in self.folders.slots.iterdir()}
        recorded = {path.name for path in self._paths()}
        return [self.folders.slots / name for name in sorted(names - recorded) if NAME.fullmatch(name)]

    def _paths(self) -> list[Path]:
        folder = self.folders.slots
        names = (p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json"))
        return [folder / name for name in sorted(names) if NAME.fullmatch(name)]


def _failed(slot: Slot, error: StratumError | OSError) -> SlotFailed:
    what = f"the slot {slot.path} could not be put on {slot.branch} at {slot.base}: {_words(error)}"
    return SlotFailed(what, hint=error.hint if isinstance(error, StratumError) else "")


def _words(error: StratumError | OSError) -> str:
    return error.message if isinstance(error, StratumError) else str(error)
