"""The order in which results land: what is needed first, and what collides with many last.

A result that conflicts with what landed before it is set aside, and with it falls whatever builds on it. So
the order decides how many land. The best one is as hard to find as the largest set of results of which no
two collide; this is the usual greedy one, and never worse than the order of the graph.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from stratum_git.model.graph import TaskGraph


def propose(
    graph: TaskGraph, indices: Sequence[int], collisions: Iterable[tuple[int, int]]
) -> tuple[int, ...]:
    """Returns *indices*, which are in the order of the graph, so that few of them will be set aside.

    What is expected to land comes first, then the rest, both in the order of the graph: without a collision
    nothing changes. Of ties, what comes first in the graph wins. O((n + pairs) log n) for n tasks.
    """
    among = frozenset(indices)
    rivals: dict[int, set[int]] = {index: set() for index in indices}
    for one, other in collisions:
        if one in among and other in among and one != other:
            rivals[one].add(other)
            rivals[other].add(one)
    if not any(rivals.values()):
        return tuple(indices)
    best = landing(graph, indices, rivals)
    if len(best) == len(indices):
        return tuple(indices)
    chosen = _greedy(graph, indices, rivals)
    proposed = (*(i for i in indices if i in chosen), *(i for i in indices if i not in chosen))
    return proposed if len(landing(graph, proposed, rivals)) > len(best) else tuple(indices)


def landing(graph: TaskGraph, order: Sequence[int], rivals: Mapping[int, set[int]]) -> frozenset[int]:
    """Returns which results land in this order: nothing that they collide with has, and all they need has."""
    among, landed = frozenset(order), set[int]()
    for index in order:
        needs = among.intersection(graph.needs[index])
        if landed.issuperset(needs) and landed.isdisjoint(rivals[index]):
            landed.add(index)
    return frozenset(landed)


def _greedy(graph: TaskGraph, indices: Sequence[int], rivals: Mapping[int, set[int]]) -> set[int]:
    """Returns results that can all land: time and again the one that costs the fewest others."""
    place = {index: at for at, index in enumerate(indices)}
    weights = _weights(graph, indices)
    cost = {i: sum(weights[r] for r in rivals[i]) for i in indices}
    waits = {i: sum(need in place for need in graph.needs[i]) for i in indices}
    heap = [(cost[i] - weights[i], place[i], i) for i in indices if not waits[i]]
    heapq.heapify(heap)
    chosen, gone = set[int](), set[int]()
    while heap:
        value, _, index = heapq.heappop(heap)
        if index in gone or index in chosen or value != cost[index] - weights[index]:
            continue
        chosen.add(index)
        fallen = _fallen(graph, rivals[index], place, chosen | gone)
        gone |= fallen
        again = {i for other in fallen for i in rivals[other] if i not in gone and i not in chosen}
        for other in fallen:
            for i in rivals[other]:
                cost[i] -= weights[other]
        for other in graph.dependents[index]:
            if other in place:
                waits[other] -= 1
                again.add(other)
        for i in again:
            if not waits[i] and i not in gone:
                heapq.heappush(heap, (cost[i] - weights[i], place[i], i))
    return chosen


def _weights(graph: TaskGraph, indices: Sequence[int]) -> dict[int, int]:
    """Returns how many results are lost with each: itself, and all that build on it."""
    # A bit for each result: what is reached by two ways counts once.
    lost = {index: 1 << at for at, index in enumerate(indices)}
    for index in reversed(indices):
        for need in graph.needs[index]:
            if need in lost:
                lost[need] |= lost[index]
    return {index: bits.bit_count() for index, bits in lost.items()}


def _fallen(graph: TaskGraph, rivals: Iterable[int], place: Mapping[int, int], known: set[int]) -> set[int]:
    fallen, todo = set[int](), list(rivals)
    while todo:
        at = todo.pop()
        if at in place and at not in known and at not in fallen:
            fallen.add(at)
            todo += graph.dependents[at]
    return fallen
