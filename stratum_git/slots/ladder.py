"""Which ways to come to a slot there are here, the quickest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stratum_git.slots.rungs.base import Rung


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of one repository on one host, the quickest first; the last one works everywhere."""

    rungs: tuple[Rung, ...]
    warm: int = 0
    """Before which of the rungs an idle slot is taken, if there is one."""

    def steps(self, *, visible: bool) -> Iterator[Rung | None]:
        """Yields the rungs to try, in turn; ``None`` stands for an idle slot. *visible*: to everybody."""
        for number, rung in enumerate(self.rungs):
            if number == self.warm:
                yield None
            if not (visible and rung.is_private):
                yield rung

    def of(self, name: str) -> Rung:
        """Returns the rung that a record names; records from before there were rungs name none."""
        return next((rung for rung in self.rungs if rung.name == name), self.rungs[-1])
