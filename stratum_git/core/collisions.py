"""Which tasks of a step get in each other's way while they are at work: what is known, and in which words."""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.model.ids import TaskId
from stratum_git.model.sightings import Collision, Sighted
from stratum_git.model.state import FannedOut, Pending, Running, TaskState, Verified

NAMED = 20
"""Paths of a collision that are named."""
PAIRS = 200
"""Collisions that one event names: as many lie in the state, and are written down with every event."""

Pair = tuple[TaskId, TaskId]


def collisions_from(
    found: Mapping[Pair, tuple[tuple[int, int], tuple[str, ...]]], before: tuple[Collision, ...], at: float
) -> tuple[tuple[Collision, ...], int]:
    """Returns collisions as they are recorded, and how many more there are.

    *found* are the attempts and the paths of each pair, in order; *before* what was recorded last, which says
    since when.
    """
    known = {(c.one, c.other, c.attempts): c.since for c in before}
    rows = [
        Collision(
            one,
            other,
            paths[:NAMED],
            known.get((one, other, attempts), at),
            attempts,
            max(0, len(paths) - NAMED),
        )
        for (one, other), (attempts, paths) in found.items()
    ]
    return tuple(rows[:PAIRS]), max(0, len(rows) - PAIRS)


def standing(fan: FannedOut) -> tuple[Collision, ...]:
    """Returns the collisions of attempts whose work may still land: under way, or verified."""
    return tuple(
        c
        for c in fan.collisions
        if _is_alive(fan, c.one, c.attempts[0]) and _is_alive(fan, c.other, c.attempts[1])
    )


def before_retry(fan: FannedOut, task: TaskId) -> tuple[tuple[TaskId, Collision], ...]:
    """Returns what an attempt before the present one of *task* collided with, and is still there."""
    index = fan.graph.index[task]
    now, found = _attempt(fan.tasks[index]), []
    for c in fan.collisions:
        for mine, (other, other_attempt) in (
            (c.attempts[0], (c.other, c.attempts[1])),
            (c.attempts[1], (c.one, c.attempts[0])),
        ):
            if (
                task in {c.one, c.other}
                and other != task
                and mine < now
                and _is_alive(fan, other, other_attempt)
            ):
                found.append((other, c))
    return tuple(found)


def told(collision: Collision) -> str:
    """Returns the paths of a collision in words."""
    more = f" and {collision.more} more" if collision.more else ""
    return f"{', '.join(collision.paths)}{more}"


def warning(title: str, collision: Collision, now: TaskState, at: float) -> str:
    """Returns what a retried task is told of another one, called *title*, whose state is *now*."""
    doing = "is at work on it" if isinstance(now, Running) else "is done with it and waits to land"
    ago = max(0, round(at - collision.since))
    return f"{title}: {doing}, in {told(collision)} (first seen {ago} s before this attempt)"


def sighting(event: Sighted) -> tuple[str, tuple[str, ...]]:
    """Returns the sentence and the details of an event."""
    count = len(event.collisions) + event.more
    if not count:
        return f"{event.step}: no tasks collide any more", ()
    lines = tuple(f"{c.one} and {c.other} in {told(c)}" for c in event.collisions)
    more = (f"and {event.more} more pairs",) if event.more else ()
    pairs = "1 pair of tasks collides" if count == 1 else f"{count} pairs of tasks collide"
    return f"{event.step}: {pairs}", (*lines, *more)


def _is_alive(fan: FannedOut, task: TaskId, attempt: int) -> bool:
    index = fan.graph.index.get(task)
    now = None if index is None else fan.tasks[index]
    return isinstance(now, Running | Verified) and now.attempt == attempt


def _attempt(now: TaskState) -> int:
    return now.attempt + isinstance(now, Pending)
