"""The events of a person who resolves a parked conflict, beside those in ``messages.py``."""

from __future__ import annotations

from typing import TypeAlias

from stratum_git.model.ids import Oid, StepId, TaskId
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class ResolvingBegan:
    """A person resolves a parked conflict as ``attempt``, in a slot that no process holds.

    The slot starts at ``base``, what the target was at; ``conflict`` is the conflict as it is there.
    """

    at: float
    by: str
    step: StepId
    task: TaskId
    attempt: int
    base: Oid
    conflict: Oid
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResolvingEnded:
    """That person is done: ``result`` is what is to land instead, or else what was left of giving up.

    ``conflict`` is what the resolution conflicts with by now, in ``paths``, where the target moved meanwhile.
    """

    at: float
    by: str
    step: StepId
    task: TaskId
    attempt: int
    result: Oid | None = None
    done: bool = False
    conflict: Oid | None = None
    paths: tuple[str, ...] = ()


Resolution: TypeAlias = ResolvingBegan | ResolvingEnded
