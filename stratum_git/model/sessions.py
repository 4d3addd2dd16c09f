"""A session: one agent at one conversation, turn by turn, and what was found when work was looked at.

A session is a flow of one step. Each turn is one thing that was said to the agent, and what came of it; the
flow is over between turns, and the event ``Continued`` opens it again. A verification is a session too, of
one turn, that looks at a commit; the flow whose work it looks at notes that in ``ReviewRecord``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from stratum_git.model.ids import FlowId, Json, Oid, StepId, TaskId
from stratum_git.model.spec import Command
from stratum_git.model.values import dataclass, field

SessionProfile: TypeAlias = Literal["general", "verification"]
"""What the agent of a session may do: work, or only look. It is checked afterwards whatever agent it is."""
TurnStatus: TypeAlias = Literal["running", "done", "failed", "cancelled"]
ReviewVerdict: TypeAlias = Literal["pass", "pass_with_restrictions", "fail_closed", "insufficient_evidence"]


@dataclass(frozen=True, slots=True)
class ReviewTask:
    """What a verification looks at: what changed from ``base`` to ``commit``, by commands and ``criteria``.

    ``flow``, ``step`` and ``task`` say whose work that is, where it is that of a flow; ``intent`` what it was
    to be. ``agent`` is who reviews it after the commands, if anybody.
    """

    commit: Oid
    base: Oid
    commands: tuple[Command, ...] = ()
    criteria: str = ""
    intent: str = ""
    agent: str | None = None
    flow: FlowId | None = None
    step: StepId | None = None
    task: TaskId | None = None


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What a session was begun with, and keeps to.

    ``schema`` is the JSON Schema of what each turn is to return, ``verify`` the commands that a turn's result
    has to pass, ``timeout`` seconds and ``usd`` dollars for each attempt.
    """

    agent: str
    profile: SessionProfile = "general"
    schema: Json = None
    verify: tuple[Command, ...] = ()
    timeout: float | None = None
    usd: float | None = None
    review: ReviewTask | None = None


@dataclass(frozen=True, slots=True)
class SessionTurn:
    """One turn: what was said, by whom, and what came of it.

    ``attempt`` is the last attempt at it, 0 before the first. ``base`` is where it began, ``result`` what the
    agent left and ``commit`` what of it is on the session's branch. ``text`` is how the agent's last words
    end, ``usage`` what its attempts cost in all. ``note`` tells the agent what happened to its slot since.
    """

    number: int
    at: float
    by: str
    message: str
    status: TurnStatus = "running"
    attempt: int = 0
    base: Oid | None = None
    result: Oid | None = None
    commit: Oid | None = None
    text: str = ""
    output: Json = None
    findings: tuple[str, ...] = ()
    kind: str = ""
    usage: Mapping[str, Json] = field(default_factory=dict)
    ended: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A session so far. ``conversation`` is the agent's own name of it, ``closed`` since when it is.

    ``attempts`` is the highest number that an attempt has had.
    """

    terms: SessionTerms
    turns: tuple[SessionTurn, ...]
    conversation: str | None = None
    attempts: int = 0
    closed: float | None = None


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """A verification of a flow's work, by the flow that does it; ``report`` is what it found, when it has."""

    review: FlowId
    at: float
    by: str
    task: ReviewTask
    report: Json = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Continued:
    """Somebody goes on with a session that rests: ``message`` is what the agent is told.

    ``base`` is the commit that the turn starts from: the tip of the session's branch, or where the last turn
    began, when nothing of that one got there.
    """

    at: float
    by: str
    step: StepId
    message: str
    base: Oid
    note: str = ""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session is over: its slot is given back. What it made stays on its branch."""

    at: float
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class ReviewBegan:
    """Somebody has the flow's work looked at, by the flow ``review``."""

    at: float
    by: str
    review: FlowId
    task: ReviewTask


@dataclass(frozen=True, slots=True)
class Reviewed:
    """That is over; ``report`` is what it came to."""

    at: float
    by: str
    review: FlowId
    report: Json


SessionEvent: TypeAlias = Continued | SessionClosed | ReviewBegan | Reviewed
