"""The choice among candidates: one task that was done several times, and which of its results is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from stratum_git.model.ids import Json, Oid, StepId, TaskId
from stratum_git.model.values import dataclass, field

Judgement: TypeAlias = Literal["verified", "failed", "stopped"]
"""What became of a candidate, best first: it passed every check, it did not, its work was not wanted."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """What is known of a candidate that is over, and what that came to.

    ``collisions`` are the tasks whose results conflict with its own, ``files`` and ``lines`` the size of its
    change, ``usage`` what it cost (``usd``, ``tokens``, ``ms``), ``tree`` its files. ``rank`` is 1
    for the best; candidates with the same files share it, one that failed has none. ``reason`` is in words.
    """

    task: TaskId
    judgement: Judgement
    attempt: int = 0
    result: Oid | None = None
    tree: Oid | None = None
    collisions: tuple[TaskId, ...] = ()
    files: int = 0
    lines: int = 0
    usage: Mapping[str, Json] = field(default_factory=dict)
    rank: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Of the candidates of ``task``, ``candidate`` was taken; ``ranking`` has all of them, the best first."""

    at: float
    by: str
    step: StepId
    task: TaskId
    candidate: TaskId
    ranking: tuple[Ranked, ...]
