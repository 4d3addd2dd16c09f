"""Gives up slots that nobody is in any more: at once what others may see of them, later what takes time.

At once a record says that nobody's work is there, and the repository forgets the worktree: two renames.
Who is killed then leaves a slot that nobody needs, as one that was half made. A thread does the rest, and
holds the slot's lock until it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.errors import StratumError
from stratum_git.slots.cleaner import Cleaner
from stratum_git.slots.locking import SlotLock
from stratum_git.slots.occupancy import Vacant, forget, write_record
from stratum_git.slots.registry import Registry
from stratum_git.slots.rungs.base import Rung
from stratum_git.slots.slot import Slot

MOST = 32
"""Slots that wait, with all that is in them; who gives up one more throws it away himself."""


@dataclass
class Parting:
    """The slots of a pool that are on their way out, at most so many. Safe for several threads."""

    registry: Registry
    rung_of: Callable[[str], Rung]
    most: int = MOST
    _going: dict[Path, tuple[SlotLock, str]] = field(default_factory=dict)
    _thread: Cleaner = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._thread = Cleaner(self._finish, to_the_end=True)

    def begin(self, slot: Slot) -> bool:
        """Takes a slot over from its holder, lock and all; returns whether that was possible."""
        if self.waiting >= self.most:
            return False
        record = Vacant(slot.kind, slot.base, ready=False, rung=slot.rung)
        with suppress(StratumError, OSError):
            write_record(slot.path, record)
            if self.registry.give_up(slot.path):
                self._going[slot.path] = slot.lock.passed_on(), slot.rung
                if not self._thread.add(slot.path):
                    self._finish(slot.path)
                return True
        return False

    @property
    def waiting(self) -> int:
        """Returns how many slots nobody has begun with."""
        return len(self._going)

    def wait(self) -> None:
        """Waits until nothing is left of those that were taken over."""
        self._thread.finish()

    def _finish(self, place: Path) -> None:
        lock, rung = self._going.pop(place)
        try:
            # What cannot be done now, whoever tidies does later.
            with suppress(StratumError, OSError):
                self.rung_of(rung).discard(place)
                forget(place)
                self.registry.sweep()
                self.rung_of(rung).prepare()
        finally:
            lock.release()
