"""The engine's whole vocabulary: events come in, effects go out.

An event is a fact that was persisted; it holds everything an outcome depends on (time, verdicts, object
ids), so replaying a flow's events rebuilds its state. An effect is an order to the shell; it may be given
again after a crash, so it names the attempt it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId

RejectionKind: TypeAlias = Literal[
    "agent",  # it reported failure
    "timeout",  # it was still at work at its deadline
    "start",  # it could not be started
    "scope",  # it touched files that the task does not own
    "no_change",  # it changed nothing where a change was promised
    "stash",  # it left work in the stash that all worktrees share
    "history",  # its result does not build on its base
    "shared",  # it changed the shared, read-only directory
    "contract",  # its output breaks the contract or schema
    "ensure",  # a postcondition does not hold
    "verify",  # a verify command failed
    "setup",  # the slot could not be prepared
    "base",  # the results it depends on conflict with each other
]


# --- outcomes of an attempt -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completed:
    """The attempt passed every check. ``result`` equals ``base`` when it changed nothing."""

    base: Oid
    result: Oid
    output: Json = None
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """The attempt ended and was found wanting; ``findings`` are sentences, ``result`` what it left behind."""

    kind: RejectionKind
    findings: tuple[str, ...]
    base: Oid | None = None
    result: Oid | None = None
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """Whoever ran the attempt is gone. It counts as no failure: the work is tried again."""

    why: str
    result: Oid | None = None


@dataclass(frozen=True, slots=True)
class Halted:
    """The attempt was stopped because its result is no longer wanted."""

    why: str
    result: Oid | None = None


Outcome: TypeAlias = Completed | Rejected | Lost | Halted


# --- events -----------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class LandedResult:
    """A result is on the target as ``commit``; ``None`` when it changed nothing there."""

    task: TaskId | None
    result: Oid
    commit: Oid | None


@dataclass(frozen=True, slots=True)
class ParkedResult:
    """A result conflicts with what landed before it; the conflict is kept as commit ``conflict``."""

    task: TaskId | None
    result: Oid
    conflict: Oid
    paths: tuple[str, ...]


LandingEntry: TypeAlias = LandedResult | ParkedResult


@dataclass(frozen=True, slots=True)
class Landed:
    """The landing of a step is over; the target moved from ``old`` to ``new`` in the same transaction.

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
    """The run was interrupted: attempts end, nothing new begins, and the flow can be resumed."""

    at: float
    by: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Somebody takes the flow up again."""

    at: float
    by: str


Event: TypeAlias = (
    Started
    | Opened
    | StepReported
    | TaskReported
    | GateResolved
    | Landed
    | LandingBlocked
    | Synced
    | CancelRequested
    | Suspended
    | Resumed
)


# --- effects ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Pin the base of a step."""

    step: StepId


@dataclass(frozen=True, slots=True)
class Launch:
    """Hand an attempt to an agent. ``task`` is ``None`` for a step that one agent does.

    ``findings`` are what was wrong with the attempt before, for the prompt.
    """

    step: StepId
    task: TaskId | None
    attempt: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """End an attempt; its result is no longer wanted. It still reports."""

    step: StepId
    task: TaskId | None
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class Land:
    """Merge the step's verified results onto its target."""

    step: StepId


@dataclass(frozen=True, slots=True)
class Sync:
    """Let the checkouts of a moved branch follow it."""

    target: RefName
    old: Oid
    new: Oid


@dataclass(frozen=True, slots=True)
class AwaitGate:
    """Somebody has to decide."""

    step: StepId


EndStatus: TypeAlias = Literal["complete", "failed", "cancelled", "killed", "blocked"]


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing more happens in this flow unless it is resumed."""

    status: EndStatus


Effect: TypeAlias = Open | Launch | Stop | Land | Sync | AwaitGate | Finish
