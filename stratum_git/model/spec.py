"""What the author of a flow wrote, after parsing: one frozen value per thing in the file.

Every default of the language is already applied here; ``None`` means that the author left a thing out and
that it has no default. Lines are 1-based lines of the file, for messages only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from stratum_git.model.ids import Json, StepId, TaskId
from stratum_git.model.values import dataclass, field

Isolation: TypeAlias = Literal["worktree", "branch", "none"]
Merge: TypeAlias = Literal["sequential_apply", "squash", "rebase", "manual"]
LandMode: TypeAlias = Literal["serial", "speculative", "batch"]
OnQuorum: TypeAlias = Literal["cancel", "drain", "keep"]
OnConflict: TypeAlias = Literal["park", "fail", "agent"]
LandOrder: TypeAlias = Literal["least_conflicts", "graph"]
Require: TypeAlias = Literal["all", "any"] | int
Mode: TypeAlias = Literal["infer", "compute", "gate"]
Policy: TypeAlias = Literal["gate", "flag", "skip"]
Version: TypeAlias = Literal["0.1", "0.2", "0.3", "0.4"]

Command: TypeAlias = tuple[str, ...]
"""Words of a program to run, without a shell. A single string in a spec means ``sh -c STRING``."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a contract: its declared type, and the values it is limited to, if any."""

    type: str
    values: tuple[Json, ...] | None = None


Contract: TypeAlias = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on what a step or flow may cost; ``None`` is no limit."""

    ms: int | None = None
    usd: float | None = None
    tokens: int | None = None
    dispatches: int | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A named piece of work that function steps and gates refer to."""

    name: str
    mode: Mode
    intent: str = ""
    input: Mapping[str, Json] = field(default_factory=dict)
    output: str = ""
    ensure: tuple[str, ...] = ()
    budget: Budget | None = None
    retries: int = 3
    model: str | None = None
    timeout: int | None = None
    guardrails: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inline:
    """A step whose intent is written in place."""

    intent: str


@dataclass(frozen=True, slots=True)
class Call:
    """A step that does the work of a named function."""

    function: str


@dataclass(frozen=True, slots=True)
class SubFlow:
    """A step that runs another flow of the same file."""

    flow: str


@dataclass(frozen=True, slots=True)
class Gate:
    """A step that waits for somebody's decision. ``None`` targets: approve completes, kill terminates."""

    function: str
    on_approve: StepId | None
    on_revise: StepId | None
    on_kill: StepId | None
    timeout: int | None = None
    policy: Policy = "gate"
    policy_fallback: Policy | None = None


@dataclass(frozen=True, slots=True)
class Decompose:
    """A step whose output is a task graph."""

    intent: str


MOST_CANDIDATES = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several attempts at the same task, and what it does otherwise than the task says.

    ``intent`` is a template.
    """

    agent: str | None = None
    intent: str | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A step that runs the tasks of a graph in parallel and lands their results.

    ``source`` is a reference (``$.steps.plan.output.tasks`` or ``$.input.tasks``). ``timeout`` is seconds per
    attempt. ``verify`` runs on each result, ``land_verify`` on each prefix of the landing, ``setup`` in a
    slot before the agent starts. ``resolver`` is the agent that resolves conflicts, or else the task's.
    slot before the agent starts. With ``candidates`` each task is done once for each of them.
    """

    source: str
    intent_template: str
    max_concurrent: int = 3
    isolation: Isolation = "worktree"
    require: Require = "all"
    merge: Merge = "sequential_apply"
    timeout: float | None = None
    task_retries: int = 0
    verify: tuple[Command, ...] = ()
    land_verify: tuple[Command, ...] = ()
    setup: tuple[Command, ...] = ()
    on_quorum: OnQuorum = "cancel"
    on_conflict: OnConflict = "park"
    land_order: LandOrder = "least_conflicts"
    resolver: str | None = None
    candidates: tuple[Candidate, ...] = ()
    base: str | None = None
    target: str | None = None
    task_contract: str | None = None
    task_ensure: tuple[str, ...] = ()
    land_mode: LandMode = "speculative"
    """How ``land_verify`` is run: prefix by prefix, several prefixes at once, or the whole first."""
    commit_message: str | None = None
    """A template of the message with which a task lands."""


Work: TypeAlias = Inline | Call | SubFlow | Gate | Decompose | Dispatch


@dataclass(frozen=True, slots=True)
class Step:
    """A node of a flow: the work, and what surrounds it."""

    id: StepId
    work: Work
    line: int = 0
    agent: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    depends_on: tuple[StepId, ...] = ()
    output_schema: Mapping[str, Json] | None = None
    output_contract: str | None = None
    ensure: tuple[str, ...] = ()
    retries: int = 1
    """Tries in all. Defaults: function 3, inline and flow 1, decompose and dispatch 2."""
    model: str | None = None
    budget: Budget | None = None
    guardrails: tuple[str, ...] = ()
    reasoning_template: Mapping[str, Json] | None = None
    skip_if: str | None = None
    skip_reason: str | None = None
    on_fail: StepId | None = None
    next: StepId | None = None
    max_iterations: int | None = None
    exit_criterion: str | None = None
    score_expr: str | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A named list of steps."""

    name: str
    steps: tuple[Step, ...]
    line: int = 0
    input: Mapping[str, Json] = field(default_factory=dict)
    output: str | None = None
    budget: Budget | None = None
    max_rounds: int | None = None


@dataclass(frozen=True, slots=True)
class WorkflowInput:
    """One declared input of a workflow."""

    type: str
    required: bool = False
    default: Json = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """What a spec says of itself so that it can be listed and offered."""

    name: str
    description: str
    input: Mapping[str, WorkflowInput] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole file."""

    version: Version
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    flows: Mapping[str, Flow] = field(default_factory=dict)
    workflow: Workflow | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a spec or a task graph.

    ``path`` is the dotted place (``flows.build.steps.plan.retries``), ``line`` its line or 0 where there is
    none, ``hint`` what to write instead. ``kind`` is where it was found: the text is not YAML, a value has
    the wrong shape, or the parts do not fit together.
    """

    path: str
    message: str
    line: int = 0
    hint: str = ""
    kind: Literal["parse", "shape", "semantic"] = "semantic"


@dataclass(frozen=True, slots=True)
class Task:
    """One item of a task graph, with the author's own fields kept in ``fields`` for templates.

    ``fields`` is the whole object as it was given, so that ``{task.anything}`` can be rendered.
    """

    id: TaskId
    fields: Mapping[str, Json]
    depends_on: tuple[TaskId, ...] = ()
    files_owned: tuple[str, ...] = ()
    agent: str | None = None
    intent: str | None = None
    timeout: float | None = None
    verify: tuple[Command, ...] | None = None
    changes: Literal["required", "optional", "none"] = "optional"
    """Whether a result must touch a file. ``required`` by default for a task that owns files."""
    candidates: tuple[Candidate, ...] | None = None
    """What the task says itself of how often it is done; ``()`` is once, ``None`` as the step says."""
    candidate_of: TaskId | None = None
    """The task of which this is a candidate. No author writes it: see ``core/contest.py``."""
