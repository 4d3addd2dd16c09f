"""A line of calls: one of those that wait deals with all of them, while the others do nothing.

What takes as long for many as for one, as a wait for the disk does, is so done once for all that came while
it was done for those before. Whoever finds nobody at it leads; when his own call is over, the first of those
that wait leads on. So nobody works for others for longer than for himself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
Deal: TypeAlias = Callable[[Sequence[T]], int]
"""Deals with the first of those that wait, one or more, and returns how many. What it raises ends the call
of the one who leads, and the others wait on."""


@dataclass(eq=False, slots=True)
class _Place(Generic[T]):
    """A call that waits. It is woken when it is over, or is to lead."""

    call: T
    woken: threading.Event = field(default_factory=threading.Event)
    is_over: bool = False


class Line(Generic[T]):
    """Those who wait to be dealt with, in the order in which they came. Safe for several threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: list[_Place[T]] = []
        self._is_led = False

    def __len__(self) -> int:
        """Returns how many wait, besides those who are being dealt with."""
        return len(self._waiting)

    def pass_through(
        self,
        call: T,
        deal: Deal[T],
        *,
        patience: float | None = None,
        may_leave: Callable[[T], bool] = lambda _: True,
    ) -> bool:
        """Has *call* be dealt with; returns ``False`` when it left the line because *patience* was over.

        Nobody leaves who is being dealt with, or of whom *may_leave* does not allow it.
        """
        place = _Place(call)
        with self._guard:
            self._waiting.append(place)
            leads, self._is_led = not self._is_led, True
        while not leads and not place.woken.wait(patience):
            with self._guard:
                if place in self._waiting and not place.woken.is_set() and may_leave(call):
                    self._waiting.remove(place)
                    return False
        if not place.is_over:
            try:
                while not place.is_over:
                    self._lead(deal)
            finally:
                self._hand_over(place)
        return True

    def _lead(self, deal: Deal[T]) -> None:
        with self._guard:
            taken, self._waiting = self._waiting, []
        dealt = 0
        try:
            dealt = deal([place.call for place in taken])
        finally:
            with self._guard:
                # Who came meanwhile stands behind those that are left.
                self._waiting = [*taken[dealt:], *self._waiting]
                for place in taken[:dealt]:
                    place.is_over = True
                    place.woken.set()

    def _hand_over(self, leader: _Place[T]) -> None:
        with self._guard:
            # He is still there when his call ended with an error.
            self._waiting = [place for place in self._waiting if place is not leader]
            self._is_led = bool(self._waiting)
            for following in self._waiting[:1]:
                following.woken.set()
