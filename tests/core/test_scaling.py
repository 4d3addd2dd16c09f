"""What an event costs the engine does not grow with the tasks of its flow: counted in calls, not seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from types import FrameType

import pytest

from stratum_git.core.narration import narrate
from stratum_git.model.ids import Json
from tests.support.wide import BASE, flat, layered, opening, reports

FEW, MANY = 100, 4000


def _calls(work: Callable[[], None]) -> int:
    """Returns how many functions *work* calls, those in C and each step of a generator included."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def _per_event(tasks: list[Json], skip: int = 60, events: int = 30) -> float:
    rest = islice(reports(opening(tasks, BASE)[-1], BASE), skip, None)
    next(rest)

    def work() -> None:
        for entry in islice(rest, events):
            narrate(entry.event, entry.after, entry.effects)

    return _calls(work) / events


@pytest.mark.parametrize("shape", [flat, layered])
def test_an_event_looks_at_no_more_tasks_in_a_large_flow(shape: Callable[[int], list[Json]]) -> None:
    few, many = _per_event(shape(FEW)), _per_event(shape(MANY))
    assert many <= 1.1 * few, (few, many)
