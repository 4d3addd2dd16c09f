"""Flows of one step with many tasks, played by the engine alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.model.effects import Effect, Launch
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId
from stratum_git.model.messages import Completed, Opened, Started, TaskReported
from stratum_git.model.state import FlowState, Program
from stratum_git.store.flows import Entry

STEP = StepId("build")
BASE = Oid("b" * 40)
MAIN = RefName("refs/heads/main")
SPEC = """\
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: build, type: parallel_dispatch, source: $.input.tasks, intent_template: x, max_concurrent: 8}
"""


def flat(count: int) -> list[Json]:
    """Returns tasks of which none needs another."""
    return [{"id": f"t{number}"} for number in range(count)]


def layered(count: int, width: int = 50) -> list[Json]:
    """Returns tasks in layers: each needs two of the layer before."""
    rows = ((n, [n - width, n - n % width - width]) for n in range(count))
    return [
        {"id": f"t{n}", "depends_on": [f"t{need}" for need in dict.fromkeys(needs) if need >= 0]}
        for n, needs in rows
    ]


def program() -> Program:
    """Returns what the flows execute."""
    loaded = load_spec(SPEC)
    assert loaded.spec is not None
    return cast("Program", compile_program(loaded.spec, "main"))


def opening(tasks: Sequence[Json], base: Oid) -> list[Entry]:
    """Returns the two events with which a flow over *tasks* begins."""
    started = Started(0.0, "me", FlowId("f"), "main", {"tasks": list(tasks)}, base, MAIN)
    state, effects = begin(program(), started)
    opened = Opened(1.0, "me", STEP, base, MAIN)
    return [Entry(started, state, effects), Entry(opened, *advance(state, opened))]


def reports(last: Entry, base: Oid) -> Iterator[Entry]:
    """Yields a report of each task that was launched, none of which changes anything, until all are over."""
    state: FlowState = last.after
    waiting: list[Effect] = list(last.effects)
    for effect in waiting:
        if isinstance(effect, Launch) and effect.task is not None:
            done = Completed(base, base, None, {"ms": 3})
            event = TaskReported(2.0, "me", STEP, effect.task, effect.attempt, done)
            state, effects = advance(state, event)
            waiting += effects
            yield Entry(event, state, effects)
