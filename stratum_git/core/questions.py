"""What can be asked of a flow's state: pure readings that the engine, the shell and the surfaces share."""

from __future__ import annotations

from stratum_git.core import contest
from stratum_git.model.effects import Ask, AwaitGate, Choose, Consider, Effect, Land, Open, Summon, Sync
from stratum_git.model.ids import Json, StepId, TaskId
from stratum_git.model.spec import SubFlow
from stratum_git.model.state import (
    Abandoned,
    Asked,
    AtGate,
    Considering,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Opening,
    Running,
    StepState,
    Succeeded,
    Working,
)


def outstanding(state: FlowState) -> tuple[Effect, ...]:
    """Returns the effects a flow waits for that are not attempts: what to do again after a restart."""
    again: list[Effect] = [Sync(s.target, s.old, s.new) for s in state.unsynced]
    if state.cursor is None:
        return tuple(again)
    match state.step(state.cursor):
        case Considering():
            again.append(Consider(state.cursor))
        case Asked(child=None) if isinstance(state.program.steps[state.cursor].work, SubFlow):
            again.append(Summon(state.cursor))
        case Asked():
            again.append(Ask(state.cursor))
        case Opening():
            again.append(Open(state.cursor))
        case AtGate():
            again.append(AwaitGate(state.cursor))
        case FannedOut() as fan:
            again += (Choose(state.cursor, fan.graph.tasks[head].id) for head in contest.due(fan))
        case Landing(blocked=()):
            again.append(Land(state.cursor))
        case _:
            pass
    return tuple(again)


def in_flight(state: FlowState) -> tuple[tuple[StepId, TaskId | None, int], ...]:
    """Returns the attempts that are under way: step, task (``None`` for a step's own) and number."""
    if state.cursor is None:
        return ()
    match state.step(state.cursor):
        case Working(task=Running(attempt=attempt)):
            return ((state.cursor, None, attempt),)
        case FannedOut(graph=graph, tasks=tasks):
            pairs = zip(graph.tasks, tasks, strict=True)
            return tuple((state.cursor, t.id, now.attempt) for t, now in pairs if isinstance(now, Running))
        case _:
            return ()


def is_in_flight(state: FlowState, step: StepId, task: TaskId | None, attempt: int) -> bool:
    """Returns whether this attempt is under way; to look for it among all would take as long as these are."""
    if step != state.cursor:
        return False
    match state.step(step):
        case Working(task=Running() as now) if task is None:
            return now.attempt == attempt
        case FannedOut(graph=graph, tasks=tasks) if task is not None and task in graph.index:
            at = tasks[graph.index[task]]
            return isinstance(at, Running) and at.attempt == attempt
        case _:
            return False


def outputs(state: FlowState) -> dict[StepId, Json]:
    """Returns what the steps produced, for references."""
    pairs = zip(state.program.order, state.outputs, strict=True)
    return {step: made[0] for step, made in pairs if made}


def is_over(state: FlowState) -> bool:
    """Returns whether the flow has come to an end that no event changes."""
    return state.status in {"complete", "failed", "cancelled", "killed"}


def fan_of(now: StepState) -> FannedOut | None:
    """Returns the tasks of a step that has been fanned out, whatever has become of it since."""
    match now:
        case FannedOut():
            return now
        case Landing(work=FannedOut() as fan) | Abandoned(work=FannedOut() as fan):
            return fan
        case Succeeded(work=FannedOut() as fan) | Failed(work=FannedOut() as fan):
            return fan
        case _:
            return None
