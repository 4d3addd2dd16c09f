"""What a flow remembers beside the states of its steps: the audit, the rounds, the loops.

The audit is a list of records, one for each thing that was decided. A round ends when a gate sends the flow
back; its records are kept as they were. A loop is what a client does several times within one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from stratum_git.model.chunks import Chunks
from stratum_git.model.ids import Json, StepId
from stratum_git.model.sessions import ReviewRecord, Session
from stratum_git.model.values import dataclass, field

Resolver: TypeAlias = Literal["human", "agent", "system"]
Answer: TypeAlias = Literal["approve", "revise", "kill"]
Exit: TypeAlias = Literal["continue", "exit_success", "exit_stagnation", "exit_max", "exit_abort"]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step ended, well or for good. ``mode`` is the kind of step, ``child`` the flow it ran, if any."""

    step: StepId
    attempts: int
    ms: int
    round: int
    mode: str
    function: str = ""
    agent: str | None = None
    child: str | None = None
    start: StepId | None = None
    """Where the round began; ``None`` in the first one. So it is in every record."""


@dataclass(frozen=True, slots=True)
class GateRecord:
    """Somebody decided at a gate, ``ms`` after the flow came there."""

    step: StepId
    outcome: Answer
    rationale: str
    resolver: Resolver
    ms: int
    round: int
    start: StepId | None = None


@dataclass(frozen=True, slots=True)
class SkipRecord:
    """A step was left out."""

    step: StepId
    reason: str
    round: int
    start: StepId | None = None


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A gate approved itself, because of its policy or its ``skip_if``."""

    step: StepId
    policy: Literal["flag", "skip", "skip_if"]
    rationale: str
    round: int
    start: StepId | None = None


Record: TypeAlias = StepRecord | GateRecord | SkipRecord | PolicyRecord


@dataclass(frozen=True, slots=True)
class Loop:
    """The loop that is under way, after ``count`` passes."""

    step: StepId
    since: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a loop: what came out, and what was made of it.

    Passes that repeat each other have the same ``digest``. ``scored`` says that the step has a score at all;
    ``score`` is ``None`` where it could not be told, and ``score_error`` says why.
    """

    number: int
    round: int
    at: float
    outcome: Exit
    result: Json = None
    digest: str | None = None
    met: bool = False
    scored: bool = False
    score: float | None = None
    score_error: str | None = None


@dataclass(frozen=True, slots=True)
class Best:
    """The pass of a loop with the highest score, the first one of equals."""

    score: float
    number: int
    result: Json = None


Passes: TypeAlias = Mapping[StepId, Chunks[Pass]]


@dataclass(frozen=True, slots=True)
class Book:
    """What is remembered. ``rounds`` and ``past`` are the records and loops of rounds that ended.

    ``exits`` says how the loop of a step ended, until the step is reported; ``audits`` are the audits of the
    flows that a step ran.
    """

    records: Chunks[Record] = field(default_factory=Chunks)
    round: int = 0
    start: StepId | None = None
    rounds: tuple[Chunks[Record], ...] = ()
    loop: Loop | None = None
    passes: Passes = field(default_factory=dict)
    past: tuple[Passes, ...] = ()
    exits: Mapping[StepId, Exit] = field(default_factory=dict)
    best: Mapping[StepId, Best] = field(default_factory=dict)
    audits: Mapping[StepId, tuple[Json, ...]] = field(default_factory=dict)
    killed: bool = False
    """A gate ended the flow; what still runs only cleans up."""
    hops: int = 0
    """Steps that the flow went on by itself since somebody did something."""
    session: Session | None = None
    """The conversation that the flow is, if it is one."""
    reviews: tuple[ReviewRecord, ...] = ()
    """The verifications of the flow's work."""
