"""What became of results at a landing."""

from __future__ import annotations

from typing import Literal, TypeAlias

from stratum_git.model.ids import Oid, RefName, TaskId
from stratum_git.model.values import dataclass

Rung: TypeAlias = Literal["line", "driver", "memory", "agent", "person"]
"""What merged a file: git line by line, a merge driver, what was resolved before, an agent, a person."""


@dataclass(frozen=True, slots=True)
class Mend:
    """How a file was merged that lines alone could not merge; ``by`` says by whom or by what exactly."""

    path: str
    rung: Rung
    by: str = ""


@dataclass(frozen=True, slots=True)
class LandedResult:
    """A result is on the target as ``commit``, ``None`` if it changed nothing; ``note`` is for people."""

    task: TaskId | None
    result: Oid
    commit: Oid | None
    mends: tuple[Mend, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class ParkedResult:
    """A result conflicts with what landed before it; the conflict is kept as commit ``conflict``."""

    task: TaskId | None
    result: Oid
    conflict: Oid
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DroppedResult:
    """A result was left out of the landing, and why: with it a check fails, or what it needs is not there."""

    task: TaskId | None
    result: Oid
    kind: Literal["land_verify", "needs"]
    findings: tuple[str, ...]


LandingEntry: TypeAlias = LandedResult | ParkedResult | DroppedResult


@dataclass(frozen=True, slots=True)
class PendingSync:
    """A target moved and its checkouts may not have followed yet."""

    target: RefName
    old: Oid
    new: Oid


@dataclass(frozen=True, slots=True)
class PutBack:
    """A target stood at ``old``, where the flow had left it, and was put back to ``new``."""

    target: RefName
    old: Oid
    new: Oid
