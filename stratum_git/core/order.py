"""The order in which a flow's steps run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stratum_git.core.references import steps_named
from stratum_git.model.ids import StepId
from stratum_git.model.spec import Dispatch, Step


@dataclass(frozen=True, slots=True)
class Cycle:
    """Steps that wait for each other, the first one again at the end."""

    path: tuple[StepId, ...]


def fifo_order(steps: Sequence[Step]) -> tuple[StepId, ...] | Cycle:
    """Returns the steps so that each comes after what it needs.

    Kahn's algorithm with a first-in-first-out queue, both seeded and scanned in the order of declaration:
    ``a, b (needs a), c, d (needs c)`` run as a, c, b, d. Existing clients count on this very order.
    """
    needs = {step.id: set(needs_of(step)) & {s.id for s in steps} for step in steps}
    dependents: dict[StepId, list[StepId]] = {step.id: [] for step in steps}
    for step in steps:
        for need in needs[step.id]:
            dependents[need].append(step.id)
    left = {step: len(found) for step, found in needs.items()}
    queue = deque(step.id for step in steps if not left[step.id])
    order: list[StepId] = []
    while queue:
        done = queue.popleft()
        order.append(done)
        for later in dependents[done]:
            left[later] -= 1
            if not left[later]:
                queue.append(later)
    return tuple(order) if len(order) == len(needs) else Cycle(_cycle(needs, left))


def needs_of(step: Step) -> Iterator[StepId]:
    """Returns the steps that *step* comes after: those it names, and those whose output it reads."""
    yield from step.depends_on
    for reference in step.inputs.values():
        if reference.startswith("$.steps."):
            yield from map(StepId, steps_named(reference))
    if isinstance(step.work, Dispatch):
        yield from map(StepId, steps_named(step.work.source))


def _cycle(needs: dict[StepId, set[StepId]], left: dict[StepId, int]) -> tuple[StepId, ...]:
    """Walks from need to need among the steps that never became free, until one comes up again."""
    at = min(step for step, count in left.items() if count)
    path: list[StepId] = []
    while at not in path:
        path.append(at)
        at = min(need for need in needs[at] if left[need])
    return (*path[path.index(at) :], at)
