"""Budgets: which hold at a step, what is left of them, and what is said when one is spent.

A budget counts what was spent since the flow began, in all its rounds, and going back gives nothing back.
That of a function is the budget of each step that calls it. ``ms`` are those that agents were at work, each
for itself; of a client, those from when it was asked to when it reported. ``dispatches`` are attempts that
were handed to an agent, lost ones too; the steps that a client does by itself are none.
"""

from __future__ import annotations

from collections.abc import Iterator

from stratum_git.core.program import function_of
from stratum_git.core.usage import Usage, in_usd
from stratum_git.model.changing import replace
from stratum_git.model.messages import Completed, Event, Rejected, StepReported, TaskReported
from stratum_git.model.spec import Budget, Step
from stratum_git.model.spending import Scope, Spending, Spent
from stratum_git.model.state import Failed, FlowState, Program
from stratum_git.model.values import dataclass

FLOW = ""
"""The key of a flow's budget in ``Spending.over``."""


@dataclass(frozen=True, slots=True)
class Purse:
    """One budget that holds at a step, with what was spent of it."""

    scope: Scope
    key: str
    budget: Budget
    spent: Spent


def budget_of(program: Program, step: Step) -> Budget | None:
    """Returns the step's own budget, or that of the function that it calls."""
    function = function_of(program, step)
    return step.budget or (None if function is None else function.budget)


def purses(state: FlowState, step: Step) -> Iterator[Purse]:
    """Yields the budgets that hold at a step: the flow's, and its own.

    Before 0.4 a client's budgets were never held, and specs with such are about.
    """
    if state.driver == "client" and state.program.spec.version < "0.4":
        return
    if state.program.flow.budget is not None:
        yield Purse("flow", FLOW, state.program.flow.budget, state.spent.total)
    own = budget_of(state.program, step)
    if own is not None:
        yield Purse("step", step.id, own, state.spent.steps.get(step.id, Spent()))


def over(state: FlowState, step: Step) -> str | None:
    """Returns what is said of a budget that is spent, the flow's or the step's; ``None`` of none."""
    return state.spent.over.get(FLOW) or state.spent.over.get(step.id)


def is_used_up(purse: Purse, live: Spent | None = None) -> bool:
    """Returns whether nothing of a budget is left but dispatches; *live* is what was not reported yet."""
    budget, spent = purse.budget, plus(purse.spent, live or Spent())
    return (
        (budget.usd is not None and spent.usd >= budget.usd)
        or (budget.tokens is not None and spent.tokens >= budget.tokens)
        or (budget.ms is not None and spent.ms >= budget.ms)
    )


def dispatches_left(state: FlowState, step: Step) -> int | None:
    """Returns how many attempts may still be handed out; ``None`` is without limit."""
    found = [
        max(0, p.budget.dispatches - p.spent.dispatches)
        for p in purses(state, step)
        if p.budget.dispatches is not None
    ]
    return min(found, default=None)


def usd_left(state: FlowState, step: Step, live: Spent) -> float | None:
    """Returns the money that another attempt may cost, while others have cost *live*."""
    return min(
        (
            max(0.0, p.budget.usd - p.spent.usd - live.usd)
            for p in purses(state, step)
            if p.budget.usd is not None
        ),
        default=None,
    )


def tokens_left(state: FlowState, step: Step, live: Spent) -> int | None:
    """Returns the tokens that another attempt may take, while others have taken *live*."""
    return min(
        (
            max(0, p.budget.tokens - p.spent.tokens - live.tokens)
            for p in purses(state, step)
            if p.budget.tokens is not None
        ),
        default=None,
    )


def ms_left(state: FlowState, step: Step, live: Spent) -> int | None:
    """Returns the milliseconds that are left, while attempts at work have taken *live*."""
    return min(
        (max(0, p.budget.ms - p.spent.ms - live.ms) for p in purses(state, step) if p.budget.ms is not None),
        default=None,
    )


def plus(one: Spent, other: Spent) -> Spent:
    """Returns what both are together."""
    return Spent(
        one.ms + other.ms,
        round(one.usd + other.usd, 9),
        one.tokens + other.tokens,
        one.dispatches + other.dispatches,
        one.unseen + other.unseen,
    )


def spent_by(usage: Usage) -> Spent:
    """Returns what an attempt cost that told *usage*."""
    usd, tokens, ms = (usage.get(name) for name in ("usd", "tokens", "ms"))
    return Spent(
        ms if isinstance(ms, int) else 0,
        float(usd) if isinstance(usd, int | float) else 0.0,
        tokens if isinstance(tokens, int) else 0,
    )


def sentence(purse: Purse, live: Spent | None = None) -> str:
    """Returns what is said of a budget that is spent."""
    budget, spent = purse.budget, plus(purse.spent, live or Spent())
    rows = []
    if budget.usd is not None and spent.usd >= budget.usd:
        rows.append(f"{in_usd(spent.usd)} of {budget.usd:g} usd")
    if budget.tokens is not None and spent.tokens >= budget.tokens:
        rows.append(f"{spent.tokens} of {budget.tokens} tokens")
    if budget.ms is not None and spent.ms >= budget.ms:
        rows.append(f"{spent.ms / 1000:.1f} of {budget.ms / 1000:g} s")
    of = f" of {budget.dispatches}" if not rows and budget.dispatches is not None else ""
    count = f"{spent.dispatches}{of} dispatch{'es' if of or spent.dispatches != 1 else ''}"
    whose = "the flow" if purse.scope == "flow" else f"step {purse.key}"
    what = f"{' and '.join(rows)}, in {count}" if rows else count
    return f"the budget of {whose} is spent: {what}"


def with_over(spending: Spending, key: str, said: str) -> Spending:
    """Returns the spending with a budget that is spent."""
    return replace(spending, over={**spending.over, key: said})


def is_unseen(state: FlowState, event: Event) -> bool:
    """Returns whether an attempt came to its end and did not tell what a budget would have to know.

    One that was stopped or lost may not have come to that.
    """
    if not isinstance(event, StepReported | TaskReported):
        return False
    usage = event.outcome.usage
    if not usage or not isinstance(event.outcome, Completed | Rejected):
        return False
    return any(
        (purse.budget.usd is not None and "usd" not in usage)
        or (purse.budget.tokens is not None and "tokens" not in usage)
        for purse in purses(state, state.program.steps[event.step])
    )


def broke(state: FlowState) -> str | None:
    """Returns what is said of the budget for which the flow failed; ``None`` when that was not why."""
    now = None if state.cursor is None or state.status != "failed" else state.step(state.cursor)
    head = now.findings[:1] if isinstance(now, Failed) else ()
    return next((line for line in head if line in state.spent.over.values()), None)
