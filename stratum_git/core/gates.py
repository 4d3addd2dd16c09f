"""What follows from a decision at a gate."""

from __future__ import annotations

from dataclasses import replace

from stratum_git.core.records import new_round, note
from stratum_git.core.route import Turn, cleared_from, enter, finish, with_step
from stratum_git.model.book import GateRecord
from stratum_git.model.messages import GateResolved
from stratum_git.model.spec import Gate, Step
from stratum_git.model.state import AtGate, FlowState, Succeeded


def is_last_round(state: FlowState) -> bool:
    """Returns whether the flow may not be sent back any more."""
    limit = state.program.flow.max_rounds
    return limit is not None and state.book.round >= limit


def resolved(state: FlowState, step: Step, now: AtGate, event: GateResolved) -> Turn:
    """Goes where the decision leads. A revision beyond the last round is noted, and the gate still waits."""
    gate = step.work
    if not isinstance(gate, Gate):
        return state, ()
    state = note(
        state,
        GateRecord(
            step=step.id,
            outcome=event.outcome,
            rationale=event.rationale,
            resolver=event.resolver,
            ms=max(0, int((event.at - now.since) * 1000)),
            round=state.book.round,
            start=state.book.start,
        ),
    )
    if event.outcome == "revise":
        return _revised(state, gate, event.at)
    state = with_step(state, step.id, Succeeded())
    target = gate.on_approve
    if event.outcome == "kill":
        state, target = replace(state, book=replace(state.book, killed=True)), gate.on_kill
    if target is None:
        return finish(replace(state, cursor=None), "complete")
    return enter(state, state.program.position[target], event.at)


def _revised(state: FlowState, gate: Gate, at: float) -> Turn:
    if gate.on_revise is None or is_last_round(state):
        return state, ()
    index = state.program.position[gate.on_revise]
    return enter(cleared_from(new_round(state, gate.on_revise), index), index, at)
