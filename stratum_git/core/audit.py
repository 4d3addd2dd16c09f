"""The whole account of a flow: what was decided, how long it took, what its loops and rounds brought."""

from __future__ import annotations

from stratum_git.core.answers import Answer, duration, trace
from stratum_git.core.questions import is_over
from stratum_git.model.book import Pass, Passes
from stratum_git.model.ids import Json
from stratum_git.model.state import FlowState


def audit(state: FlowState, at: float) -> Answer:
    """Returns the audit of a flow at the time *at*; that of one that is over does not change any more."""
    book = state.book
    return {
        "flow_id": state.flow,
        "flow_name": state.program.flow.name,
        "status": _status(state),
        "steps_completed": len(book.records),
        "total_steps": len(state.program.order),
        "trace": trace(tuple(book.records)),
        "total_duration_ms": duration(state, state.updated if is_over(state) else at),
        "round": book.round,
        "rounds": [{"round": i, "steps": trace(tuple(records))} for i, records in enumerate(book.rounds)],
        "iterations": _loops(book.passes, state.started),
        "archived_iterations": [_loops(passes, state.started) for passes in book.past],
        "child_audits": {step: list(found) for step, found in book.audits.items()},
    }


def _status(state: FlowState) -> str:
    if state.book.killed:
        return "killed"
    return "in_progress" if state.status in {"running", "awaiting_gate", "blocked"} else state.status


def _loops(passes: Passes, started: float) -> Json:
    return {step: [_pass(one, started) for one in found] for step, found in passes.items()}


def _pass(one: Pass, started: float) -> Json:
    row: Answer = {
        "iteration": one.number,
        "round": one.round,
        "exit_criterion_met": one.met,
        "outcome": one.outcome,
        "timestamp": one.at - started,
    }
    if one.digest is not None:
        row["result_fingerprint"] = one.digest
    if one.scored:
        row["score"] = one.score
    if one.score_error is not None:
        row["score_error"] = one.score_error
    return row
