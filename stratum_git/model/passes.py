"""The events of a loop that a client goes through: its passes."""

from __future__ import annotations

from stratum_git.model.ids import Json, StepId
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class LoopStarted:
    """The client begins to do a step several times."""

    at: float
    by: str
    step: StepId


@dataclass(frozen=True, slots=True)
class LoopReported:
    """A pass of the loop is done; ``met`` says whether the exit criterion holds, ``digest`` is a digest."""

    at: float
    by: str
    step: StepId
    result: Json
    digest: str
    met: bool = False
    score: float | None = None
    score_error: str | None = None


@dataclass(frozen=True, slots=True)
class LoopAborted:
    """The client gives the loop up."""

    at: float
    by: str
    step: StepId
    reason: str
