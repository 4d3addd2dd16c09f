"""The audit: what is noted, and when it is put away."""

from __future__ import annotations

from stratum_git.core.program import function_of
from stratum_git.model.book import Record, StepRecord
from stratum_git.model.changing import replace
from stratum_git.model.chunks import Chunks
from stratum_git.model.ids import Json, StepId
from stratum_git.model.spec import Call, Decompose, Dispatch, Gate, Inline, Step, SubFlow
from stratum_git.model.state import Asked, FannedOut, FlowState, Landing, StepState, Working


def note(state: FlowState, record: Record) -> FlowState:
    """Returns the flow with one more record in its audit."""
    book = state.book
    return replace(state, book=replace(book, records=book.records.append(record)))


def end_of(state: FlowState, step: Step, at: float) -> StepRecord:
    """Returns the record of a step that ends now, out of the state in which it is."""
    now = state.step(step.id)
    since, attempts, child = _facts(now, at)
    function = function_of(state.program, step)
    return StepRecord(
        step=step.id,
        attempts=attempts,
        ms=max(0, int((at - since) * 1000)),
        round=state.book.round,
        mode=mode_of(step),
        function=function.name if function is not None else "",
        agent=step.agent,
        child=child,
        start=state.book.start,
    )


def mode_of(step: Step) -> str:
    """Returns the kind of a step in the protocol's words; a gate is a function."""
    match step.work:
        case Call() | Gate():
            return "function"
        case Inline():
            return "inline"
        case SubFlow():
            return "flow"
        case Decompose():
            return "decompose"
        case Dispatch():
            return "parallel_dispatch"


def new_round(state: FlowState, start: StepId) -> FlowState:
    """Returns the flow at the beginning of another round: what was noted in this one is put away."""
    book = state.book
    return replace(
        state,
        book=replace(
            book,
            records=Chunks(),
            rounds=(*book.rounds, book.records),
            passes={},
            past=(*book.past, book.passes),
            loop=None,
            best={},
            round=book.round + 1,
            start=start,
        ),
    )


def with_audit(state: FlowState, step: StepId, audit: Json) -> FlowState:
    """Returns the flow with the audit of a flow that did *step*."""
    book = state.book
    audits = {**book.audits, step: (*book.audits.get(step, ()), audit)}
    return replace(state, book=replace(book, audits=audits))


def _facts(now: StepState, at: float) -> tuple[float, int, str | None]:
    match now:
        case Asked(since, tries, child):
            return since, tries + 1, child
        case Landing(work=work) | (FannedOut() | Working() as work):
            return work.since or at, _attempts(work), None
        case _:
            return at, 1, None


def _attempts(work: Working | FannedOut) -> int:
    return work.tries + 1 if isinstance(work, FannedOut) else max(1, work.task.attempt)
