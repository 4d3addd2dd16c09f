"""What is true of a flow now.

A flow is at one step at a time, in the order of its program. Each step and each task is exactly one of the
states below; none of them knows how it came about, that is what the events are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from stratum_git.model.book import Book
from stratum_git.model.chunks import Chunks
from stratum_git.model.conversations import Conversation
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId
from stratum_git.model.indices import Indices
from stratum_git.model.landings import PendingSync as PendingSync  # noqa: PLC0414 - named here by everybody
from stratum_git.model.landings import PutBack as PutBack  # noqa: PLC0414
from stratum_git.model.messages import RejectionKind, Verdict
from stratum_git.model.sightings import Collision
from stratum_git.model.spec import Flow, Spec, Step
from stratum_git.model.spending import Spending
from stratum_git.model.values import dataclass, field

# --- tasks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pending:
    """The task waits for ``waits`` tasks that it depends on; with none left it waits for a free place.

    ``attempt`` and ``failures`` are of the attempts before, ``findings`` what was wrong with the last one.
    ``resolves`` is the conflict that the next one is to resolve. ``done`` is a result that was left out of a
    landing because of what it waits for: it counts again when that is there. ``goes_on`` is the conversation
    that the next attempt goes on with.
    """

    waits: int = 0
    attempt: int = 0
    failures: int = 0
    findings: tuple[str, ...] = ()
    resolves: Parked | None = None
    done: Verified | None = None
    goes_on: Conversation | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Attempt ``attempt`` is under way, after ``failures`` failed ones.

    ``stopping`` says why it is being ended, when it is; ``findings`` what was wrong with the one before.
    ``resolves`` is the conflict that it is to resolve, ``goes_on`` a conversation to go on with, if any.
    """

    attempt: int
    failures: int = 0
    stopping: str | None = None
    findings: tuple[str, ...] = ()
    resolves: Parked | None = None
    goes_on: Conversation | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """The result passed its checks and waits to land. ``resolves`` is a conflict that it resolves."""

    attempt: int
    base: Oid
    result: Oid
    output: Json = None
    resolves: Parked | None = None


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The last attempt was found wanting and no further one is allowed.

    ``base`` is known of a result that its landing left out: it may land later.
    """

    attempt: int
    kind: RejectionKind
    findings: tuple[str, ...]
    result: Oid | None = None
    output: Json = None
    base: Oid | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The task was ended, or never begun (attempt 0), because its result is no longer wanted."""

    attempt: int
    why: str
    result: Oid | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """The result is on the target, as ``commit`` if it changed anything there.

    ``undone``: it was, and the target has been put back since.
    """

    attempt: int
    base: Oid
    result: Oid
    commit: Oid | None
    output: Json = None
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Resolving:
    """A person resolves a conflict as ``attempt`` since ``since``, in a slot at ``base``.

    ``conflict`` is the conflict as it is there, in ``paths``.
    """

    attempt: int
    by: str
    since: float
    base: Oid
    conflict: Oid
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """The result conflicts with the target; the conflict is kept as a commit.

    ``tries`` at resolving it were in vain, ``findings`` are what was wrong with the last one, and ``last`` is
    the number of the last attempt when that is not the one that made the result.
    """

    attempt: int
    base: Oid
    result: Oid
    conflict: Oid
    paths: tuple[str, ...]
    output: Json = None
    tries: int = 0
    last: int = 0
    findings: tuple[str, ...] = ()
    resolving: Resolving | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate whose result passed its checks; which one is taken is not known yet."""

    attempt: int
    base: Oid
    result: Oid
    output: Json = None
    usage: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Elected:
    """The candidate whose result is now that of its task, and ``why``."""

    attempt: int
    base: Oid
    result: Oid
    why: str


TaskState: TypeAlias = (
    Pending | Running | Verified | Exhausted | Stopped | Merged | Parked | Standing | Elected
)


# --- steps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """The flow has not come to this step."""


@dataclass(frozen=True, slots=True)
class Considering:
    """The flow has come to this step; whether to skip it is being found out."""

    tries: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """The client was asked to do this step, after ``tries`` that were found wanting.

    ``child`` is the flow that was started for it, where the step is one.
    """

    since: float
    tries: int = 0
    child: FlowId | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """The flow has come to this step; its base is being pinned."""

    tries: int = 0


@dataclass(frozen=True, slots=True)
class Working:
    """One agent does this step; its task state is that of the only task."""

    base: Oid
    target: RefName
    task: Pending | Running | Verified
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class FannedOut:
    """The step's tasks are being run in parallel.

    ``ready`` are the indices of pending tasks that wait for nothing but a place, ascending; it follows from
    ``tasks`` and is kept because finding it again would make a run quadratic. So do the counts; ``merged`` is
    not 0 only when some results have landed and others are still needed. ``verdict`` is ``met`` or ``missed``
    once the quorum is decided. ``tip`` is where the target was after results had landed, while others are
    still at work. ``collisions`` are those that were seen last, some of attempts that are over.
    """

    base: Oid
    target: RefName
    graph: TaskGraph
    tasks: Chunks[TaskState]
    ready: Indices
    running: int = 0
    verified: int = 0
    dead: int = 0
    verdict: Literal["open", "met", "missed"] = "open"
    merged: int = 0
    since: float = 0.0
    tries: int = 0
    tip: Oid | None = None
    collisions: tuple[Collision, ...] = ()


@dataclass(frozen=True, slots=True)
class Landing:
    """The step's verified results are being landed; ``blocked`` says why that stands still."""

    work: Working | FannedOut
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AtGate:
    """The step waits for a decision."""

    since: float


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The step is done, after ``tries`` of the client's. ``work`` keeps the tasks of a dispatch step."""

    work: FannedOut | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """The step was left out, after ``tries``; its output is null."""

    reason: str
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The step is over without success. The flow ends, or goes on where the step's ``on_fail`` says."""

    findings: tuple[str, ...]
    work: FannedOut | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The flow was cancelled while it was at this step."""

    why: str
    work: FannedOut | None = None


StepState: TypeAlias = (
    Waiting
    | Considering
    | Asked
    | Opening
    | Working
    | FannedOut
    | Landing
    | AtGate
    | Succeeded
    | Skipped
    | Failed
    | Abandoned
)


@dataclass(frozen=True, slots=True)
class Setback:
    """Why the client's last report did not bring the flow on. ``last``: no further try is left."""

    status: Verdict
    step: StepId
    violations: tuple[str, ...]
    last: bool = False


# --- the flow ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program:
    """What a flow executes: the flow of a spec, and its steps in the order in which they run."""

    spec: Spec
    flow: Flow
    order: tuple[StepId, ...]
    position: Mapping[StepId, int]
    steps: Mapping[StepId, Step]


Output: TypeAlias = "tuple[Json, ...]"
"""What a step produced: one value, or none when there is nothing (yet)."""

Driver: TypeAlias = Literal["runner", "client"]
"""Who does the steps: a runner with its agents, or the client, who is told what is next."""

Status: TypeAlias = Literal[
    "running", "awaiting_gate", "blocked", "complete", "failed", "cancelled", "killed"
]


@dataclass(frozen=True, slots=True)
class FlowState:
    """Everything that is true of a flow after ``seq`` events."""

    program: Program = field(repr=False)
    flow: FlowId
    inputs: Mapping[str, Json]
    base: Oid
    target: RefName
    started: float
    steps: Chunks[StepState]
    outputs: Chunks[Output]
    cursor: StepId | None = None
    status: Status = "running"
    seq: int = 0
    updated: float = 0.0
    cancelling: str | None = None
    unsynced: tuple[PendingSync, ...] = ()
    paused: bool = False
    """Somebody interrupted the run: nothing is launched until it is resumed."""
    book: Book = field(default_factory=Book)
    driver: Driver = "runner"
    parent: FlowId | None = None
    """The flow of which this one does a step, and which step of it."""
    parent_step: StepId | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    setback: Setback | None = None
    undone: tuple[PutBack, ...] = ()
    """Targets that were put back, and on which the flow has landed nothing since."""
    spent: Spending = field(default_factory=Spending)

    def step(self, step: StepId) -> StepState:
        """Returns the state of a step of the program."""
        return self.steps[self.program.position[step]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A flow as it was, under a name, and the commit ``code`` that the checkout was at."""

    label: str
    state: FlowState
    code: Oid | None = None
