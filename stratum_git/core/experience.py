"""What former flows took: how long each try was, what it cost, how large the task graphs were.

It is read off a flow's events by replaying them, so it is of what was recorded and of nothing else. A try
that was lost or stopped says nothing about how long one takes, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeAlias

from stratum_git.core.engine import advance, begin
from stratum_git.core.questions import fan_of
from stratum_git.model.effects import Ask, Land, Launch
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.messages import (
    Answered,
    Completed,
    Event,
    Gathered,
    Landed,
    Rejected,
    Started,
    StepReported,
    TaskReported,
)
from stratum_git.model.spec import Step, Task
from stratum_git.model.state import Driver, FlowState, Program

Kind: TypeAlias = Literal["task", "step", "landing"]
DEFAULT = "default"
ENOUGH = 4
"""So many values have quarters; of fewer the smallest and the largest are told."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, or one landing: whose, of what, seconds from its start to its report, and its cost.

    ``run`` is the flow's id, ``flow`` its name.
    """

    run: FlowId
    driver: Driver
    flow: str
    step: StepId
    agent: str
    kind: Kind
    task: TaskId | None
    seconds: float
    usd: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """A number that is not known for sure. ``None`` is not known at all; ``source`` says where from."""

    low: float | None
    likely: float | None
    high: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Experience:
    """What ``flows`` former flows took. ``sizes`` are numbers of tasks, by the flow's name and the step."""

    tries: tuple[Try, ...] = ()
    sizes: Mapping[tuple[str, StepId], tuple[int, ...]] | None = None
    flows: int = 0


def agent_of_task(step: Step, task: Task | None) -> str:
    """Returns the name of who does a step or task."""
    return (task.agent if task is not None else None) or step.agent or DEFAULT


def told_by(program: Program, events: Sequence[Event]) -> Experience:
    """Returns what one flow took. *events* are all of it, the first one included."""
    if not events or not isinstance(events[0], Started):
        return Experience()
    state, effects = begin(program, events[0])
    begun: dict[tuple[StepId, TaskId | None], float] = {}
    found: list[Try] = []
    sizes: dict[tuple[str, StepId], tuple[int, ...]] = {}
    at = events[0].at
    for event in events[1:]:
        _note(begun, effects, at)
        found += _tries(state, event, begun)
        state, effects = advance(state, event)
        at = event.at
        _measure(sizes, state)
    return Experience(tuple(found), sizes, 1)


def together(parts: Iterable[Experience]) -> Experience:
    """Returns the experience of several flows as one."""
    tries: list[Try] = []
    sizes: dict[tuple[str, StepId], tuple[int, ...]] = {}
    flows = 0
    for part in parts:
        tries += part.tries
        flows += part.flows
        for key, values in (part.sizes or {}).items():
            sizes[key] = (*sizes.get(key, ()), *values)
    return Experience(tuple(tries), sizes, flows)


def range_of(values: Sequence[float], source: str) -> Range:
    """Returns the quarters of *values*, or, of few, the smallest and the largest."""
    if not values:
        return Range(None, None, None, source)
    ordered = sorted(values)
    count = len(ordered)
    low, high = (0, count - 1) if count < ENOUGH else (count // 4, count - 1 - count // 4)
    return Range(ordered[low], median(ordered), ordered[high], source)


def _note(begun: dict[tuple[StepId, TaskId | None], float], effects: Sequence[object], at: float) -> None:
    for effect in effects:
        match effect:
            case Launch(step=step, task=task):
                begun[step, task] = at
            case Ask(step) | Land(step):
                begun[step, None] = at
            case _:
                pass


@dataclass(frozen=True, slots=True)
class _End:
    """That a try, or a landing, is over."""

    step: StepId
    task: TaskId | None
    kind: Kind
    usage: Mapping[str, Json]


def _ends(event: Event) -> Iterator[_End]:
    match event:
        case StepReported(step=step, outcome=outcome) if isinstance(outcome, Completed | Rejected):
            yield _End(step, None, "step", outcome.usage)
        case TaskReported(step=step, task=task, outcome=outcome) if isinstance(outcome, Completed | Rejected):
            yield _End(step, task, "task", outcome.usage)
        case Gathered(step=step, reports=reports):
            for report in reports:
                if isinstance(report.outcome, Completed | Rejected):
                    yield _End(step, report.task, "task", report.outcome.usage)
        case Answered(step=step, usage=usage):
            yield _End(step, None, "step", usage)
        case Landed(step=step):
            yield _End(step, None, "landing", {})
        case _:
            pass


def _tries(
    state: FlowState, event: Event, begun: Mapping[tuple[StepId, TaskId | None], float]
) -> Iterator[Try]:
    for end in _ends(event):
        since = begun.get((end.step, end.task))
        if since is not None and end.step in state.program.steps:
            yield Try(
                run=state.flow,
                driver=state.driver,
                flow=state.program.flow.name,
                step=end.step,
                agent=agent_of_task(state.program.steps[end.step], _task(state, end)),
                kind=end.kind,
                task=end.task,
                seconds=max(0.0, event.at - since),
                usd=_number(end.usage.get("usd")),
                tokens=_number(end.usage.get("tokens")),
            )


def _task(state: FlowState, end: _End) -> Task | None:
    fan = fan_of(state.step(end.step))
    if fan is None or end.task is None or end.task not in fan.graph.index:
        return None
    return fan.graph.tasks[fan.graph.index[end.task]]


def _measure(sizes: dict[tuple[str, StepId], tuple[int, ...]], state: FlowState) -> None:
    if state.cursor is not None:
        fan = fan_of(state.step(state.cursor))
        if fan is not None:
            sizes[state.program.flow.name, state.cursor] = (fan.graph.size,)


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


Measure: TypeAlias = Callable[[Try], float | None]
MEASURES: Mapping[str, Measure] = {
    "seconds": lambda one: one.seconds,
    "usd": lambda one: one.usd,
    "tokens": lambda one: one.tokens,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: tries of *kind* by an agent at a step of a flow that somebody drives."""

    driver: Driver
    flow: str
    step: StepId
    agent: str
    kind: Kind


def likely(known: Experience, asked: Asked, measure: str) -> Range:
    """Returns what one try took: of the same step where there were any, else of the same agent at others."""
    read = MEASURES[measure]
    of = "" if asked.kind == "landing" else f" of {asked.agent}"
    one, many = ("landing", "landings") if asked.kind == "landing" else ("try", "tries")
    near = [t for t in known.tries if t.kind == asked.kind and t.driver == asked.driver and _same(t, asked)]
    here = [t for t in near if t.step == asked.step and t.flow == asked.flow]
    for tries, where in ((here, f"at {asked.step}"), (near, "at other steps")):
        values = [value for t in tries if (value := read(t)) is not None]
        if values:
            who = f"{len(values)} {one if len(values) == 1 else many}{of}"
            return range_of(values, f"median of {who} {where}, in former flows here")
    if near and measure != "seconds":
        return Range(None, None, None, f"no former try{of} here told its {measure}")
    return Range(None, None, None, f"no history of {many}{of}")


def tries_per_task(known: Experience, asked: Asked) -> tuple[float, str] | None:
    """Returns how many tries a task took on average, and where that is from; ``None`` where none is known."""
    near = [t for t in known.tries if t.kind == "task" and t.driver == asked.driver and _same(t, asked)]
    here = [t for t in near if t.step == asked.step and t.flow == asked.flow] or near
    tasks = {(one.run, one.step, one.task) for one in here}
    return None if not here else (len(here) / len(tasks), f"{len(here)} former tries of {len(tasks)} tasks")


def usual_size(known: Experience, flow: str, step: StepId) -> Range:
    """Returns how many tasks the step of that name had."""
    values = (known.sizes or {}).get((flow, step), ())
    source = f"median of {len(values)} former task graph{'' if len(values) == 1 else 's'} of {step}"
    return range_of(values, source if values else "the task graph is not known yet")


def _same(one: Try, asked: Asked) -> bool:
    return asked.kind == "landing" or one.agent == asked.agent
