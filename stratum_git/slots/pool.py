"""The pool of slots: made cold once, then reused.

Whatever else happens, two rules hold. A slot with somebody's work in it is not touched until that work is on
a ref. And nothing that takes long is done under the repository's lock: only the registration of a worktree,
which is what fails when two processes do it at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stratum_git.errors import BugError, StratumError
from stratum_git.git.refs import RefSession
from stratum_git.git.repository import Repository, identity
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import clone_private, folders_of
from stratum_git.model.changing import replace
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass, field
from stratum_git.slots import trash
from stratum_git.slots.census import nameless, places
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.joining import DETACHED, join
from stratum_git.slots.ladder import Ladder
from stratum_git.slots.locking import SlotLock
from stratum_git.slots.mounts import detach
from stratum_git.slots.occupancy import (
    Kind,
    Occupant,
    Occupied,
    Vacant,
    forget,
    is_bare,
    read_record,
    try_lock,
    work_in,
    write_record,
)
from stratum_git.slots.parting import Parting
from stratum_git.slots.registry import Registry, registry_of
from stratum_git.slots.rungs.base import Declined, Rung
from stratum_git.slots.rungs.plain import Cold
from stratum_git.slots.settings import Settings
from stratum_git.slots.slot import Slot, SlotFailed, failed, held, in_words, occupied
from stratum_git.slots.yard import Yard


@dataclass
class SlotPool:
    """The slots of one repository. Safe for several threads and processes.

    ``keep`` is how many idle slots stay for the next tenants, ``lock_timeout`` how many seconds are spent
    waiting for others that register worktrees. ``refs`` moves branches, where many are moved, ``trees``
    saves looking for dirt; whoever gave them closes them. ``ladder`` are the ways to come to a slot; without
    one, git checks out; ``tell`` is told when one declined and the next was taken. With ``background``
    threads clean what is given back, until the pool is closed, and throw away what is not kept, to the end.
    """

    repo: Repository
    folders: StateFolders
    keep: int = 8
    lock_timeout: float = 30.0
    refs: RefSession | None = None
    trees: TreeReader | None = None
    ladder: Ladder | None = None
    tell: Callable[[str], None] = lambda _: None
    background: bool = False
    _registry: Registry = field(init=False, repr=False)
    _ladder: Ladder = field(init=False, repr=False)
    _yard: Yard = field(init=False, repr=False)
    _settings: Settings = field(init=False, repr=False)
    _parting: Parting = field(init=False, repr=False)
    _last_folders: tuple[Oid | None, frozenset[str]] = field(init=False, default=(None, frozenset()))

    def __post_init__(self) -> None:
        self._registry = registry_of(self.repo, self.folders, self.lock_timeout)
        self._ladder = self.ladder or Ladder((Cold(self._registry, self.folders.trash, self.trees),))
        self._settings = self._ladder.settings or Settings(self.repo)
        self._parting = Parting(self._registry, self._ladder.of)
        self._yard = Yard(
            self._registry,
            self.folders,
            lambda: 0 if self._ladder.warm is None else self.keep,
            self._ladder.of,
            self.folders_at,
            self._abolish,
            self._settings.digest,
            self.trees,
            self.background,
        )

    def close(self) -> None:
        """Ends what is done in the background; the pool can be used again."""
        self._yard.close()
        self._parting.wait()
        for rung in self._ladder.rungs:
            rung.close()

    def acquire(
        self,
        *,
        base: Oid,
        branch: RefName,
        occupant: Occupant,
        isolation: Kind,
        keep_ignored: tuple[str, ...] = (),
        visible: bool = False,
    ) -> Slot:
        """Returns a slot whose HEAD is on *branch* at *base*, clean, and held by this process.

        A *branch* that exists is moved to *base*: what it pointed to must be on another ref. Untracked files
        of a former tenant that match *keep_ignored* stay, if that one asked for the same. A *visible* slot
        is seen by all processes of the user, not only by what this one starts.

        Raises:
            BranchInUse: The user has the branch checked out.
            SlotFailed: Anything else; nothing half-made is left behind.
        """
        if isolation == "worktree":
            self.branch_in_use(branch)
        return self._placed(isolation, base, branch, occupant, keep_ignored, visible=visible, recorded=True)

    def borrow(self, *, base: Oid, occupant: Occupant, recorded: bool = False) -> Slot:
        """Returns a detached slot for what makes no work: after a crash it is thrown away.

        *recorded*: there may be work all the same. It is found, and kept, as any that was left behind.
        """
        return self._placed("worktree", base, DETACHED, occupant, (), visible=recorded, recorded=recorded)

    def release(self, slot: Slot) -> None:
        """Gives a slot back, whose work is on a ref by now. Whoever comes next finds nothing of it."""
        if not slot.lock.is_locked:
            raise BugError(f"the slot {slot.name} was released twice")
        if self.is_parting(slot) and self._parting.begin(slot):
            return
        kept = False
        try:
            # A slot that cannot be cleaned is thrown away: another one takes its place.
            with suppress(StratumError, OSError):
                kept = self._yard.admit(slot)
        finally:
            if not kept:
                self._abolish(slot.path, slot.lock)
            slot.lock.release()
        if kept:
            self._yard.wake(slot.path)

    def is_parting(self, slot: Slot) -> bool:
        """Returns whether a slot that is released is for nobody else, and thrown away in the background."""
        return self.background and not self._yard.keeps(slot)

    def mend(self, slot: Slot) -> bool:
        """Makes a slot one that git can read; returns whether its tenant had taken its repository from it."""
        record = occupied(slot)
        if slot.kind == "worktree":
            self._ladder.of(slot.rung).wake(slot.path, record)
        # Git would take the next repository above it for its own.
        detach(slot.path, inner=slot.is_mount)
        if slot.kind != "worktree" or self._registry.is_sound(slot.path):
            return False
        self._is_mended(slot.path, record)
        return True

    def folders_at(self, commit: Oid) -> frozenset[str]:
        """Returns the folders of a commit."""
        known, folders = self._last_folders
        if known != commit:
            # Asked of git once for as long as slots are at the same commit.
            folders = folders_of(self.repo, commit)
            self._last_folders = (commit, folders)
        return folders

    def retire(self, slot: Slot) -> None:
        """Throws a slot away, whose work is on a ref. Whoever was in it may still be: nobody comes next."""
        with suppress(StratumError, OSError):
            write_record(slot.path, Vacant(slot.kind, slot.base, ready=False, rung=slot.rung))
        self._abolish(slot.path, slot.lock)

    def leave(self, slot: Slot) -> None:
        """Lets go of a slot whose tenant stays: no process holds it until it is entered, or recovered."""
        slot.lock.release()

    def enter(self, occupant: Occupant) -> Slot | None:
        """Returns the slot that *occupant* was left in, held by this process; ``None`` when there is none."""
        self._parting.settle()
        for path in places(self.folders.slots):
            slot = self._abandoned(path, lambda who: who == occupant)
            if slot is not None:
                return slot
        return None

    def find(self, occupant: Occupant, *, awake: bool = False) -> tuple[Path, Oid] | None:
        """Returns the slot that *occupant* is in, whoever holds it, and the commit it started from there.

        *awake*: somebody is to work there, so its files have to be; what is mounted goes with the machine.
        """
        self._parting.settle()
        for path in places(self.folders.slots):
            record = work_in(path, lambda who: who == occupant)
            if record is None:
                continue
            if awake and self._ladder.of(record.rung).is_gone(path):
                slot = self.enter(occupant)
                if slot is None:
                    return self.find(occupant)
                self.leave(slot)
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
            for path in places(self.folders.slots):
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
        self._parting.settle(branch)
        self._registry.vacate(branch)

    def tidy(self) -> None:
        """Throws away what nobody needs: half-made slots, idle ones beyond ``keep``, entries of lost ones."""
        self._parting.wait()
        for path in nameless(self.folders.slots):
            lock = try_lock(path)
            # Whoever is making it holds the lock, and has no record yet.
            if lock is not None and read_record(path) is None and is_bare(path):
                self._abolish(path, lock)
            elif lock is not None:
                lock.release()
        for path in self._yard.surplus():
            self._replace(path)
        for path, entry in self._registry.lost().items():
            lock = try_lock(path)
            if lock is not None and read_record(path) is None and self._registry.holds_nothing(entry):
                self._abolish(path, lock)
            elif lock is not None:
                lock.release()
        known = frozenset(path.name for path in places(self.folders.slots))
        for rung in self._ladder.rungs:
            rung.sweep(known)
        self._registry.sweep(to_the_end=True)  # Last: it waits for what was dropped just now.

    def occupants(self) -> frozenset[Occupant]:
        """Returns whose work is in slots, whether or not anybody is at it now."""
        self._parting.settle()
        every = map(read_record, places(self.folders.slots))
        return frozenset(record.occupant for record in every if isinstance(record, Occupied))

    def empty_trash(self, limit: float, clock: Callable[[], float]) -> bool:
        """Deletes what was thrown away, for about *limit* seconds; returns whether all of it is gone."""
        return trash.empty(self.folders.trash, limit=limit, clock=clock)

    def _fresh(self, kind: Kind) -> tuple[Path, SlotLock]:
        while True:
            prefix = "slot" if kind == "worktree" else "clone"
            path = self.folders.slots / f"{prefix}-{secrets.token_hex(4)}"
            lock = None if path.exists() else try_lock(path)
            if lock is not None:
                return path, lock

    def _placed(
        self,
        kind: Kind,
        base: Oid,
        branch: RefName,
        occupant: Occupant,
        keep: tuple[str, ...],
        *,
        visible: bool,
        recorded: bool,
    ) -> Slot:
        """Returns a slot from the first rung that has one."""
        # Read before anything is made with them: where they change meanwhile, the slot has the old word.
        settings = self._settings.digest() if kind == "worktree" else ""
        # Who wants files to stay takes a slot that may have them.
        first = (None,) if keep or kind == "branch" else ()
        for rung in (*first, *(self._ladder.steps(visible=visible) if kind == "worktree" else ())):
            idle_one = self._yard.take(base, keep, settings) if rung is None and kind == "worktree" else None
            if rung is None and kind == "worktree" and idle_one is None:
                continue
            path, lock = idle_one or self._fresh(kind)
            name = "" if rung is None else rung.name
            slot = Slot(path, kind, base, branch, occupant, lock, keep, name, settings)
            try:
                return self._ready(slot, rung, recorded=recorded)
            except Declined as error:
                self.tell(f"slots: {name} declined: {error.message}")
            except SlotFailed as error:
                if rung is not None or kind != "worktree":
                    raise
                self.tell(f"slots: an idle one was given up: {error.message}")
        raise BugError("no rung was left that works everywhere")

    def _ready(self, slot: Slot, rung: Rung | None, *, recorded: bool) -> Slot:
        try:
            slot = self._prepare(slot, rung)
            if recorded:
                write_record(slot.path, occupied(slot), is_first=True)
        except BaseException as error:
            # Nothing was done in it yet, so there is no work to lose.
            self._abolish(slot.path, slot.lock)
            if isinstance(error, Declined) or not isinstance(error, StratumError | OSError):
                raise
            raise failed(slot, error) from error
        return slot

    def _prepare(self, slot: Slot, rung: Rung | None) -> Slot:
        before = read_record(slot.path)
        name = before.rung if isinstance(before, Vacant) else slot.rung
        slot = replace(slot, rung=name)
        write_record(slot.path, Vacant(slot.kind, slot.base, ready=False, rung=name))
        if slot.kind == "branch":
            me, at = identity(self.repo), slot.path
            clone_private(self.repo, at, base=slot.base, branch=slot.branch, name=me.name, email=me.email)
            return slot
        if rung is not None:
            rung.make(slot.path, slot.base)
        elif isinstance(before, Vacant):
            self._yard.prepare(slot, before)
        join(self.repo, self.refs, slot)
        return self._layered(slot)

    def _layered(self, slot: Slot) -> Slot:
        rung = self._ladder.of(slot.rung)
        return replace(slot, layer=rung.layer(slot.path), is_mount=rung.is_mount)

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
                slot = held(path, record, lock)
                return slot if slot.kind != "worktree" else self._layered(slot)
        except (StratumError, OSError) as error:
            lock.release()
            what = f"the abandoned slot {path} cannot be read: {in_words(error)}"
            raise SlotFailed(what, hint="save what you need of it, then delete its .json file") from error
        if record is not None:
            self._abolish(path, lock)
        lock.release()
        return None

    def _is_mended(self, path: Path, record: Occupied) -> bool:
        """Makes an abandoned slot readable for git; returns whether there is anything left of it."""
        if record.kind == "worktree":
            self._ladder.of(record.rung).wake(path, record)
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

    def _abolish(self, path: Path, lock: SlotLock) -> None:
        """Throws a slot away and gives its lock back. What cannot be done now, :meth:`tidy` does later."""
        try:
            with suppress(StratumError, OSError):
                record = read_record(path)
                name = record.rung if isinstance(record, Vacant | Occupied) else ""
                self._ladder.of(name).discard(path)
                self._registry.drop(path)
                forget(path)
        finally:
            lock.release()
