"""What a flow has spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from stratum_git.model.ids import Json, StepId
from stratum_git.model.values import dataclass, field

Scope: TypeAlias = Literal["flow", "step"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What attempts have cost in all: milliseconds at work, money, tokens, and how many were handed out.

    Of ``unseen`` ones a budget wanted to know what they cost, and nobody told.
    """

    ms: int = 0
    usd: float = 0.0
    tokens: int = 0
    dispatches: int = 0
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Spending:
    """What a flow has spent, and ``steps`` with a budget of their own.

    ``over`` are the budgets that are spent, each with a sentence: of a step by its id, of the flow under the
    empty one. ``clock`` is up to when the time of a client has been counted.
    """

    total: Spent = field(default_factory=Spent)
    steps: Mapping[StepId, Spent] = field(default_factory=dict)
    over: Mapping[str, str] = field(default_factory=dict)
    clock: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """Attempts at work have used a budget up; ``live`` is what they have cost that was not reported yet."""

    at: float
    by: str
    step: StepId
    scope: Scope
    live: Mapping[str, Json] = field(default_factory=dict)
