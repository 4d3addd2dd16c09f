"""Decides at a gate. It is recorded, and no more: whoever drives the flow goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stratum_git.app.surroundings import Surroundings
from stratum_git.app.teller import tell
from stratum_git.app.workshop import signature
from stratum_git.core.questions import is_over
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.journal import Journal
from stratum_git.git.objects import ObjectWriter
from stratum_git.model import book
from stratum_git.model.ids import FlowId, StepId
from stratum_git.model.messages import GateResolved
from stratum_git.model.spec import Gate
from stratum_git.model.state import FlowState
from stratum_git.store.flows import Entry, FlowLog, load


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of the gate *step* of a flow, why, and who says so."""

    flow: FlowId
    step: str
    outcome: book.Answer
    note: str = ""
    resolver: book.Resolver = "human"


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision counts. ``result`` is what follows: the end, or that there is something to do."""

    state: FlowState
    result: Literal["complete", "killed", "execute_step"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """The flow does not wait at this gate: somebody else decided, or it is elsewhere, or over."""

    detail: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The flow is at this step, and cannot be told so. ``code`` is the protocol's word for why."""

    code: Literal["not_a_gate_step", "max_rounds_exceeded"]
    message: str


Verdict: TypeAlias = Decided | Conflict | Denied


def decide(around: Surroundings, decision: Decision) -> Verdict:
    """Records a decision, or says why not; raises UnknownFlowError."""
    repo = around.repository()
    stored, spec = load(repo, decision.flow)
    who = signature(repo)
    step = StepId(decision.step)
    event = GateResolved(now(), who.name, step, decision.outcome, decision.note, decision.resolver)
    with FlowLog(repo, ObjectWriter(repo, durable=True), who, spec) as log:
        journal = Journal(repo, log, stored)
        entries = journal.record([event], lambda *_: []).entries
    tell(repo.common_dir, journal.stored.tip, journal.state)
    mine = next((entry for entry in entries if entry.event is event), None)
    return _unheard(journal.state, step, entries) if mine is None else _heard(mine.after, step)


def _heard(after: FlowState, step: StepId) -> Verdict:
    records = after.book.records
    last = records[len(records) - 1] if len(records) else None
    # A revision that counts begins a round, and no record of that round is the gate's own.
    if isinstance(last, book.GateRecord) and last.outcome == "revise":
        limit = after.program.flow.max_rounds
        message = f"the flow was sent back {limit} times, as often as max_rounds allows; {step} still waits"
        return Denied("max_rounds_exceeded", message)
    if is_over(after):
        return Decided(after, "complete" if after.status == "complete" else "killed")
    return Decided(after, "execute_step")


def _unheard(state: FlowState, step: StepId, others: tuple[Entry, ...]) -> Conflict | Denied:
    for entry in others:
        match entry.event:
            case GateResolved(by=by, step=there, outcome=outcome) if there == step:
                return Conflict(f"{by} decided at {step} in the same moment: {outcome}")
            case _:
                pass
    if is_over(state) or state.cursor is None:
        return Conflict(f"the flow is over: it is {state.status}")
    if state.cursor != step:
        return Conflict(f"the flow is at {state.cursor}, not at {step}")
    if not isinstance(state.program.steps[step].work, Gate):
        return Denied("not_a_gate_step", f"{step} is no gate")
    return Conflict(f"the flow has come to {step}, and does not wait there yet")
