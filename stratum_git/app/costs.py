"""What the attempts of a flow cost, read from its history: states tell sums, and no attempt by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from stratum_git.core import budgets
from stratum_git.core.usage import Usage, added, usage_of
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Json
from stratum_git.model.spec import Budget
from stratum_git.model.spending import Spending, Spent
from stratum_git.model.state import FlowState
from stratum_git.model.values import dataclass, field
from stratum_git.store.listing import flow_ref

SHOWN = 20
"""Attempts of one task that are told, the last ones."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one attempt cost, and how it ended; ``task`` is ``None`` for a step's own."""

    step: str
    task: str | None
    attempt: int
    outcome: str
    usage: Usage = field(default_factory=dict)


Costs: TypeAlias = Mapping[tuple[str, str | None], Sequence[Cost]]


def costs_of(repo: Repository, state: FlowState) -> Costs:
    """Returns the attempts that the history of a flow tells of, by step and task, oldest first."""
    if state.spent == Spending():
        return {}  # nobody was handed anything, or it was before costs were told
    words = ("log", "--first-parent", "-z", "--format=%B", flow_ref(state.flow))
    messages = repo.git.run(*words).stdout.decode("utf-8", "replace").split("\0")
    found: dict[tuple[str, str | None], list[Cost]] = {}
    for cost in (cost for message in reversed(messages) for cost in _told(message)):
        found.setdefault((cost.step, cost.task), []).append(cost)
    return found


def attempts_row(costs: Costs, step: str, task: str | None) -> dict[str, Json]:
    """Returns the attempts at a task, and what they cost together; nothing where there were none."""
    own = costs.get((step, task), ())
    if not own:
        return {}
    total: dict[str, Json] = {}
    for cost in own:
        total = added(total, cost.usage)
    for name in ("session_id", "model"):
        total.pop(name, None)
    rows: list[Json] = [
        {"attempt": cost.attempt, "outcome": cost.outcome, "usage": dict(cost.usage)} for cost in own[-SHOWN:]
    ]
    return {"attempts": rows, **({"usage": total} if total else {})}


def spent_row(state: FlowState) -> dict[str, Json]:
    """Returns what a flow has spent, and its budget where it has one, with what is said when it is spent."""
    found: dict[str, Json] = {"spent": _spent(state.spent.total)}
    if state.program.flow.budget is not None:
        found["budget"] = _budget(state.program.flow.budget)
    broke = budgets.broke(state)
    return found if broke is None else {**found, "error_type": "budget_exhausted", "message": broke}


def step_row(state: FlowState, step: str) -> dict[str, Json]:
    """Returns what a step with a budget of its own has spent of it."""
    spec = next(one for one in state.program.flow.steps if one.id == step)
    own = budgets.budget_of(state.program, spec)
    if own is None:
        return {}
    return {"spent": _spent(state.spent.steps.get(spec.id, Spent())), "budget": _budget(own)}


def _spent(spent: Spent) -> Json:
    return {"ms": spent.ms, "usd": spent.usd, "tokens": spent.tokens, "dispatches": spent.dispatches}


def _budget(budget: Budget) -> Json:
    limits = {
        "ms": budget.ms,
        "usd": budget.usd,
        "tokens": budget.tokens,
        "dispatches": budget.dispatches,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def _told(message: str) -> Iterator[Cost]:
    words = [line.partition(": ")[::2] for line in message.strip().rpartition("\n\n")[2].splitlines()]
    facts = dict(words)
    step = facts.get("Stratum-Step")
    if step is None or facts.get("Stratum-Event") not in {"StepReported", "TaskReported", "Gathered"}:
        return
    if facts["Stratum-Event"] != "Gathered":
        usage = usage_of(_json(facts.get("Stratum-Usage", "{}")))
        number = facts.get("Stratum-Attempt", "0")
        outcome = facts.get("Stratum-Outcome", "").lower()
        yield Cost(step, facts.get("Stratum-Task"), int(number) if number.isdecimal() else 0, outcome, usage)
        return
    for row in (_json(value) for key, value in words if key == "Stratum-Usage"):
        if isinstance(row, dict):
            attempt, outcome = row.get("attempt"), str(row.get("outcome", ""))
            number_of = attempt if isinstance(attempt, int) else 0
            yield Cost(step, str(row.get("task")), number_of, outcome, usage_of(row))


def _json(text: str) -> Json:
    try:
        found: Json = json.loads(text)
    except ValueError:
        return None
    return found
