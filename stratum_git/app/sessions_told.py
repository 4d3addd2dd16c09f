"""What is told of sessions: all of them in short, and one with its turns and what was found of its work."""

from __future__ import annotations

from stratum_git.app import sessions, verifying
from stratum_git.app.desk import Desk
from stratum_git.app.listing import Listed
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.telling import report_of
from stratum_git.core.answers import Answer
from stratum_git.core.questions import is_over
from stratum_git.model.ids import FlowId, Json
from stratum_git.model.sessions import ReviewRecord, Session, SessionTurn
from stratum_git.model.state import FlowState
from stratum_git.store.listing import Header, list_flows

OVER = frozenset({"complete", "failed", "cancelled", "killed"})
NEWEST = 5
"""Turns that are told whole; of those before, the beginning."""
SHORT = 300


def session_rows(around: Surroundings) -> Listed:
    """Returns every session and verification of the repository in short, oldest first."""
    found = list_flows(around.repository())
    return Listed([_row(header) for header in found.headers if header.session is not None], found.remarks)


def session_row(desk: Desk, flow: FlowId) -> Answer:
    """Returns a session: where it is, its turns, the verdicts on its work, and how to take what it made."""
    state = sessions.looked_up(desk, flow)
    session = state.book.session
    if session is not None and session.terms.review is not None:
        return verifying.row(desk, flow)
    session = sessions.known(state)
    state = verifying.settle(desk, state)
    return {
        **sessions.row(desk, flow),
        "started": state.started,
        "updated": state.updated,
        "verify": [_words(command) for command in session.terms.verify],
        "schema": session.terms.schema,
        "turns": turns(session),
        "verdicts": verdicts(desk, state),
        **_how_to_take(desk, state),
    }


def turns(session: Session) -> list[Json]:
    """Returns the turns of a session, the newest ones whole."""
    first = len(session.turns) - NEWEST
    return [_turn(turn, whole=index >= first) for index, turn in enumerate(session.turns)]


def verdicts(desk: Desk, state: FlowState) -> list[Json]:
    """Returns the verifications of a flow's work; ``stale`` are those of work that has changed since."""
    return [_verdict(desk, record) for record in state.book.reviews]


def _verdict(desk: Desk, record: ReviewRecord) -> Json:
    report = record.report if record.ended is not None else _unrecorded(desk, record)
    facts = report if isinstance(report, dict) else {"status": "running", "verdict": None}
    return {
        "review_id": record.review,
        "at": record.at,
        "by": record.by,
        "commit": record.task.commit,
        "base": record.task.base,
        "task_id": record.task.task,
        "reviewer": record.task.agent,
        "stale": verifying.is_stale(desk, record.task),
        **{key: facts.get(key) for key in ("status", "verdict", "reasons", "restrictions", "retryable")},
        "commands": facts.get("commands") or [],
    }


def _unrecorded(desk: Desk, record: ReviewRecord) -> Json:
    state = desk.look(record.review)
    return report_of(state) if is_over(state) else None


def _turn(turn: SessionTurn, *, whole: bool) -> Json:
    row: dict[str, Json] = {
        "turn": turn.number,
        "at": turn.at,
        "by": turn.by,
        "status": turn.status,
        "attempt": turn.attempt,
        "message": turn.message if whole else _short(turn.message),
        "text": turn.text if whole else _short(turn.text),
        "output": turn.output if whole else None,
        "findings": [*turn.findings],
        "kind": turn.kind,
        "result": turn.result,
        "commit": turn.commit,
        "usage": dict(turn.usage),
        "ended": turn.ended,
    }
    return {**row, **({"note": turn.note} if turn.note else {})}


def _how_to_take(desk: Desk, state: FlowState) -> Answer:
    facts = sessions.row(desk, state.flow)
    if facts["tip"] in {None, state.base}:
        return {}
    return {"take": f"git merge {facts['branch']}"}


def _row(header: Header) -> Json:
    facts = header.session or {}
    status = "idle" if header.status in OVER else "running"
    status = "closed" if facts.get("closed") is not None else status
    if facts.get("kind") == "review" and header.status in OVER:
        status = "over"
    return {
        "session_id": header.flow,
        "kind": facts.get("kind"),
        "session_status": status,
        "turn_status": facts.get("turn_status"),
        "turns": facts.get("turns"),
        "agent": facts.get("agent"),
        "profile": facts.get("profile"),
        "conversation": facts.get("conversation"),
        "branch": header.target.removeprefix("refs/heads/"),
        "base": header.base,
        "commit": facts.get("commit"),
        "started": header.started,
        "updated": header.updated,
        "prompt": facts.get("prompt"),
        "last": facts.get("last"),
    }


def _words(command: tuple[str, ...]) -> str:
    return command[2] if command[:2] == ("sh", "-c") else " ".join(command)


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]}… ({len(text)} characters)"
