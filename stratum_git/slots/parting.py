"""Gives up slots that nobody is in any more: who gives one up only says so, a thread does the rest.

First it writes that nobody's work is there, and has the repository forget the worktree: two renames. Then it
deletes. The slot's lock is held all the time, so to others it is one that is given back a moment later. Who
is killed before leaves a slot with work that is on a ref already, and recovery captures it once more; who is
killed after leaves one that nobody needs, as one that was half made.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from stratum_git.errors import StratumError
from stratum_git.model.ids import RefName
from stratum_git.model.values import dataclass, field
from stratum_git.slots.locking import SlotLock
from stratum_git.slots.occupancy import Vacant, forget, write_record
from stratum_git.slots.registry import Registry
from stratum_git.slots.rungs.base import Rung
from stratum_git.slots.slot import Slot

MOST = 32
"""Slots that wait, with all that is in them; who gives up one more throws it away himself."""

OFTEN = 16
"""Slots after which their registrations are swept."""


@dataclass(eq=False, slots=True)
class _Going:
    """A slot on its way out. ``is_forgotten``: the repository has forgotten the worktree."""

    path: Path
    branch: RefName
    record: Vacant
    lock: SlotLock
    is_left: bool = False
    is_forgotten: bool = False


Todo = SimpleQueue[_Going | None]


@dataclass(eq=False)
class Parting:
    """The slots of a pool that are on their way out, at most so many. Safe for several threads."""

    registry: Registry
    rung_of: Callable[[str], Rung]
    most: int = MOST
    _going: dict[str, _Going] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _leaving: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _thread: tuple[threading.Thread, Todo] | None = field(default=None, repr=False)
    _since: int = 0

    def begin(self, slot: Slot) -> bool:
        """Takes a slot over from its holder, lock and all; returns whether that was possible."""
        with self._lock:
            if len(self._going) >= self.most:
                return False
            record = Vacant(slot.kind, slot.base, ready=False, rung=slot.rung)
            going = _Going(slot.path, slot.branch, record, slot.lock.passed_on())
            self._going[slot.name] = going
            todo = self._todo()
            if todo is not None:
                todo.put(going)
        if todo is None:
            self._finish(going)
        return True

    @property
    def waiting(self) -> int:
        """Returns how many slots nobody has begun with."""
        return len(self._going)

    def settle(self, branch: RefName | None = None) -> None:
        """Sees to it that the slots on *branch*, or all, are nobody's: who looks finds them given back."""
        with self._lock:
            every = [one for one in self._going.values() if branch in {None, one.branch}]
        for going in every:
            self._leave(going)

    def wait(self) -> None:
        """Waits until nothing is left of those that were taken over; a process that ends does so as well."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            atexit.unregister(self.wait)
            thread[1].put(None)
            thread[0].join()

    def _todo(self) -> Todo | None:
        """Returns what the thread is told by, or ``None`` when there can be none. The caller has the lock."""
        if self._thread is None:
            todo: Todo = SimpleQueue()
            # It waits for the next slot until somebody ends it: to begin it takes longer than all the rest.
            thread = threading.Thread(target=self._run, args=(todo,), name="parting", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # There are too many, or the process is about to end.
                return None
            self._thread = thread, todo
            atexit.register(self.wait)
        return self._thread[1]

    def _run(self, todo: Todo) -> None:
        while (going := todo.get()) is not None:
            self._finish(going)

    def _leave(self, going: _Going) -> None:
        with self._leaving:
            if not going.is_left:
                going.is_left = True
                # What cannot be done now is done with the rest.
                with suppress(StratumError, OSError):
                    write_record(going.path, going.record)
                    going.is_forgotten = self.registry.give_up(going.path)

    def _finish(self, going: _Going) -> None:
        try:
            self._leave(going)
            with self._lock:
                del self._going[going.path.name]
            # What cannot be done now, whoever tidies does later.
            with suppress(StratumError, OSError):
                rung = self.rung_of(going.record.rung)
                rung.discard(going.path)
                if going.is_forgotten:
                    self.registry.shut(going.path)
                else:
                    self.registry.drop(going.path)
                forget(going.path)
                self._sweep()
                rung.prepare()
        finally:
            going.lock.release()

    def _sweep(self) -> None:
        """Deletes what was forgotten a while ago, now and then: that looks at all that went just now."""
        self._since += 1
        if self._since >= OFTEN:
            self._since = 0
            self.registry.sweep()
