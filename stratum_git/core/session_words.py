"""What an agent of a session is told: the message, and for one without conversations what was said before."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stratum_git.model.conversations import Conversation
from stratum_git.model.ids import Json, Oid
from stratum_git.model.sessions import Session, SessionTurn
from stratum_git.model.state import FlowState

LONGEST = 60_000
"""Characters of former turns that an agent without conversations is told."""


def whole_prompt(session: Session, findings: Sequence[str] = ()) -> str:
    """Returns what an agent is told who remembers nothing: the former turns, the newest whole, and the last.

    What does not fit is left out from the beginning, and said to be.
    """
    *before, turn = session.turns
    parts = [
        *_former(before),
        *(["# Now", ""] if before else []),
        turn.message.strip(),
        *_more(turn, findings),
    ]
    return "\n".join([*parts, *_result(session.terms.schema)]).strip() + "\n"


def conversation(state: FlowState, base: Oid, findings: Sequence[str]) -> Conversation | None:
    """Returns what the agent of a session goes on with from *base*; ``None`` while it has said nothing.

    What lies in its slot beyond that it has left there itself.
    """
    session = state.book.session
    if session is None or session.conversation is None:
        return None
    return Conversation(session.conversation, base, base, followup(session, findings))


def followup(session: Session, findings: Sequence[str] = ()) -> str:
    """Returns what an agent is told who remembers the conversation."""
    turn = session.turns[-1]
    return "\n".join([turn.message.strip(), *_more(turn, findings)]).strip() + "\n"


def _former(turns: Sequence[SessionTurn]) -> list[str]:
    kept: list[str] = []
    room = LONGEST
    for turn in reversed(turns):
        text = _told(turn)
        if len(text) > room:
            break
        kept.insert(0, text)
        room -= len(text)
    left = len(turns) - len(kept)
    if left and not kept:
        # Of the newest one as much as there is room for: its end is what the next message speaks of.
        kept, left = (
            [f"(the beginning of turn {turns[-1].number} is left out)\n…{_told(turns[-1])[-room:]}"],
            left - 1,
        )
    head = ["# What was said in this session before", ""] if turns else []
    gap = [f"(turns 1 to {left} are left out: they are too long)", ""] if left else []
    return [*head, *gap, *kept]


def _told(turn: SessionTurn) -> str:
    lines = [f"## Turn {turn.number}: you were told", "", turn.message.strip(), ""]
    lines += [f"## Turn {turn.number}: you answered", "", turn.text.strip() or "(nothing)", ""]
    if turn.output is not None:
        lines += ["The result was:", "", _fenced(turn.output), ""]
    if turn.status != "done":
        lines += [f"That turn ended as {turn.status}: {'; '.join(turn.findings)}", ""]
    return "\n".join(lines)


def _more(turn: SessionTurn, findings: Sequence[str]) -> list[str]:
    said = ["", "## The attempt before this one was rejected", "", *(f"- {line}" for line in findings)]
    return [*(["", turn.note] if turn.note else []), *(said if findings else [])]


def _result(schema: Json) -> list[str]:
    if schema is None:
        return []
    where = "Write it to the file named by STRATUM_RESULT_FILE, or print it last on standard output."
    return [
        "",
        "## Result",
        "",
        "Return one JSON object that keeps this JSON Schema:",
        "",
        _fenced(schema),
        where,
    ]


def _fenced(value: Json) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"
