"""Which ways to come to a slot there are here, the quickest first.

Which of them are possible is found out once (``probing.py``). Every rung stays known, possible or not: a slot
of before may be of it, and has to be woken or thrown away the way it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

from stratum_git.model.values import dataclass
from stratum_git.slots.rungs.base import Rung
from stratum_git.slots.settings import Settings

Way: TypeAlias = Literal["overlay", "snapshot", "warm", "reflink", "cold"]
ORDER: tuple[Way, ...] = ("overlay", "snapshot", "warm", "reflink", "cold")
"""From the quickest to the one that works everywhere. ``warm`` is no rung: an idle slot of another one."""


def _any(_: Rung) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of one repository on one host, the quickest first; the last one works everywhere.

    ``is_possible`` says whether slots can be made on a rung here and now; it is not asked of the last one.
    """

    rungs: tuple[Rung, ...]
    warm: int | None = 0
    """Before which of the rungs an idle slot is taken, if there is one; ``None``: no slot is kept."""
    is_possible: Callable[[Rung], bool] = _any
    first: int = 0
    """The rung that slots are made on first; those before it are known, and nothing new is made there."""
    settings: Settings | None = None
    """Those that the rungs make slots with, where several ask."""

    def steps(self, *, visible: bool) -> Iterator[Rung | None]:
        """Yields the rungs to try, in turn; ``None`` stands for an idle slot. *visible*: to everybody."""
        for number, rung in enumerate(self.rungs):
            if number == self.warm:
                yield None
            if number >= self.first and not (visible and rung.is_private):
                is_last = number == len(self.rungs) - 1
                if is_last or self.is_possible(rung):
                    yield rung

    def of(self, name: str) -> Rung:
        """Returns the rung that a record names; records from before there were rungs name none."""
        return next((rung for rung in self.rungs if rung.name == name), self.rungs[-1])


def place_of_warm(rungs: tuple[Rung, ...], forced: str) -> tuple[int | None, int]:
    """Returns before which rung idle slots are taken, and the first rung to make one on.

    *forced* is the way that the settings name, or ``auto``: what is quicker than that is left out.
    """
    start = 0 if forced == "auto" else ORDER.index(_way(forced))
    later = [ORDER.index(_way(rung.name)) for rung in rungs]
    first = next((n for n, at in enumerate(later) if at >= start), len(rungs) - 1)
    warm = ORDER.index("warm")
    if start > warm:
        return None, first
    return next((n for n, at in enumerate(later) if at > warm), len(rungs) - 1), first


def _way(name: str) -> Way:
    return next(way for way in ORDER if way == name)
