"""What is seen of tasks while they are at work: an event, as those of ``messages.py``."""

from __future__ import annotations

from stratum_git.model.ids import StepId, TaskId
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Collision:
    """Attempts at two tasks that conflict as they are: in which ``paths``, seen at every look ``since``.

    The tasks are in the order of the graph, ``attempts`` are theirs. ``more`` paths are not named.
    """

    one: TaskId
    other: TaskId
    paths: tuple[str, ...]
    since: float
    attempts: tuple[int, int] = (0, 0)
    more: int = 0


@dataclass(frozen=True, slots=True)
class Sighted:
    """Who collides with whom has changed; these are all pairs now, but for ``more`` that are not named."""

    at: float
    by: str
    step: StepId
    collisions: tuple[Collision, ...]
    more: int = 0
