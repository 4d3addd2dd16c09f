"""The values of an estimate: what is asked, and what each step comes to; and how ranges are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from stratum_git.core.budgets import budget_of
from stratum_git.core.experience import Experience, Range
from stratum_git.model.ids import Json, StepId, TaskId
from stratum_git.model.spec import Budget, Problem, Step
from stratum_git.model.spending import Spending, Spent
from stratum_git.model.state import Driver, Program

NOBODY = Range(0, 0, 0, "no agent takes part")
StepKind: TypeAlias = Literal["inline", "function", "decompose", "gate", "flow", "parallel_dispatch"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one attempt of an agent: seconds, and usd, where they are set."""

    seconds: float | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be estimated, and all that is known.

    ``outputs`` are those of steps that are over, ``over`` these steps, and ``done`` the tasks that are, of a
    flow that is under way. ``limits`` are those of agents by their names, ``attempt`` those of any other.
    """

    program: Program
    inputs: Mapping[str, Json]
    driver: Driver
    known: Experience = field(default_factory=Experience)
    outputs: Mapping[StepId, Json] = field(default_factory=dict)
    over: frozenset[StepId] = frozenset()
    done: Mapping[StepId, frozenset[TaskId]] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    attempt: Limits = field(default_factory=Limits)
    spent: Spending = field(default_factory=Spending)

    def left_for(self, step: Step | None) -> Budget:
        """Returns what the budget of a step, or of the flow, has left: no limits where none is held."""
        # A client is held to budgets since 0.4; before, the protocol never did.
        if self.driver == "client" and self.program.spec.version < "0.4":
            return Budget()
        budget = self.program.flow.budget if step is None else budget_of(self.program, step)
        gone = self.spent.total if step is None else self.spent.steps.get(step.id, Spent())
        return Budget() if budget is None else _left(budget, gone)


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The tasks of a step, where their graph is known.

    ``rounds`` is how often places are filled anew when all tasks take as long, ``longest`` the longest chain
    of tasks each of which needs the one before. ``candidates`` is 0 where every task is done once.
    """

    tasks: int
    candidates: int
    rounds: int
    longest: tuple[TaskId, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """One step: who works at it, what it may take; ``most_seconds`` and the like where that is bounded.

    ``agents`` are attempts. ``concurrent`` is how many are at work at once. ``inner`` are the steps of the
    flow that it runs, ``problems`` why it cannot be done.
    """

    step: Step
    kind: StepKind
    agents: Range = NOBODY
    seconds: Range = NOBODY
    usd: Range = NOBODY
    tokens: Range = NOBODY
    concurrent: int = 0
    tries: int = 1
    tasks: Range | None = None
    dispatched: Dispatched | None = None
    most_seconds: float | None = None
    most_usd: float | None = None
    most_tokens: float | None = None
    inner: tuple[Forecast, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A flow: its steps that are still to be done, and what they come to."""

    question: Question
    steps: tuple[Forecast, ...]
    agents: Range
    seconds: Range
    usd: Range
    tokens: Range
    concurrent: int
    most_seconds: float | None
    most_usd: float | None
    most_tokens: float | None


def total(parts: Sequence[Range]) -> Range:
    """Returns the sum. Where a part is not known only the least is: what the others take at least."""
    unknown = [part for part in parts if part.likely is None]
    lows = [part.low for part in parts if part.low]
    if unknown:
        known = len(parts) - len(unknown)
        why = "; ".join(dict.fromkeys(part.source for part in unknown))
        return Range(sum(lows) if lows and known else None, None, None, why)
    sources = tuple(dict.fromkeys(part.source for part in parts if part is not NOBODY))
    likely = sum(part.likely for part in parts if part.likely is not None)
    highs = [part.high for part in parts]
    high = None if None in highs else sum(one for one in highs if one is not None)
    source = "the sum of the steps" if len(sources) > 1 else (sources or (NOBODY.source,))[0]
    return Range(sum(lows), likely, high, source)


def times(one: Range, low: float, middle: float, high: float) -> Range:
    """Returns a range of which each end is multiplied."""
    return Range(product(one.low, low), product(one.likely, middle), product(one.high, high), one.source)


def spread(one: Range, count: Range) -> Range:
    """Returns a number that comes up an uncertain number of times."""
    if one.likely is None or count.likely is None:
        return Range(None, None, None, one.source if one.likely is None else count.source)
    pairs = ((one.low, count.low), (one.likely, count.likely), (one.high, count.high))
    low, middle, high = (None if a is None or b is None else a * b for a, b in pairs)
    return Range(low, middle, high, f"{one.source}, {count.source}")


def skippable(found: Forecast) -> Forecast:
    """Returns a step that takes nothing at least, if it may be left out."""
    if found.step.skip_if is None:
        return found
    return replace(
        found,
        agents=_or_nothing(found.agents),
        seconds=_or_nothing(found.seconds),
        usd=_or_nothing(found.usd),
        tokens=_or_nothing(found.tokens),
    )


def _or_nothing(one: Range) -> Range:
    return one if one.low is None else replace(one, low=0)


def least(*bounds: float | None) -> float | None:
    """Returns the smallest of those that are set."""
    return min((one for one in bounds if one is not None), default=None)


def product(value: float | None, by: float) -> float | None:
    """Returns a product, of what is known."""
    return None if value is None else value * by


def seconds_of(budget: Budget) -> float | None:
    """Returns the time that a budget allows: agents may work at once, so it is no longer than that."""
    return None if budget.ms is None else budget.ms / 1000


def capped(agents: Range, dispatches: int | None) -> Range:
    """Returns how many agents run where a budget allows so many."""
    if dispatches is None:
        return agents
    low, likely, high = (
        None if n is None else min(n, dispatches) for n in (agents.low, agents.likely, agents.high)
    )
    high = dispatches if high is None else high
    return Range(low, likely, high, f"{agents.source}; the budget allows {dispatches}")


def _left(budget: Budget, gone: Spent) -> Budget:
    return Budget(
        ms=None if budget.ms is None else max(0, budget.ms - gone.ms),
        usd=None if budget.usd is None else max(0.0, budget.usd - gone.usd),
        tokens=None if budget.tokens is None else max(0, budget.tokens - gone.tokens),
        dispatches=None if budget.dispatches is None else max(0, budget.dispatches - gone.dispatches),
    )
