"""Moves of refs that several ask for at the same time: one transaction of git's, and one wait for the disk.

Each is what it would be by itself: all of its refs move or none, and whoever has lost a race is told so while
the others go on. None that moves a ref which another one moves is made together with that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stratum_git.app.line import Line
from stratum_git.git.refs import Applied, LostRace, RefSession, RefUpdate, tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.model.ids import RefName


@dataclass(eq=False, slots=True)
class _Wish:
    """Refs that are to move together, what is to be done before, and what came of it."""

    updates: Sequence[RefUpdate]
    first: Callable[[], None]
    ready: Callable[[], None]
    alone: Callable[[int], None] | None
    answer: Applied | LostRace | Exception | None = None

    def outcome(self) -> Applied | LostRace:
        if self.answer is None or isinstance(self.answer, Exception):
            raise self.answer or RuntimeError("refs were not moved")
        return self.answer


class JointRefs(RefSession):
    """A session for many threads: what they ask for meanwhile is moved together."""

    def __init__(self, repo: Repository, message: str, *, durable: bool) -> None:
        super().__init__(repo, message, durable=durable)
        self._repository = repo
        self._line: Line[_Wish] = Line()

    def transact(
        self,
        updates: Sequence[RefUpdate],
        first: Callable[[], None] = lambda: None,
        *,
        ready: Callable[[], None] = lambda: None,
        alone: Callable[[int], None] | None = None,
    ) -> Applied | LostRace:
        """Moves all of *updates* or none, as a session does."""
        wish = _Wish(updates, first, ready, alone)
        self._line.pass_through(wish, self._deal)
        return wish.outcome()

    def _deal(self, wishes: Sequence[_Wish]) -> int:
        taken = _apart(wishes)
        if len(taken) > 1 and self._moved_all(taken):
            return len(taken)
        for wish in taken:
            self._move(wish)
        return len(taken)

    def _moved_all(self, wishes: Sequence[_Wish]) -> bool:
        """Moves what all of them ask for; returns whether that is over: else nothing has moved."""

        def first() -> None:
            for wish in wishes:
                wish.first()

        def ready() -> None:
            for wish in wishes:
                wish.ready()

        every = [update for wish in wishes for update in wish.updates]
        answer: Applied | LostRace | Exception
        try:
            answer = super().transact(every, first, ready=ready)
        except Exception as error:  # noqa: BLE001 - told to each of them
            # Once a ref has moved nobody knows what the disk has: to try again would say that all is well.
            if not any(tip_nowait(self._repository, one.ref) == one.new != one.old for one in every):
                return False
            answer = error
        if isinstance(answer, LostRace):
            return False
        for wish in wishes:
            wish.answer = answer
        return True

    def _move(self, wish: _Wish) -> None:
        try:
            wish.answer = super().transact(wish.updates, wish.first, ready=wish.ready, alone=wish.alone)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            wish.answer = error


def _apart(wishes: Sequence[_Wish]) -> Sequence[_Wish]:
    """Returns the first of *wishes*, as long as no two are about the same ref."""
    known: set[RefName] = set()
    for number, wish in enumerate(wishes):
        mine = {update.ref for update in wish.updates}
        if not known.isdisjoint(mine):
            return wishes[:number]
        known |= mine
    return wishes
