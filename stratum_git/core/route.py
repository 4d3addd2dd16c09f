"""Where a flow goes: into a step, past it, back from it, to its end."""

from __future__ import annotations

from typing import TypeAlias

from stratum_git.core.records import end_of, note
from stratum_git.core.source import graph_of
from stratum_git.model.book import PolicyRecord, SkipRecord
from stratum_git.model.changing import replace
from stratum_git.model.effects import Ask, AwaitGate, Consider, Effect, EndStatus, Finish, Open, Summon
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import StepId
from stratum_git.model.spec import Dispatch, Gate, Step, SubFlow
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
    Output,
    Skipped,
    StepState,
    Succeeded,
    Waiting,
)

Turn: TypeAlias = tuple[FlowState, tuple[Effect, ...]]

HOPS = 100
"""Gates that may be passed by themselves, beside one for each step, before somebody has to decide."""


def with_step(state: FlowState, step: StepId, now: StepState) -> FlowState:
    """Returns the flow with a step in another state."""
    return replace(state, steps=state.steps.replace(state.program.position[step], now))


def with_output(state: FlowState, step: StepId, output: Output) -> FlowState:
    """Returns the flow with what a step produced."""
    return replace(state, outputs=state.outputs.replace(state.program.position[step], output))


def enter(state: FlowState, index: int, at: float, *, considered: bool = False) -> Turn:
    """Comes to the step at *index* of the order, through gates that approve themselves, or to the end.

    With *considered* its ``skip_if`` is known not to hold.
    """
    seen: set[int] = set()
    while index < len(state.program.order):
        step = state.program.steps[state.program.order[index]]
        state = replace(state, cursor=step.id, status="running")
        if step.skip_if is not None and not considered:
            waiting = Considering(_tries(state.step(step.id)))
            return with_step(state, step.id, waiting), (Consider(step.id),)
        considered = False
        gate = step.work
        if not isinstance(gate, Gate):
            return _begin(state, step, at)
        if gate.policy == "gate" or index in seen:
            return _wait(state, step, at)
        seen.add(index)
        why = f"policy: {gate.policy} — auto-approved"
        record = PolicyRecord(step.id, gate.policy, why, state.book.round, state.book.start)
        state = with_step(note(state, record), step.id, Succeeded())
        if gate.on_approve is None:
            break
        index = state.program.position[gate.on_approve]
    return finish(replace(state, cursor=None), "complete")


def weighed(state: FlowState, step: Step, at: float, *, skip: bool) -> Turn:
    """Goes on at a step whose ``skip_if`` was looked at."""
    index = state.program.position[step.id]
    if not skip:
        return enter(state, index, at, considered=True)
    gate = step.work
    why = step.skip_reason or f"skip_if: {step.skip_if}"
    if not isinstance(gate, Gate):
        return skipped(state, step, why, at)
    if state.book.hops > HOPS + len(state.program.order):
        return _wait(state, step, at)
    record = PolicyRecord(step.id, "skip_if", why, state.book.round, state.book.start)
    state = with_output(with_step(note(state, record), step.id, Succeeded()), step.id, (None,))
    if gate.on_approve is None:
        return finish(replace(state, cursor=None), "complete")
    return enter(state, state.program.position[gate.on_approve], at)


def skipped(state: FlowState, step: Step, why: str, at: float) -> Turn:
    """Leaves a step out; its output is null."""
    state = note(state, SkipRecord(step.id, why, state.book.round, state.book.start))
    left = Skipped(why, _tries(state.step(step.id)))
    state = with_output(with_step(state, step.id, left), step.id, (None,))
    return enter(state, state.program.position[step.id] + 1, at)


def succeeded(state: FlowState, step: Step, now: Succeeded, output: Output, at: float) -> Turn:
    """Goes on after a step that is done."""
    state = note(state, end_of(state, step, at))
    state = with_output(with_step(state, step.id, now), step.id, output)
    if state.cancelling is not None:
        return finish(state, "cancelled")
    index = state.program.position[step.id] + 1
    if step.next is not None:
        index = state.program.position[step.next]
        state = cleared_from(state, index)
    return enter(state, index, at)


def failed(state: FlowState, step: Step, now: Failed, output: Output, at: float) -> Turn:
    """Goes on after a step that is over without success: where its ``on_fail`` says, or nowhere."""
    state = note(state, end_of(state, step, at))
    state = with_output(with_step(state, step.id, now), step.id, output)
    if step.on_fail is None or state.cancelling is not None or "" in state.spent.over:
        return finish(state, "failed")
    index = state.program.position[step.on_fail]
    return enter(cleared_from(state, index, keep=step.id), index, at)


def abandoned(state: FlowState, step: Step, why: str, fan: FannedOut | None) -> Turn:
    """Ends a flow that was cancelled while it was at *step*."""
    return finish(with_step(state, step.id, Abandoned(why, fan)), "cancelled")


def finish(state: FlowState, status: EndStatus) -> Turn:
    """Ends a flow. One that a gate ended is killed when its cleaning up is done."""
    if state.book.killed and status == "complete":
        status = "killed"
    return replace(state, status=status), (Finish(status),)


def cleared_from(state: FlowState, index: int, *, keep: StepId | None = None) -> FlowState:
    """Returns the flow as if the steps from *index* on, but for *keep*, had never been come to."""
    steps, outputs = state.steps, state.outputs
    gone = [name for name in state.program.order[index:] if name != keep]
    for name in gone:
        place = state.program.position[name]
        if steps[place] != Waiting():
            steps = steps.replace(place, Waiting())
        if outputs[place]:
            outputs = outputs.replace(place, ())
    book, names = state.book, frozenset(gone)
    if book.passes or book.exits or book.best or book.loop:
        book = replace(
            book,
            passes={k: v for k, v in book.passes.items() if k not in names},
            exits={k: v for k, v in book.exits.items() if k not in names},
            best={k: v for k, v in book.best.items() if k not in names},
            loop=None if book.loop is not None and book.loop.step in names else book.loop,
        )
    return replace(state, steps=steps, outputs=outputs, book=book)


def _begin(state: FlowState, step: Step, at: float) -> Turn:
    tries = _tries(state.step(step.id))
    if state.driver == "runner":
        return with_step(state, step.id, Opening()), (Open(step.id),)
    if isinstance(step.work, Dispatch) and isinstance(graph_of(state, step.work), TaskGraph):
        return with_step(state, step.id, Opening(tries)), (Open(step.id),)
    state = with_step(state, step.id, Asked(at, tries))
    return state, (Summon(step.id) if isinstance(step.work, SubFlow) else Ask(step.id),)


def _wait(state: FlowState, step: Step, at: float) -> Turn:
    state = replace(with_step(state, step.id, AtGate(at)), status="awaiting_gate")
    return state, (AwaitGate(step.id),)


def _tries(before: StepState) -> int:
    """Returns how often a step that is come to again was tried before; a jump alone forgets nothing."""
    match before:
        case Considering(tries) | Asked(tries=tries) | Skipped(tries=tries):
            return tries
        case Succeeded(tries=tries) | Failed(tries=tries) | Opening(tries=tries) | FannedOut(tries=tries):
            return tries
        case Landing(work=FannedOut(tries=tries)):
            return tries
        case _:
            return 0
