"""What the engine is told: events, and the outcomes of attempts.

An event is a fact that was persisted; it holds everything an outcome depends on (time, verdicts, object
ids), so replaying a flow's events rebuilds its state. What comes out is in ``effects.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from stratum_git.model.choosing import Chosen
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.landings import DroppedResult as DroppedResult  # noqa: PLC0414
from stratum_git.model.landings import LandedResult as LandedResult  # noqa: PLC0414
from stratum_git.model.landings import LandingEntry as LandingEntry  # noqa: PLC0414
from stratum_git.model.landings import Mend as Mend  # noqa: PLC0414
from stratum_git.model.landings import ParkedResult as ParkedResult  # noqa: PLC0414
from stratum_git.model.landings import Rung as Rung  # noqa: PLC0414
from stratum_git.model.passes import LoopAborted as LoopAborted  # noqa: PLC0414 - named here by everybody
from stratum_git.model.passes import LoopReported as LoopReported  # noqa: PLC0414
from stratum_git.model.passes import LoopStarted as LoopStarted  # noqa: PLC0414
from stratum_git.model.proofs import Proof
from stratum_git.model.resolutions import Resolution
from stratum_git.model.sessions import SessionEvent, SessionTerms
from stratum_git.model.sightings import Sighted
from stratum_git.model.spending import BudgetSpent
from stratum_git.model.values import dataclass, field

RejectionKind: TypeAlias = Literal[
    "agent",  # it reported failure
    "timeout",  # it was still at work at its deadline
    "start",  # it could not be started
    "scope",  # it touched files that the task does not own
    "no_change",  # it changed nothing where a change was promised
    "secret",  # what must not be written down is in its files or commits
    "stash",  # it left work in the stash that all worktrees share
    "history",  # its result does not build on its base
    "shared",  # it changed the shared, read-only directory
    "contract",  # its output breaks the contract or schema
    "guardrail",  # its output has what it must not have
    "certificate",  # its words lack sections that they must have
    "ensure",  # a postcondition does not hold
    "verify",  # a verify command failed
    "setup",  # the slot could not be prepared
    "base",  # the results it depends on conflict with each other
    "land_verify",  # with it on top of what had landed before, a land_verify command failed
    "needs",  # a result that it builds on did not land
    "conflict",  # a conflict was to be resolved, and is not
    "budget",  # it may not cost more
    "readonly",  # it was only to look, and changed something
]

# --- outcomes of an attempt -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completed:
    """The attempt passed every check. ``result`` equals ``base`` when it changed nothing."""

    base: Oid
    result: Oid
    output: Json = None
    usage: Mapping[str, Json] = field(default_factory=dict)
    text: str = ""
    """How the agent's last words end; of sessions."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The attempt ended and was found wanting; ``findings`` are sentences, ``result`` what it left behind.

    ``session`` is the conversation that its agent can go on with.
    """

    kind: RejectionKind
    findings: tuple[str, ...]
    base: Oid | None = None
    result: Oid | None = None
    usage: Mapping[str, Json] = field(default_factory=dict)
    output: Json = None
    session: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """Whoever ran the attempt is gone. It counts as no failure: the work is tried again."""

    why: str
    result: Oid | None = None
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Halted:
    """The attempt was stopped because its result is no longer wanted."""

    why: str
    result: Oid | None = None
    usage: Mapping[str, Json] = field(default_factory=dict)


Outcome: TypeAlias = Completed | Rejected | Lost | Halted

Verdict: TypeAlias = Literal["ok", "schema_failed", "guardrail_blocked", "ensure_failed"]
"""What became of a client's result; the words are the protocol's."""


@dataclass(frozen=True, slots=True)
class Started:
    """A flow begins. ``base`` is the commit the caller stood on, ``target`` the branch results land on."""

    at: float
    by: str
    flow: FlowId
    name: str
    inputs: Mapping[str, Json]
    base: Oid
    target: RefName
    driver: Literal["runner", "client"] = "runner"
    parent: FlowId | None = None
    parent_step: StepId | None = None
    session: SessionTerms | None = None


@dataclass(frozen=True, slots=True)
class Considered:
    """Whether a step's ``skip_if`` holds."""

    at: float
    by: str
    step: StepId
    skip: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The client did a step; ``verdict`` is what became of its ``result``, and ``violations`` say why.

    ``audit`` is that of the flow which did the step, if one did.
    """

    at: float
    by: str
    step: StepId
    result: Json
    verdict: Verdict
    violations: tuple[str, ...] = ()
    audit: Json = None
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkipRequested:
    """Somebody left a step out."""

    at: float
    by: str
    step: StepId
    reason: str


@dataclass(frozen=True, slots=True)
class Called:
    """A flow was started that does a step."""

    at: float
    by: str
    step: StepId
    child: FlowId


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What became of one task, in a client's words and git's. ``attempt`` is 0 in what was written early."""

    task: TaskId
    outcome: Outcome
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Gathered:
    """The client reported tasks of a dispatch step. ``conflict``: it says that its own merge failed."""

    at: float
    by: str
    step: StepId
    reports: tuple[TaskReport, ...]
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """Somebody gave the flow's present state a name; ``code`` is what the checkout was at."""

    at: float
    by: str
    label: str
    code: Oid | None = None


@dataclass(frozen=True, slots=True)
class Reverted:
    """Somebody took the flow back to a named state."""

    at: float
    by: str
    label: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A step's base was pinned and its work may be handed out."""

    at: float
    by: str
    step: StepId
    base: Oid
    target: RefName


@dataclass(frozen=True, slots=True)
class StepReported:
    """An attempt at a step that one agent does has ended."""

    at: float
    by: str
    step: StepId
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TaskReported:
    """An attempt at a task has ended."""

    at: float
    by: str
    step: StepId
    task: TaskId
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class GateResolved:
    """Somebody decided at a gate."""

    at: float
    by: str
    step: StepId
    outcome: Literal["approve", "revise", "kill"]
    rationale: str = ""
    resolver: Literal["human", "agent", "system"] = "human"


@dataclass(frozen=True, slots=True)
class Landed:
    """A step landed, and the target moved with that. ``findings``: postconditions that the whole breaks."""

    at: float
    by: str
    step: StepId
    target: RefName
    old: Oid
    new: Oid
    entries: tuple[LandingEntry, ...]
    findings: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class LandedLater:
    """Results that a landing had left were landed when the step was over; the target moved with it.

    ``findings`` are the step's own postconditions that do not hold for the whole.
    """

    at: float
    by: str
    step: StepId
    target: RefName
    old: Oid
    new: Oid
    entries: tuple[LandingEntry, ...]
    findings: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class Undone:
    """A target was put back: from ``old``, where the flow had left it, to ``new``, where it had found it."""

    at: float
    by: str
    target: RefName
    old: Oid
    new: Oid


@dataclass(frozen=True, slots=True)
class LandingBlocked:
    """Nothing landed: the target's checkout is in the way. ``resume`` tries again."""

    at: float
    by: str
    step: StepId
    reason: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Synced:
    """The checkouts of a moved target follow it again; ``notes`` name those that could not."""

    at: float
    by: str
    target: RefName
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asked to stop the flow, or one task of its current step."""

    at: float
    by: str
    why: str
    task: TaskId | None = None


@dataclass(frozen=True, slots=True)
class Suspended:
    """The run was interrupted: attempts end, nothing new begins, and the flow can be resumed.

    ``why`` is said where nobody did it: the server of a model has had no room for too long.
    """

    at: float
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Somebody takes the flow up again."""

    at: float
    by: str


Event: TypeAlias = (
    Started
    | Considered
    | Answered
    | SkipRequested
    | Called
    | Gathered
    | LoopStarted
    | LoopReported
    | LoopAborted
    | Checkpointed
    | Reverted
    | Opened
    | StepReported
    | TaskReported
    | Chosen
    | GateResolved
    | Landed
    | LandedLater
    | Undone
    | LandingBlocked
    | Resolution
    | Synced
    | CancelRequested
    | Suspended
    | Resumed
    | Sighted
    | BudgetSpent
    | SessionEvent
)
