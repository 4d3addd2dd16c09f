"""Steps that the client does: what it answered, and the loops it may do within one step."""

from __future__ import annotations

from stratum_git.core.program import tries_of
from stratum_git.core.records import with_audit
from stratum_git.core.route import Turn, failed, skipped, succeeded, with_step
from stratum_git.model.book import Best, Exit, Loop, Pass
from stratum_git.model.changing import replace
from stratum_git.model.chunks import Chunks
from stratum_git.model.effects import Ask, Summon
from stratum_git.model.messages import (
    Answered,
    Called,
    LoopAborted,
    LoopReported,
    LoopStarted,
    SkipRequested,
)
from stratum_git.model.spec import Step, SubFlow
from stratum_git.model.state import Asked, Failed, FlowState, Setback, Succeeded

WINDOW = 3
"""Passes of a loop that bring nothing new, after which it ends."""


def answered(state: FlowState, step: Step, now: Asked, event: Answered) -> Turn:
    """Goes on after the client's answer: onwards, again, or where ``on_fail`` says."""
    if event.audit is not None:
        state = with_audit(state, step.id, event.audit)
    book = state.book
    exits = {k: v for k, v in book.exits.items() if k != step.id}
    tries = now.tries + 1
    over = event.verdict == "ok" or tries >= tries_of(state.program, step)
    if event.verdict == "ok" or not over:
        best = {k: v for k, v in book.best.items() if k != step.id}
        state = replace(state, book=replace(book, exits=exits, best=best))
    if over:
        state = replace(state, book=replace(state.book, loop=None))
    if event.verdict == "ok":
        return succeeded(state, step, Succeeded(tries=tries), (event.result,), event.at)
    setback = Setback(event.verdict, step.id, event.violations)
    if over:
        state = replace(state, setback=replace(setback, last=True))
        lost = Failed(event.violations, tries=tries)
        return failed(state, step, lost, (event.result,), event.at)
    state = replace(with_step(state, step.id, Asked(event.at, tries)), setback=setback)
    return state, (Summon(step.id) if isinstance(step.work, SubFlow) else Ask(step.id),)


def wound_down(state: FlowState, step: Step, now: Asked, why: str, at: float) -> Turn:
    """Ends a step that the client is not to do any more, because a budget is spent."""
    return failed(state, step, Failed((why,), tries=now.tries), (), at)


def skip_requested(state: FlowState, step: Step, event: SkipRequested) -> Turn:
    """Leaves the current step out."""
    return skipped(state, step, event.reason, event.at)


def called(state: FlowState, step: Step, now: Asked, event: Called) -> Turn:
    """Notes the flow that was started for a step."""
    return with_step(state, step.id, replace(now, child=event.child)), (Ask(step.id),)


def loop_started(state: FlowState, step: Step, event: LoopStarted) -> Turn:
    """Begins a loop, where none is under way."""
    if step.max_iterations is None or state.book.loop is not None or step.id in state.book.exits:
        return state, ()
    return replace(state, book=replace(state.book, loop=Loop(step.id, event.at))), ()


def loop_reported(state: FlowState, step: Step, event: LoopReported) -> Turn:
    """Notes a pass, and ends the loop when it is good enough, brings nothing new, or was the last one."""
    loop = state.book.loop
    if loop is None or loop.step != step.id:
        return state, ()
    number = loop.count + 1
    best = state.book.best.get(step.id)
    if event.score is not None and (best is None or event.score > best.score):
        best = Best(event.score, number, event.result)
    seen: Chunks[Pass] = state.book.passes.get(step.id, Chunks())
    made = Pass(
        number=number,
        round=state.book.round,
        at=event.at,
        outcome=_outcome(step, seen, event, number, best),
        result=event.result,
        digest=event.digest,
        met=event.met,
        scored=step.score_expr is not None,
        score=event.score,
        score_error=event.score_error,
    )
    book = state.book
    if best is not None:
        book = replace(book, best={**book.best, step.id: best})
    state = replace(state, book=replace(book, loop=replace(loop, count=number)))
    return _with_pass(state, step, made), ()


def loop_aborted(state: FlowState, step: Step, event: LoopAborted) -> Turn:
    """Ends the loop that is under way."""
    loop = state.book.loop
    if loop is None or loop.step != step.id:
        return state, ()
    made = Pass(
        number=loop.count,
        round=state.book.round,
        at=event.at,
        outcome="exit_abort",
        result={"aborted": True, "reason": event.reason},
    )
    return _with_pass(state, step, made), ()


def _with_pass(state: FlowState, step: Step, made: Pass) -> FlowState:
    book = state.book
    seen: Chunks[Pass] = book.passes.get(step.id, Chunks())
    passes = {**book.passes, step.id: seen.append(made)}
    book = replace(book, passes=passes)
    if made.outcome != "continue":
        book = replace(book, loop=None, exits={**book.exits, step.id: made.outcome})
    return replace(state, book=book)


def _outcome(step: Step, seen: Chunks[Pass], event: LoopReported, number: int, best: Best | None) -> Exit:
    if event.met:
        return "exit_success"
    if _is_stagnant(step, seen, event, number, best):
        return "exit_stagnation"
    limit = step.max_iterations
    return "exit_max" if limit is not None and number >= limit else "continue"


def _is_stagnant(step: Step, seen: Chunks[Pass], event: LoopReported, number: int, best: Best | None) -> bool:
    """Returns whether the last passes were all the same, or with a score none of them was a new best."""
    if len(seen) < WINDOW - 1:
        return False
    if step.score_expr is not None:
        return step.exit_criterion is None and best is not None and best.number <= number - WINDOW
    recent = (seen[len(seen) - back] for back in range(1, WINDOW))
    return all(one.digest == event.digest for one in recent)
