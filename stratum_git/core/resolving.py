"""Parked conflicts: which are resolved next and by whom, and what that comes to.

A conflict is resolved by an attempt at its task that starts from the target, with the conflict in its slot.
What it makes is a result as any other, and lands as a change from there. Tries are counted; one whose result
conflicts again, because the target moved meanwhile, is one of them. A conflict that nobody resolved stays
parked, with the result that it is about, whatever became of the tries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from stratum_git.core.questions import fan_of
from stratum_git.core.quorum import HOPELESS, needed
from stratum_git.model.changing import replace
from stratum_git.model.chunks import Chunks
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Oid, StepId, TaskId
from stratum_git.model.indices import Indices
from stratum_git.model.messages import (
    Completed,
    DroppedResult,
    Halted,
    LandedResult,
    LandingEntry,
    Lost,
    Outcome,
    ParkedResult,
    Rejected,
)
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.spec import Dispatch
from stratum_git.model.state import (
    Abandoned,
    Exhausted,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Merged,
    Parked,
    Pending,
    Resolving,
    Running,
    StepState,
    Succeeded,
    TaskState,
    Verified,
)

# --- by agents --------------------------------------------------------------------------------------------


def taken_up(work: Dispatch, fan: FannedOut, tip: Oid | None) -> FannedOut | None:
    """Returns the step with conflicts to be resolved, and what waits for them; ``None`` when there are none.

    Those that meet in a file are resolved one after another: the second would conflict with the first.
    *tip* is where the target is by now.
    """
    if work.on_conflict != "agent" or (_is_enough(work, fan) and work.on_quorum != "keep"):
        return None
    chosen = dict(_chosen(work, fan))
    if not chosen:
        return None
    tasks = fan.tasks
    for index, parked in chosen.items():
        waiting = Pending(0, last_of(parked), findings=parked.findings, resolves=replace(parked, findings=()))
        tasks = tasks.replace(index, waiting)
    tasks = _brought_back(fan.graph, tasks)
    ready = Indices.of(i for i, now in enumerate(tasks) if isinstance(now, Pending) and not now.waits)
    verified = sum(isinstance(now, Verified) for now in tasks)
    return replace(fan, tasks=tasks, ready=ready, verified=verified, merged=_merged(fan), tip=tip)


def judged(work: Dispatch, now: Running, parked: Parked, outcome: Outcome) -> TaskState:
    """Returns what becomes of a task whose running attempt at resolving *parked* has ended so."""
    if now.stopping is not None:
        return given_up(parked, now.attempt)
    match outcome:
        case Completed(base, result, output):
            return Verified(now.attempt, base, result, output, parked)
        case Rejected(kind, findings):
            tries = work.task_retries + 1 if kind in HOPELESS else parked.tries + 1
            vain = replace(parked, tries=tries, last=now.attempt, findings=findings)
            if tries > work.task_retries:
                return vain
            again = replace(vain, findings=())
            return Running(now.attempt + 1, now.failures + 1, findings=findings, resolves=again)
        case Lost():
            return replace(now, attempt=now.attempt + 1)
        case Halted():
            return given_up(parked, now.attempt)
        case _ as never:
            assert_never(never)


def placed(now: Verified, parked: Parked, entry: LandingEntry) -> TaskState:
    """Returns what becomes of a task whose resolution of *parked* was to land."""
    match entry:
        case LandedResult(_, result, commit):
            return Merged(now.attempt, now.base, result, commit, now.output)
        case ParkedResult(_, result, conflict, paths):
            tries = parked.tries + 1
            return Parked(now.attempt, now.base, result, conflict, paths, now.output, tries)
        case DroppedResult(kind="needs"):
            return replace(parked, last=now.attempt)
        case DroppedResult(findings=findings):
            return replace(parked, tries=parked.tries + 1, last=now.attempt, findings=findings)
        case _ as never:
            assert_never(never)


def given_up(parked: Parked, attempt: int) -> Parked:
    """Returns the conflict as it stays when attempt *attempt* at resolving it came to nothing."""
    return replace(parked, last=max(last_of(parked), attempt))


def last_of(parked: Parked) -> int:
    """Returns the number of the last attempt at the task of a conflict."""
    return max(parked.attempt, parked.last)


def _is_enough(work: Dispatch, fan: FannedOut) -> bool:
    return _merged(fan) >= needed(work.require, len(fan.tasks))


def _merged(fan: FannedOut) -> int:
    return sum(isinstance(now, Merged) for now in fan.tasks)


def _chosen(work: Dispatch, fan: FannedOut) -> Iterator[tuple[int, Parked]]:
    taken: set[str] = set()
    for index in fan.graph.order:
        now = fan.tasks[index]
        if not isinstance(now, Parked) or now.tries > work.task_retries or now.resolving is not None:
            continue
        landed = all(isinstance(fan.tasks[need], Merged) for need in fan.graph.needs[index])
        if landed and taken.isdisjoint(now.paths):
            taken.update(now.paths)
            yield index, now


def _brought_back(graph: TaskGraph, tasks: Chunks[TaskState]) -> Chunks[TaskState]:
    """Returns tasks with those that were left out for what they need, where that is being mended."""
    alive = {i for i, now in enumerate(tasks) if isinstance(now, Merged | Pending | Running | Verified)}
    for index in graph.order:
        now, needs = tasks[index], graph.needs[index]
        if not isinstance(now, Exhausted) or not alive.issuperset(needs):
            continue
        result = result_of(now)
        if result is not None:
            alive.add(index)
            waits = sum(not isinstance(tasks[need], Merged | Verified) for need in needs)
            tasks = tasks.replace(index, Pending(waits, now.attempt, done=result) if waits else result)
    return tasks


def result_of(now: Exhausted) -> Verified | None:
    """Returns the result that was left out of a landing only because what it needs did not land."""
    if now.kind != "needs" or now.base is None or now.result is None:
        return None
    return Verified(now.attempt, now.base, now.result, now.output)


# --- by a person ------------------------------------------------------------------------------------------


def began(state: FlowState, event: ResolvingBegan) -> FlowState:
    """Returns the flow with a conflict that a person resolves; nobody else may be at it."""
    parked = parked_at(state, event.step, event.task)
    if parked is None or parked.resolving is not None:
        return state
    who = Resolving(event.attempt, event.by, event.at, event.base, event.conflict, event.paths)
    return with_task(state, event.step, event.task, replace(parked, last=event.attempt, resolving=who))


def ended(state: FlowState, event: ResolvingEnded) -> FlowState:
    """Returns the flow after a person is done with a conflict: with a resolution to land, or as before.

    A resolution stays parked until it has landed: what it conflicts with may be new.
    """
    parked = parked_at(state, event.step, event.task)
    if parked is None or parked.resolving is None or parked.resolving.attempt != event.attempt:
        return state
    after = replace(parked, resolving=None)
    if event.done and event.result is not None:
        conflict = event.conflict or parked.resolving.conflict
        paths = event.paths or parked.resolving.paths
        base = parked.resolving.base
        after = Parked(event.attempt, base, event.result, conflict, paths, parked.output, parked.tries)
    return with_task(state, event.step, event.task, after)


def parked_at(state: FlowState, step: StepId, task: TaskId) -> Parked | None:
    """Returns the conflict of a task, if it is parked."""
    fan = fan_of(state.step(step)) if step in state.program.position else None
    if fan is None or task not in fan.graph.index:
        return None
    now = fan.tasks[fan.graph.index[task]]
    return now if isinstance(now, Parked) else None


def open_resolutions(state: FlowState) -> tuple[tuple[StepId, TaskId, Resolving], ...]:
    """Returns the conflicts that people are resolving, of all steps: their slots belong to no process."""
    found = []
    for step, now in zip(state.program.order, state.steps, strict=True):
        fan = fan_of(now)
        for task, at in () if fan is None else zip(fan.graph.tasks, fan.tasks, strict=True):
            if isinstance(at, Parked) and at.resolving is not None:
                found.append((step, task.id, at.resolving))
    return tuple(found)


def with_task(state: FlowState, step: StepId, task: TaskId, now: TaskState) -> FlowState:
    """Returns the flow with a task of a fanned out step in another state, whatever became of the step."""
    at = state.step(step)
    fan = fan_of(at)
    if fan is None:
        return state
    fan = replace(fan, tasks=fan.tasks.replace(fan.graph.index[task], now))
    place = state.program.position[step]
    return replace(state, steps=state.steps.replace(place, _with_fan(at, fan)))


def _with_fan(now: StepState, fan: FannedOut) -> StepState:
    match now:
        case FannedOut():
            return fan
        case Landing() | Succeeded() | Failed() | Abandoned():
            return replace(now, work=fan)
        case _:
            return now
