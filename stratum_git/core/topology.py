"""Orders that serve needs, and the circles that have none: for steps, for tasks, for flows."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def dependents_of(needs: Mapping[K, Sequence[K]]) -> dict[K, list[K]]:
    """Returns who needs each name, in the order of *needs*."""
    dependents: dict[K, list[K]] = {name: [] for name in needs}
    for name, found in needs.items():
        for need in found:
            dependents[need].append(name)
    return dependents


def kahn(needs: Mapping[K, Sequence[K]]) -> tuple[K, ...]:
    """Returns the names in an order that serves their needs, without those that wait for a circle."""
    dependents = dependents_of(needs)
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


def _round(start: K, follows: Mapping[K, K], rank: Mapping[K, int]) -> tuple[K, ...]:
    ring = [start]
    while follows[ring[-1]] != start:
        ring.append(follows[ring[-1]])
    first = ring.index(min(ring, key=lambda name: rank[name]))
    return (*ring[first:], *ring[:first], ring[first])
