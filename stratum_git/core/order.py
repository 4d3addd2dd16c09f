"""The order in which a flow's steps run, and the circles that have none."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stratum_git.core.references import steps_named
from stratum_git.model.ids import StepId
from stratum_git.model.spec import Dispatch, Step

K = TypeVar("K", bound=str)


@dataclass(frozen=True, slots=True)
class Cycle:
    """Steps of which each waits for the next; the first one stands at the end again."""

    path: tuple[StepId, ...]


def fifo_order(steps: Sequence[Step]) -> tuple[StepId, ...] | Cycle:
    """Returns the steps so that each comes after what it needs.

    Kahn's algorithm with a first-in-first-out queue, both seeded and scanned in the order of declaration:
    ``a, b (needs a), c, d (needs c)`` run as a, c, b, d. Existing clients count on this very order. Of steps
    with the same id the first one counts, and a need that is no step is left aside: both are validation's.
    """
    needs = needs_among(steps)
    order = kahn(needs)
    return order if len(order) == len(needs) else Cycle(next(circles(needs)))


def needs_among(steps: Sequence[Step]) -> dict[StepId, tuple[StepId, ...]]:
    """Returns, for each step, those of *steps* that it comes after, each once."""
    first: dict[StepId, Step] = {}
    for step in steps:
        first.setdefault(step.id, step)
    return {
        name: tuple(need for need in dict.fromkeys(_needs(step)) if need in first)
        for name, step in first.items()
    }


def kahn(needs: Mapping[K, Sequence[K]]) -> tuple[K, ...]:
    """Returns the names in an order that serves their needs, without those that wait for a circle."""
    dependents: dict[K, list[K]] = {name: [] for name in needs}
    for name, found in needs.items():
        for need in found:
            dependents[need].append(name)
    left = {name: len(found) for name, found in needs.items()}
    queue = deque(name for name, count in left.items() if not count)
    order: list[K] = []
    while queue:
        done = queue.popleft()
        order.append(done)
        for later in dependents[done]:
            left[later] -= 1
            if not left[later]:
                queue.append(later)
    return tuple(order)


def circles(needs: Mapping[K, Sequence[K]]) -> Iterator[tuple[K, ...]]:
    """Yields circles that share no name, at least one if there is any, each from its first name round to it.

    A name that never becomes free has a need that never does, so following one such need from each comes
    round. That finds them in one pass; finding every circle there is would take exponential time.
    """
    free = set(kahn(needs))
    stuck = {name: index for index, name in enumerate(needs) if name not in free}
    follows = {name: next(need for need in needs[name] if need in stuck) for name in stuck}
    seen_from: dict[K, K] = {}
    for start in stuck:
        at = start
        while at not in seen_from:
            seen_from[at] = start
            at = follows[at]
        if seen_from[at] == start:
            yield _round(at, follows, stuck)


def _needs(step: Step) -> Iterator[StepId]:
    """Yields the steps that *step* names as needed, and those whose output it reads."""
    yield from step.depends_on
    for reference in step.inputs.values():
        if reference.startswith("$.steps."):
            yield from map(StepId, steps_named(reference))
    if isinstance(step.work, Dispatch):
        yield from map(StepId, steps_named(step.work.source))


def _round(start: K, follows: Mapping[K, K], rank: Mapping[K, int]) -> tuple[K, ...]:
    ring = [start]
    while follows[ring[-1]] != start:
        ring.append(follows[ring[-1]])
    first = ring.index(min(ring, key=lambda name: rank[name]))
    return (*ring[first:], *ring[:first], ring[first])
