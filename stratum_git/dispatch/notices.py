"""What a run tells whoever watches it. Watching changes nothing: a notice is never waited for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.model.effects import Effect
from stratum_git.model.ids import Oid, StepId, TaskId
from stratum_git.model.messages import Event
from stratum_git.model.state import FlowState


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event is in the repository, as commit ``tip``."""

    event: Event
    state: FlowState
    effects: tuple[Effect, ...]
    tip: Oid


@dataclass(frozen=True, slots=True)
class Line:
    """The last line that an attempt wrote: printable, at most 200 characters."""

    step: StepId
    task: TaskId | None
    attempt: int
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something worth knowing that is no event: a lost race, a slot that was given up."""

    text: str


Notice: TypeAlias = Recorded | Line | Remark
Watcher: TypeAlias = Callable[[Notice], None]
