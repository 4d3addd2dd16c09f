"""What is told of sessions: all of them in short, and one with its turns and what was found of its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stratum_git.app.config import read_config
from stratum_git.app.places import folders_of
from stratum_git.app.reading import is_stale, verdicts
from stratum_git.app.refused import Refused
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.answers import Answer
from stratum_git.core.questions import is_over
from stratum_git.core.sessions import current, is_open, report_of
from stratum_git.git.refs import tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Json
from stratum_git.model.sessions import Session, SessionTurn
from stratum_git.model.state import FlowState
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.lodgers import is_run, slot_of
from stratum_git.store.flows import load

NEWEST = 5
"""Turns that are told whole; of those before, the beginning."""
SHORT = 300


@dataclass(frozen=True, slots=True)
class Sight:
    """What looking takes: the repository, where things lie on disk, and a flow as it is now."""

    repo: Repository
    folders: StateFolders
    look: Callable[[FlowId], FlowState]


def sight_from(around: Surroundings) -> Sight:
    """Returns what is seen by whoever only looks: nothing is made or changed for it."""
    repo = around.repository()
    folders = folders_of(around, repo, read_config(repo.root))
    return Sight(repo, folders, lambda flow: load(repo, flow)[0].state)


def session_row(sight: Sight, flow: FlowId) -> Answer:
    """Returns a session: where it is, its turns, the verdicts on its work, and how to take what it made."""
    state = sight.look(flow)
    session = state.book.session
    if session is None:
        message = f"the flow {flow} is no session"
        raise Refused("not_a_session", message, hint="query sessions lists them", flow_id=flow)
    if session.terms.review is not None:
        return review_row(sight, flow)
    return {
        **row(sight, flow),
        "started": state.started,
        "updated": state.updated,
        "verify": [_words(command) for command in session.terms.verify],
        "schema": session.terms.schema,
        "turns": turns(session),
        "verdicts": verdicts(sight.repo, state, sight.look),
        **_how_to_take(sight, state),
    }


def row(sight: Sight, flow: FlowId) -> Answer:
    """Returns where a session is, in short."""
    state = sight.look(flow)
    session = state.book.session
    if session is None:
        return {}
    turn, place = current(session), slot_of(sight.folders, flow)
    return {
        "session_id": flow,
        "session_status": status_of(sight, state),
        "agent": session.terms.agent,
        "profile": session.terms.profile,
        "conversation": session.conversation,
        "branch": state.target.removeprefix("refs/heads/"),
        "base": state.base,
        "tip": tip_nowait(sight.repo, state.target),
        "path": None if place is None else str(place),
        "turn": turn.number,
        "turn_status": turn.status,
    }


def status_of(sight: Sight, state: FlowState) -> str:
    """Returns what a session is at: running, interrupted, idle or closed."""
    session = state.book.session
    if session is not None and session.closed is not None:
        return "closed"
    if is_over(state):
        return "idle" if is_open(state) else "over"
    return "running" if is_run(sight.folders, state.flow) else "interrupted"


def review_row(sight: Sight, review: FlowId) -> Answer:
    """Returns where a verification is, and what it found."""
    state = sight.look(review)
    session = state.book.session
    if session is None or session.terms.review is None:
        raise Refused("not_a_review", f"the flow {review} is no verification", flow_id=review)
    task = session.terms.review
    told = report_of(state)
    return {
        "review_id": review,
        "review_status": status_of(sight, state),
        "commit": task.commit,
        "base": task.base,
        "flow_id": task.flow,
        "task_id": task.task,
        "reviewer": task.agent,
        **({} if told is None else {"report": told, "stale": is_stale(sight.repo, task, sight.look)}),
        **({"findings": list(session.turns[-1].findings)} if told is None and is_over(state) else {}),
    }


def turns(session: Session) -> list[Json]:
    """Returns the turns of a session, the newest ones whole."""
    first = len(session.turns) - NEWEST
    return [_turn(turn, whole=index >= first) for index, turn in enumerate(session.turns)]


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


def _how_to_take(sight: Sight, state: FlowState) -> Answer:
    facts = row(sight, state.flow)
    if facts["tip"] in {None, state.base}:
        return {}
    return {"take": f"git merge {facts['branch']}"}


def _words(command: tuple[str, ...]) -> str:
    return command[2] if command[:2] == ("sh", "-c") else " ".join(command)


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]}… ({len(text)} characters)"
