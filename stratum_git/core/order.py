"""The order in which a flow's steps run, and the circles that have none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stratum_git.core.references import steps_named
from stratum_git.core.topology import circles, kahn
from stratum_git.model.ids import StepId
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.values import dataclass


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


def _needs(step: Step) -> Iterator[StepId]:
    """Yields the steps that *step* names as needed, and those whose output it reads."""
    yield from step.depends_on
    for reference in step.inputs.values():
        if reference.startswith("$.steps."):
            yield from map(StepId, steps_named(reference))
    if isinstance(step.work, Dispatch):
        yield from map(StepId, steps_named(step.work.source))
