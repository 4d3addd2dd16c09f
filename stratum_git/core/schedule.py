"""How long a task graph takes with so many places: tasks start in their order as soon as they can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import TaskId


def makespan(graph: TaskGraph, lasting: Mapping[int, float], places: int) -> float:
    """Returns when the last task is over that lasts any time; the others are over already, or take none.

    A task that has candidates is over when all of these are. The engine too starts what is ready in the
    order of the graph, ``places`` at once.
    """
    waits = [
        sum(need in lasting or need in graph.contests for need in _needs(graph, i))
        for i in range(len(graph.tasks))
    ]
    after = _after(graph)
    ready = [i for i in range(len(graph.tasks)) if not waits[i]]
    heapify(ready)
    running: list[tuple[float, int]] = []
    at = 0.0
    counted = set(lasting) | set(graph.contests)
    while ready or running:
        while ready and len(running) < max(1, places):
            index = heappop(ready)
            if index in lasting:
                heappush(running, (at + lasting[index], index))
            elif index in counted:
                _free(index, after, waits, ready)
        if running:
            at, index = heappop(running)
            _free(index, after, waits, ready)
    return at


def chain(graph: TaskGraph, left: Iterable[int]) -> tuple[TaskId, ...]:
    """Returns the longest chain of tasks each of which needs the one before, without candidates."""
    todo = set(left) | set(graph.contests)
    length: dict[int, int] = {}
    before: dict[int, int] = {}
    for index in graph.order:
        if index not in todo or graph.tasks[index].candidate_of is not None:
            continue
        need = max((n for n in graph.needs[index] if n in length), key=lambda n: length[n], default=None)
        length[index] = 1 if need is None else length[need] + 1
        if need is not None:
            before[index] = need
    at = max(length, key=lambda n: length[n], default=None)
    found: list[TaskId] = []
    while at is not None:
        found.append(graph.tasks[at].id)
        at = before.get(at)
    return tuple(reversed(found))


def _needs(graph: TaskGraph, index: int) -> tuple[int, ...]:
    return (*graph.needs[index], *graph.contests.get(index, ()))


def _after(graph: TaskGraph) -> list[list[int]]:
    after: list[list[int]] = [[] for _ in graph.tasks]
    for index in range(len(graph.tasks)):
        for need in _needs(graph, index):
            after[need].append(index)
    return after


def _free(index: int, after: list[list[int]], waits: list[int], ready: list[int]) -> None:
    for later in after[index]:
        waits[later] -= 1
        if not waits[later]:
            heappush(ready, later)
