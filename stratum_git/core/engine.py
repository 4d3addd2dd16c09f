"""The flow engine: one event in, the next state and what to do about it out.

Nothing here reads a clock, a file or a random number. Everything an outcome depends on is in the
arguments, so folding a flow's events always rebuilds its state. An event about an attempt that is no longer
current changes nothing and returns the very state it was given: agents may report late, twice, or after
they were given up for lost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias, assert_never

from stratum_git.core import fanout
from stratum_git.core.program import tries_of
from stratum_git.core.questions import is_over, outstanding
from stratum_git.core.source import graph_of
from stratum_git.model.chunks import Chunks
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, StepId, TaskId
from stratum_git.model.messages import (
    AwaitGate,
    CancelRequested,
    Completed,
    Effect,
    EndStatus,
    Event,
    Finish,
    GateResolved,
    Halted,
    Land,
    Landed,
    LandedResult,
    LandingBlocked,
    Launch,
    Lost,
    Open,
    Opened,
    Rejected,
    Resumed,
    Started,
    StepReported,
    Stop,
    Suspended,
    Sync,
    Synced,
    TaskReported,
)
from stratum_git.model.spec import Dispatch, Gate, Step
from stratum_git.model.state import (
    Abandoned,
    AtGate,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Opening,
    Pending,
    PendingSync,
    Program,
    Running,
    StepState,
    Succeeded,
    Verified,
    Waiting,
    Working,
)

Turn: TypeAlias = tuple[FlowState, tuple[Effect, ...]]


def begin(program: Program, event: Started) -> Turn:
    """Returns the state of a new flow after its first event."""
    state = FlowState(
        program=program,
        flow=event.flow,
        inputs=event.inputs,
        base=event.base,
        target=event.target,
        started=event.at,
        steps=Chunks.of(Waiting() for _ in program.order),
        seq=1,
        updated=event.at,
    )
    return _enter(state, 0, event.at)


def advance(state: FlowState, event: Event) -> Turn:
    """Returns the state after *event*, and the effects it calls for, in order."""
    after, effects = _react(state, event)
    if after is state:
        return state, ()
    return replace(after, seq=state.seq + 1, updated=event.at), effects


def _react(state: FlowState, event: Event) -> Turn:
    if isinstance(event, Synced):
        return _synced(state, event)
    if isinstance(event, Started) or is_over(state):
        return state, ()
    match event:
        case CancelRequested():
            return _cancel(state, event)
        case Suspended():
            return (state, ()) if state.paused else (replace(state, paused=True), ())
        case Resumed():
            return _resumed(state)
        case Opened() | StepReported() | TaskReported() | GateResolved() | Landed() | LandingBlocked():
            if event.step != state.cursor:
                return state, ()
            return _step_event(state, event)
        case _ as never:
            assert_never(never)


def _step_event(
    state: FlowState,
    event: Opened | StepReported | TaskReported | GateResolved | Landed | LandingBlocked,
) -> Turn:
    step, now = state.program.steps[event.step], state.step(event.step)
    match event, now:
        case Opened(), Opening():
            return _opened(state, step, event)
        case StepReported(), Working(task=Running() as task) if task.attempt == event.attempt:
            return _step_reported(state, step, now, task, event)
        case TaskReported(), FannedOut():
            return _task_reported(state, step, now, event)
        case GateResolved(), AtGate():
            return _gate_resolved(state, step, event)
        case Landed(), Landing():
            return _landed(state, step, now, event)
        case LandingBlocked(), Landing(blocked=()):
            blocked = (event.reason, *event.paths)
            state = _with(state, step.id, replace(now, blocked=blocked))
            return _finish(state, "blocked")
        case _:
            return state, ()


# --- entering and opening ---------------------------------------------------------------------------------


def _enter(state: FlowState, index: int, at: float) -> Turn:
    """Comes to the step at *index* of the order, or to the end."""
    if index >= len(state.program.order):
        return _finish(replace(state, cursor=None), "complete")
    step = state.program.steps[state.program.order[index]]
    state = replace(state, cursor=step.id, status="running")
    if isinstance(step.work, Gate):
        state = replace(_with(state, step.id, AtGate(at)), status="awaiting_gate")
        return state, (AwaitGate(step.id),)
    return _with(state, step.id, Opening()), (Open(step.id),)


def _opened(state: FlowState, step: Step, event: Opened) -> Turn:
    if not isinstance(step.work, Dispatch):
        working = Working(event.base, event.target, Running(1))
        return _with(state, step.id, working), (Launch(step.id, None, 1),)
    graph = graph_of(state, step.work)
    if not isinstance(graph, TaskGraph):
        return _fail(state, step, Failed(graph))
    fan, effects = fanout.fan_out(step.id, step.work, graph, event.base, event.target)
    return _with(state, step.id, fan), effects


# --- reports ----------------------------------------------------------------------------------------------


def _step_reported(state: FlowState, step: Step, now: Working, task: Running, event: StepReported) -> Turn:
    if task.stopping is not None or state.cancelling is not None:
        return _abandon(state, step, task.stopping or state.cancelling or "", None)
    match event.outcome:
        case Completed(base, result, output):
            return _step_done(state, step, now, Verified(task.attempt, base, result, output), event.at)
        case Rejected(kind, findings):
            if kind in fanout.HOPELESS or task.failures + 1 >= tries_of(state.program, step):
                return _fail(state, step, Failed((f"{kind}: {'; '.join(findings)}",)))
            again = Running(task.attempt + 1, task.failures + 1)
            return _relaunch(state, step, now, again, findings)
        case Lost():
            return _relaunch(state, step, now, Running(task.attempt + 1, task.failures), ())
        case Halted(why, _):
            return _fail(state, step, Failed((f"stopped: {why}",)))
        case _ as never:
            assert_never(never)


def _relaunch(state: FlowState, step: Step, now: Working, task: Running, findings: tuple[str, ...]) -> Turn:
    if state.paused:
        put_back = Pending(0, task.attempt - 1, task.failures)
        return _with(state, step.id, replace(now, task=put_back)), ()
    state = _with(state, step.id, replace(now, task=task))
    return state, (Launch(step.id, None, task.attempt, findings),)


def _step_done(state: FlowState, step: Step, now: Working, task: Verified, at: float) -> Turn:
    if task.result == task.base:
        return _succeed(state, step, Succeeded(task.output), at)
    landing = Landing(replace(now, task=task))
    return _with(state, step.id, landing), (Land(step.id),)


def _task_reported(state: FlowState, step: Step, now: FannedOut, event: TaskReported) -> Turn:
    index = _index(now, event.task)
    if index is None or not isinstance(step.work, Dispatch):
        return state, ()
    task = now.tasks[index]
    if not isinstance(task, Running) or task.attempt != event.attempt:
        return state, ()
    turn = fanout.report(step.id, step.work, now, index, event.outcome, paused=state.paused)
    return (state, ()) if turn is None else _fanned(state, step, *turn)


def _index(fan: FannedOut, task: TaskId) -> int | None:
    return fan.graph.index.get(task)


def _fanned(state: FlowState, step: Step, fan: FannedOut, effects: tuple[Effect, ...]) -> Turn:
    state = _with(state, step.id, fan)
    if not fanout.is_over(fan):
        return state, effects
    if state.cancelling is not None:
        after, more = _abandon(state, step, state.cancelling, fan)
    elif fan.verdict == "missed":
        after, more = _miss(state, step, fan)
    else:
        after, more = _with(state, step.id, Landing(fan)), (Land(step.id),)
    return after, (*effects, *more)


def _miss(state: FlowState, step: Step, fan: FannedOut) -> Turn:
    why = fanout.shortfall(step.work, fan) if isinstance(step.work, Dispatch) else ()
    return _fail(state, step, Failed(why, fanout.aggregate(fan, ok=False), fan))


# --- landing ----------------------------------------------------------------------------------------------


def _landed(state: FlowState, step: Step, now: Landing, event: Landed) -> Turn:
    effects: tuple[Effect, ...] = ()
    if event.old != event.new:
        pending = PendingSync(event.target, event.old, event.new)
        state = replace(state, unsynced=(*state.unsynced, pending))
        effects = (Sync(event.target, event.old, event.new),)
    if isinstance(now.work, FannedOut):
        after, more = _fan_landed(state, step, now.work, event)
    else:
        after, more = _single_landed(state, step, now.work, event)
    return after, (*effects, *more)


def _fan_landed(state: FlowState, step: Step, fan: FannedOut, event: Landed) -> Turn:
    fan = fanout.landed(fan, event.entries)
    short = fanout.shortfall(step.work, fan) if isinstance(step.work, Dispatch) else ()
    if short and isinstance(step.work, Dispatch) and state.cancelling is None:
        again = fanout.reopen(step.id, step.work, fan, paused=state.paused)
        if again is not None:
            return _with(state, step.id, again[0]), again[1]
    findings = (*short, *event.findings)
    output = fanout.aggregate(fan, ok=not findings)
    if findings:
        return _fail(state, step, Failed(findings, output, fan))
    return _succeed(state, step, Succeeded(output, fan), event.at)


def _single_landed(state: FlowState, step: Step, now: Working, event: Landed) -> Turn:
    output = now.task.output if isinstance(now.task, Verified) else None
    entry = event.entries[0] if event.entries else None
    if isinstance(entry, LandedResult):
        return _succeed(state, step, Succeeded(output), event.at)
    paths = ", ".join(entry.paths) if entry else "the target"
    return _fail(state, step, Failed((f"the result conflicts in {paths}",), output))


def _synced(state: FlowState, event: Synced) -> Turn:
    left = tuple(s for s in state.unsynced if s.target != event.target)
    return (state, ()) if left == state.unsynced else (replace(state, unsynced=left), ())


# --- gates, cancelling, resuming --------------------------------------------------------------------------


def _gate_resolved(state: FlowState, step: Step, event: GateResolved) -> Turn:
    gate = step.work
    if not isinstance(gate, Gate):
        return state, ()
    answer: dict[str, Json] = {"outcome": event.outcome, "rationale": event.rationale, "by": event.by}
    state = _with(state, step.id, Succeeded(answer))
    match event.outcome:
        case "approve" if gate.on_approve is not None:
            return _enter(state, state.program.position[gate.on_approve], event.at)
        case "approve":
            return _finish(replace(state, cursor=None), "complete")
        case "revise" if gate.on_revise is not None:
            return _again_from(state, gate.on_revise, event.at)
        case _:
            return _finish(replace(state, cursor=None), "killed")


def _again_from(state: FlowState, target: StepId, at: float) -> Turn:
    index = state.program.position[target]
    steps = state.steps
    for later in range(index, len(steps)):
        steps = steps.replace(later, Waiting())
    return _enter(replace(state, steps=steps), index, at)


def _cancel(state: FlowState, event: CancelRequested) -> Turn:
    if state.cursor is None:
        return _finish(replace(state, cancelling=event.why), "cancelled")
    step, now = state.program.steps[state.cursor], state.step(state.cursor)
    if event.task is not None:
        return _cancel_task(state, step, now, event.task, event.why)
    if state.cancelling is not None:
        return state, ()
    state = replace(state, cancelling=event.why)
    match now:
        case FannedOut():
            return _fanned(state, step, *fanout.stop_all(step.id, now, event.why))
        case Working(task=Running() as task):
            stopping = replace(now, task=replace(task, stopping=event.why))
            stop = Stop(step.id, None, task.attempt, event.why)
            return _with(state, step.id, stopping), (stop,)
        case Landing(work=work):
            return _abandon(state, step, event.why, work if isinstance(work, FannedOut) else None)
        case _:
            return _abandon(state, step, event.why, None)


def _cancel_task(state: FlowState, step: Step, now: StepState, task: TaskId, why: str) -> Turn:
    if not isinstance(now, FannedOut) or not isinstance(step.work, Dispatch):
        return state, ()
    index = _index(now, task)
    turn = None if index is None else fanout.stop_task(step.id, step.work, now, index, why)
    return (state, ()) if turn is None else _fanned(state, step, *turn)


def _resumed(state: FlowState) -> Turn:
    """Takes the flow up. A resume is an event even when it changes nothing: history shows who took over."""
    state = replace(state, paused=False)
    if state.cursor is None:
        return state, outstanding(state)
    step, now = state.program.steps[state.cursor], state.step(state.cursor)
    launches: tuple[Effect, ...] = ()
    match now:
        case Landing() if now.blocked:
            state = replace(_with(state, step.id, replace(now, blocked=())), status="running")
        case FannedOut() if isinstance(step.work, Dispatch):
            fan, launches = fanout.relaunch(step.id, step.work, now)
            state = _with(state, step.id, fan)
        case Working(task=Pending() as task):
            running = Running(task.attempt + 1, task.failures)
            state = _with(state, step.id, replace(now, task=running))
            launches = (Launch(step.id, None, running.attempt),)
        case _:
            pass
    return state, (*outstanding(state), *launches)


# --- ends -------------------------------------------------------------------------------------------------


def _with(state: FlowState, step: StepId, now: StepState) -> FlowState:
    return replace(state, steps=state.steps.replace(state.program.position[step], now))


def _succeed(state: FlowState, step: Step, now: Succeeded, at: float) -> Turn:
    state = _with(state, step.id, now)
    if state.cancelling is not None:
        return _finish(state, "cancelled")
    return _enter(state, state.program.position[step.id] + 1, at)


def _fail(state: FlowState, step: Step, now: Failed) -> Turn:
    return _finish(_with(state, step.id, now), "failed")


def _abandon(state: FlowState, step: Step, why: str, fan: FannedOut | None) -> Turn:
    return _finish(_with(state, step.id, Abandoned(why, fan)), "cancelled")


def _finish(state: FlowState, status: EndStatus) -> Turn:
    return replace(state, status=status), (Finish(status),)
