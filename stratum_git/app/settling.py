"""What has to be done after something was recorded: land, let checkouts follow, start flows within flows.

All of it follows from the state, so whoever comes next after a crash does it.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import trio

from stratum_git.app.batches import batch_of, halt_unwanted
from stratum_git.app.desk import Desk
from stratum_git.app.recovery import see_out
from stratum_git.app.refused import Refused
from stratum_git.core.answers import Answer, resolved_inputs, told
from stratum_git.core.program import compile_program
from stratum_git.core.questions import is_over, outstanding
from stratum_git.core.references import Unresolved
from stratum_git.dispatch.choosing import choose
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.landing import follow
from stratum_git.dispatch.proving import Prover
from stratum_git.dispatch.turn import hold, landing_turn
from stratum_git.errors import BugError
from stratum_git.git.refs import tip_nowait
from stratum_git.model.effects import Choose, Consider, Effect, Land, Open, Summon, Sync
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.messages import Called, CancelRequested, Event, Resumed, Started, Synced
from stratum_git.model.spec import SubFlow
from stratum_git.model.state import Asked, FlowState, Landing, Program

DONE = (Choose, Land, Sync, Summon, Consider, Open)
ROUNDS = 1000


def settle(desk: Desk, flow: FlowId, *, again: bool = False) -> FlowState:
    """Does whatever the flow waits for by itself; with *again* also what was blocked before."""
    state = desk.look(flow)
    if again and state.status == "blocked":
        state = desk.act(flow, lambda _: [Resumed(now(), "stratum-git")])
    for _ in range(ROUNDS):
        state = halt_unwanted(desk, state)
        todo = next((effect for effect in outstanding(state) if isinstance(effect, DONE)), None)
        if todo is None:
            return state
        before, state = state, _perform(desk, flow, state, todo)
        if state is before:
            return state
    raise BugError(f"the flow {flow} does not come to rest")


def told_with_places(desk: Desk, state: FlowState, *, afresh: bool = False) -> Answer:
    """Returns what the client is told, with the places to work in, or the step of a flow within.

    *afresh*, it is told what to do, and not what was wrong with its last report.
    """
    batch = batch_of(desk, state)
    for _ in range(ROUNDS):
        if not batch.hopeless:
            break
        # What can have no place is reported at once; something else may begin instead.
        desk.act(state.flow, lambda _, events=batch.hopeless: events)  # type: ignore[misc]
        state = settle(desk, state.flow)
        batch = batch_of(desk, state)
    answer = told(replace(state, setback=None) if afresh else state)
    if answer.get("step_mode") == "parallel_dispatch" and "error_type" not in answer:
        answer["batch"] = list(batch.rows)
    at = None if state.cursor is None else state.step(state.cursor)
    if "child_flow_id" in answer and isinstance(at, Asked) and at.child is not None:
        answer["child_step"] = _told_within(desk, at.child, afresh=afresh)
    return answer


def _told_within(desk: Desk, child: FlowId, *, afresh: bool) -> Json:
    """Returns the step of a flow within; nothing once that has come to its end."""
    state = desk.look(child)
    if state.status in {"complete", "killed"}:
        return None
    if is_over(state):
        return told(state)
    try:
        with desk.alone(child):
            return told_with_places(desk, settle(desk, child), afresh=afresh)
    except Refused as refused:
        if refused.kind != "flow_busy":
            raise
        return told(state)


def dismiss(desk: Desk, before: FlowState) -> None:
    """Cancels the flow that did the step which *before* was at, if it is still going; its work is kept."""
    at = None if before.cursor is None else before.step(before.cursor)
    child = at.child if isinstance(at, Asked) else None
    if child is None or is_over(state := desk.look(child)):
        return
    desk.act(child, lambda _: [CancelRequested(now(), "stratum-git", "the step it did is over")])
    try:
        with desk.alone(child):
            settle(desk, child)
            dismiss(desk, state)
    except Refused as refused:
        # Whoever is at work on it hears that it was cancelled.
        if refused.kind != "flow_busy":
            raise


def _perform(desk: Desk, flow: FlowId, state: FlowState, effect: Effect) -> FlowState:
    match effect:
        case Land(step):
            return _landed(desk, flow, step)
        case Choose(step, task):
            return desk.act(flow, lambda at: _chosen(desk, at, step, task))
        case Sync():
            return _followed(desk, state)
        case Summon(step):
            return _summon(desk, state, step)
        case _:
            # A look that a crash cut off from what it followed from.
            return desk.act(flow, desk.found_out)


def _chosen(desk: Desk, at: FlowState, step: StepId, task: TaskId) -> list[Event]:
    event = choose(desk.context, at, step, task) if at.cursor == step else None
    return [] if event is None else [event]


def _landed(desk: Desk, flow: FlowId, step: StepId) -> FlowState:
    """Lands a step when what lands has been tested; nobody is kept from landing while it is."""
    before = desk.look(flow)
    prover = Prover(desk.context, before, step)
    while before.cursor == step and isinstance(before.step(step), Landing):
        if prover.begin():
            # Whoever tested it before may have been killed, and his tests still be running.
            see_out(desk.context, flow)
            trio.from_thread.run(prover.prove)
        with landing_turn(desk.context):
            state = _touched_down(desk, flow, step, prover)
        if state is not before:
            return state
    return before


def _touched_down(desk: Desk, flow: FlowId, step: StepId, prover: Prover) -> FlowState:
    """Lands what is proven, with the checkouts that are to follow in hand."""
    with ExitStack() as stack:
        held: frozenset[Path] | None = None

        def decide(at: FlowState) -> list[Event]:
            nonlocal held
            stack.close()
            if at.cursor != step or not isinstance(at.step(step), Landing):
                return []
            while (event := prover.event(at)) is not None:
                held = stack.enter_context(hold(desk.context, event))
                if held is not None:
                    return [event]
                stack.close()
            # The target has moved: there is more to be tested.
            return []

        return _followed(desk, desk.act(flow, decide), held or frozenset())


def _followed(desk: Desk, state: FlowState, held: frozenset[Path] = frozenset()) -> FlowState:
    """Lets checkouts follow the branches that the flow has moved."""
    for effect in outstanding(state):
        if isinstance(effect, Sync):
            trees = desk.context.merger.trees
            notes = follow(desk.context.repo, effect.target, effect.old, effect.new, held, trees)
            event = Synced(now(), "stratum-git", effect.target, notes)
            state = desk.act(state.flow, lambda _, event=event: [event])  # type: ignore[misc]
    return state


def _summon(desk: Desk, state: FlowState, step: StepId) -> FlowState:
    """Starts the flow that does *step*."""
    spec = state.program.steps[step]
    given = resolved_inputs(state, spec)
    if not isinstance(spec.work, SubFlow) or isinstance(given, Unresolved):
        return desk.act(state.flow, lambda _: [])
    program = compile_program(state.program.spec, spec.work.flow)
    if not isinstance(program, Program):
        raise BugError(f"the spec of {state.flow} has no flow {spec.work.flow}")
    child = FlowId(secrets.token_hex(8))
    started = Started(
        at=now(),
        by="stratum-git",
        flow=child,
        name=program.flow.name,
        inputs=given,
        base=tip_nowait(desk.context.repo, state.target) or state.base,
        target=state.target,
        driver="client",
        parent=state.flow,
        parent_step=step,
    )
    desk.begin(program, started, desk.spec_of(state.flow))
    return desk.act(state.flow, lambda _: [Called(now(), "stratum-git", step, child)])
