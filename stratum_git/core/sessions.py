"""What becomes of a session: its turns, and how it goes on when the flow that it is was over. Pure.

A session rests when its flow is over and nobody has closed it. Whoever continues it opens the flow again,
with an attempt that waits for a runner; of two who do, the second finds a flow that is not over.
"""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.core.questions import is_over
from stratum_git.core.route import Turn, with_output, with_step
from stratum_git.core.usage import added
from stratum_git.model.changing import replace
from stratum_git.model.ids import Json, StepId
from stratum_git.model.messages import (
    Completed,
    Event,
    Halted,
    Landed,
    LandedLater,
    LandedResult,
    Lost,
    Opened,
    Rejected,
    Started,
    StepReported,
)
from stratum_git.model.sessions import (
    Continued,
    ReviewBegan,
    Reviewed,
    ReviewRecord,
    Session,
    SessionClosed,
    SessionTurn,
)
from stratum_git.model.state import Failed, FlowState, Pending, Running, Working

STEP = StepId("work")
"""The step of a session that its agent does."""
PROMPT = "prompt"
"""The input with what is said first."""
SHORT = 200
CUT_OFF = "An attempt at this was cut off. What it had changed lies here as it left it."


def begun(state: FlowState, event: Started) -> FlowState:
    """Returns a new flow with the session that it is to be, if it is to be one."""
    if event.session is None:
        return state
    first = SessionTurn(1, event.at, event.by, str(event.inputs.get(PROMPT, "")))
    return _with(state, Session(event.session, (first,)))


def session_of(state: FlowState) -> Session | None:
    """Returns the session that a flow is."""
    return state.book.session


def current(session: Session) -> SessionTurn:
    """Returns the turn that is under way, or was last."""
    return session.turns[-1]


def is_open(state: FlowState) -> bool:
    """Returns whether a flow is a session that may go on: its slot stays with it."""
    session = state.book.session
    return session is not None and session.closed is None and session.terms.review is None


def is_at_rest(state: FlowState) -> bool:
    """Returns whether a flow is a session that waits for its next turn."""
    return is_open(state) and is_over(state)


def continued(state: FlowState, event: Continued) -> Turn:
    """Begins the next turn of a session that rests; whoever runs the flow launches it."""
    session = state.book.session
    if session is None or not is_at_rest(state) or event.step not in state.program.position:
        return state, ()
    turn = SessionTurn(
        len(session.turns) + 1, event.at, event.by, event.message, base=event.base, note=event.note
    )
    waiting = Working(event.base, state.target, Pending(0, session.attempts), event.at)
    state = with_output(with_step(state, event.step, waiting), event.step, ())
    state = replace(state, cursor=event.step, status="running", cancelling=None, paused=False)
    return _with(state, replace(session, turns=(*session.turns, turn))), ()


def closed(state: FlowState, event: SessionClosed) -> FlowState:
    """Returns the flow with its session closed; one that is under way is not."""
    session = state.book.session
    if session is None or not is_at_rest(state):
        return state
    return _with(state, replace(session, closed=event.at))


def noted(state: FlowState, event: Event) -> FlowState:
    """Returns the flow after *event* with what that means for its session, if it is one."""
    session = state.book.session
    if session is None:
        return state
    before = current(session)
    turn, conversation = before, session.conversation
    match event:
        case Opened(base=base):
            turn = replace(turn, base=base)
        case StepReported():
            turn = _told(turn, event)
            conversation = _conversation(event.outcome.usage) or conversation
        case Landed() | LandedLater():
            is_there = any(isinstance(one, LandedResult) and one.commit for one in event.entries)
            turn = replace(turn, commit=event.new) if is_there else turn
        case _:
            pass
    turn = _ended(state, turn, event.at)
    attempts = max(session.attempts, _attempt(state))
    if turn is before and conversation == session.conversation and attempts == session.attempts:
        return state
    turns = (*session.turns[:-1], turn)
    return _with(state, replace(session, turns=turns, conversation=conversation, attempts=attempts))


def report_of(state: FlowState) -> Json:
    """Returns what a verification found; ``None`` as long as it has found nothing."""
    session = state.book.session
    if session is None or session.terms.review is None or not is_over(state):
        return None
    turn = session.turns[-1]
    if turn.status == "done":
        return turn.output
    # It did not come to a report: it was cancelled, or had no place. That says nothing of the work.
    why: list[Json] = [*turn.findings] or [f"the verification is {state.status}"]
    return {
        "status": "could_not_run",
        "verdict": None,
        "reasons": why,
        "restrictions": [],
        "retryable": True,
        "commit": session.terms.review.commit,
        "base": session.terms.review.base,
    }


def review_began(state: FlowState, event: ReviewBegan) -> FlowState:
    """Returns the flow with one more verification of its work."""
    if any(one.review == event.review for one in state.book.reviews):
        return state
    record = ReviewRecord(event.review, event.at, event.by, event.task)
    return replace(state, book=replace(state.book, reviews=(*state.book.reviews, record)))


def reviewed(state: FlowState, event: Reviewed) -> FlowState:
    """Returns the flow with what a verification came to; it is told once."""
    reviews = tuple(
        replace(one, report=event.report, ended=event.at)
        if one.review == event.review and one.ended is None
        else one
        for one in state.book.reviews
    )
    if reviews == state.book.reviews:
        return state
    return replace(state, book=replace(state.book, reviews=reviews))


def in_short(session: Session) -> Json:
    """Returns what a list tells of a session, without its turns."""
    turn = current(session)
    return {
        "agent": session.terms.agent,
        "profile": session.terms.profile,
        "kind": "session" if session.terms.review is None else "review",
        "turns": len(session.turns),
        "turn_status": turn.status,
        "conversation": session.conversation,
        "closed": session.closed,
        "commit": turn.commit,
        "prompt": _first_line(session.turns[0].message),
        "last": _first_line(turn.text or "; ".join(turn.findings)),
    }


def _told(turn: SessionTurn, event: StepReported) -> SessionTurn:
    turn = replace(turn, attempt=event.attempt, usage=added(turn.usage, event.outcome.usage))
    match event.outcome:
        case Completed(result=result, output=output, text=text):
            return replace(turn, result=result, output=output, text=text, findings=(), kind="")
        case Rejected(kind=kind, findings=findings, result=result, output=output, text=text):
            told = replace(turn, result=result, output=output, text=text)
            return replace(told, findings=findings, kind=kind)
        case Lost(why=why, result=result):
            return replace(turn, result=result, findings=(why,), note=CUT_OFF)
        case Halted(why=why, result=result):
            return replace(turn, result=result, findings=(why,), kind="halted")


def _ended(state: FlowState, turn: SessionTurn, at: float) -> SessionTurn:
    """Returns a turn as over when its flow is."""
    if not is_over(state):
        return turn
    status = {"complete": "done", "failed": "failed"}.get(state.status, "cancelled")
    if turn.status == status:
        return turn
    match status:
        case "done":
            return replace(turn, status="done", findings=(), kind="", ended=at)
        case "failed":
            return replace(turn, status="failed", findings=turn.findings or _findings(state), ended=at)
        case _:
            why = (state.cancelling,) if state.cancelling else ()
            return replace(turn, status="cancelled", findings=turn.findings or why, ended=at)


def _findings(state: FlowState) -> tuple[str, ...]:
    for now in state.steps:
        if isinstance(now, Failed):
            return now.findings
    return ()


def _attempt(state: FlowState) -> int:
    for now in state.steps:
        if isinstance(now, Working) and isinstance(now.task, Running):
            return now.task.attempt
    return 0


def _conversation(usage: Mapping[str, Json]) -> str | None:
    found = usage.get("session_id")
    return found if isinstance(found, str) and found else None


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= SHORT else f"{line[: SHORT - 1]}…"


def _with(state: FlowState, session: Session) -> FlowState:
    return replace(state, book=replace(state.book, session=session))
