"""What the engine orders the shell to do.

An effect may be ordered again after a crash, so it names the attempt it is about, and doing it twice is
doing it once.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from stratum_git.model.conversations import Conversation
from stratum_git.model.ids import Oid, RefName, StepId, TaskId
from stratum_git.model.state import Parked
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Consider:
    """Find out whether the ``skip_if`` of a step holds."""

    step: StepId


@dataclass(frozen=True, slots=True)
class Ask:
    """The client has to do a step, or to report on one."""

    step: StepId


@dataclass(frozen=True, slots=True)
class Summon:
    """Start the flow that does a step, if it has not been started."""

    step: StepId


@dataclass(frozen=True, slots=True)
class Open:
    """Pin the base of a step."""

    step: StepId


@dataclass(frozen=True, slots=True)
class Launch:
    """Hand an attempt to an agent. ``task`` is ``None`` for a step that one agent does.

    ``findings`` are what was wrong with the attempt before, for the prompt; ``resolves`` is the conflict that
    it is to resolve, if it is for that. ``goes_on`` is the conversation that it goes on with, if it can.
    """

    step: StepId
    task: TaskId | None
    attempt: int
    findings: tuple[str, ...] = ()
    resolves: Parked | None = None
    goes_on: Conversation | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End an attempt; its result is no longer wanted. It still reports."""

    step: StepId
    task: TaskId | None
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class Choose:
    """Find out which of a task's candidates is to be taken: all are over, and one at least is good."""

    step: StepId
    task: TaskId


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


Effect: TypeAlias = Consider | Ask | Summon | Open | Launch | Stop | Choose | Land | Sync | AwaitGate | Finish
