"""The pool of slots: made cold once, then reused.

Whatever else happens, two rules hold. A slot with somebody's work in it is not touched until that work is on
a ref. And nothing that takes long is done under the repository's lock: only the registration of a worktree,
which is what fails when two processes do it at once.
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import BaseFileLock, FileLock, Timeout

from stratum_git.errors import HostError, StratumError, UserError
from stratum_git.git.repository import Repository, identity
from stratum_git.git.worktree import (
    add_worktree,
    branches_in_use,
    check_out,
    clean,
    clone_private,
    discard,
    unregister,
)
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Occupant, Record, drop_record, read_record, try_lock, write_record

NAME = re.compile(r"(?:slot|clone)-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A place that is held: nobody else gets it until it is released."""

    path: Path
    kind: Literal["worktree", "branch"]
    base: Oid
    branch: RefName
    occupant: Occupant
    lock: BaseFileLock = field(repr=False)


@dataclass
class SlotPool:
    """The slots of one repository. Safe for several threads and processes."""

    repo: Repository
    folders: StateFolders
    keep: int = 8
    lock_timeout: float = 60.0
    _choosing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def acquire(
        self, *, base: Oid, branch: RefName, occupant: Occupant, isolation: Literal["worktree", "branch"]
    ) -> Slot:
        """Returns a slot whose HEAD is on *branch* at *base*, clean, and held by this process."""
        path, lock = self._place(isolation, base)
        slot = Slot(path, isolation, base, branch, occupant, lock)
        try:
            write_record(path, Record(occupant, isolation, base, branch))
            if isolation == "branch":
                who = identity(self.repo)
                clone_private(self.repo, path, base=base, branch=branch, name=who.name, email=who.email)
            else:
                self._free_branch(branch)
                check_out(path, base, branch)
        except BaseException:
            # Nothing was done in it yet, so there is no work to lose.
            self._abolish(slot)
            raise
        return slot

    def release(self, slot: Slot) -> None:
        """Gives a slot back. Its work is on a ref by now; nothing of it stays in the slot."""
        try:
            if slot.kind == "branch" or self._idle() >= self.keep:
                self._abolish(slot)
                return
            check_out(slot.path, slot.base, None)
            clean(slot.path)
            write_record(slot.path, Record(None, slot.kind, slot.base, ""))
        except (StratumError, OSError):
            self._abolish(slot)
        finally:
            slot.lock.release()

    def recover(self, flow: str) -> tuple[Slot, ...]:
        """Returns the slots with work of *flow* whose process is gone, held by this one now."""
        found = []
        for path in self._paths():
            record = read_record(path)
            if record is None or record.occupant is None or record.occupant.flow != flow:
                continue
            lock = try_lock(path)
            if lock is None:
                continue
            kind: Literal["worktree", "branch"] = "branch" if record.kind == "branch" else "worktree"
            if path.is_dir():
                base, branch = Oid(record.base), RefName(record.branch)
                found.append(Slot(path, kind, base, branch, record.occupant, lock))
            else:
                drop_record(path)
                lock.release()
        return tuple(found)

    def empty_trash(self) -> None:
        """Deletes what was thrown away. Takes as long as it takes; not for while somebody waits."""
        for path in self.folders.trash.iterdir():
            shutil.rmtree(path, ignore_errors=True)

    def _place(self, isolation: str, base: Oid) -> tuple[Path, BaseFileLock]:
        if isolation == "branch":
            return self._fresh("clone")
        with self._choosing:
            idle = self._idle_paths(base)
            for path in idle:
                lock = try_lock(path)
                if lock is None:
                    continue
                # Looked at again under the lock: somebody may have had it in between.
                record = read_record(path)
                if record is not None and record.occupant is None and (path / ".git").exists():
                    return path, lock
                lock.release()
        path, held = self._fresh("slot")
        try:
            with self._repository_lock():
                add_worktree(self.repo, path, base=base, reason="stratum-git slot")
        except BaseException:
            held.release()
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
            raise
        return path, held

    def _fresh(self, prefix: str) -> tuple[Path, BaseFileLock]:
        while True:
            path = self.folders.slots / f"{prefix}-{secrets.token_hex(4)}"
            fresh = None if path.exists() else try_lock(path)
            if fresh is not None:
                return path, fresh

    def _idle_paths(self, base: Oid) -> list[Path]:
        """Returns slots that nobody's work is in, those last used for the same base first."""
        records = [(path, read_record(path)) for path in self._paths()]
        idle = [
            (record.base != base, path)
            for path, record in records
            if record is not None and not record.occupant
        ]
        return [path for _, path in sorted(idle)]

    def _idle(self) -> int:
        records = (read_record(path) for path in self._paths())
        return sum(record is not None and record.occupant is None for record in records)

    def _paths(self) -> list[Path]:
        folder = self.folders.slots
        names = {p.name.removesuffix(".json") for p in folder.glob("*.json")}
        return [folder / name for name in sorted(names) if NAME.fullmatch(name)]

    def _free_branch(self, branch: RefName) -> None:
        """Makes sure that *branch* is not checked out where it must not be moved: in the user's checkout."""
        path = branches_in_use(self.repo).get(branch)
        if path is not None and not path.is_relative_to(self.folders.slots):
            hint = f"check out another branch in {path}"
            raise UserError(f"the branch {branch} is checked out in {path}", hint=hint)

    def _abolish(self, slot: Slot) -> None:
        discard(slot.path, self.folders.trash)
        if slot.kind == "worktree":
            with self._repository_lock():
                unregister(self.repo, slot.path)
        drop_record(slot.path)
        if slot.lock.is_locked:
            slot.lock.release()
        slot.path.with_name(f"{slot.path.name}.lock").unlink(missing_ok=True)

    @contextmanager
    def _repository_lock(self) -> Iterator[None]:
        lock = FileLock(self.folders.locks / "worktrees.lock", thread_local=False)
        try:
            lock.acquire(timeout=self.lock_timeout)
        except Timeout as error:
            hint = "another stratum-git has held it all that time; see who with `fuser`"
            raise HostError(f"{lock.lock_file} was not free in {self.lock_timeout:g} s", hint=hint) from error
        try:
            yield
        finally:
            lock.release()
