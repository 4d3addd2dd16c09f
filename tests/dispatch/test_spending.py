"""Budgets, with attempts that are really at work: what they may cost, and how they are stopped."""

from __future__ import annotations

import pytest
import trio

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.dispatch.notices import Recorded
from stratum_git.model.ids import Json
from stratum_git.model.messages import Halted, Outcome, TaskReported
from stratum_git.model.spending import BudgetSpent
from stratum_git.model.state import Failed, FlowState
from tests.support.flows import Stage, dispatch_spec, words

TWO: list[Json] = [{"id": "one"}, {"id": "two"}]


def limited(budget: str, **options: object) -> str:
    return dispatch_spec(**options).replace("    input:", f"    budget: {{{budget}}}\n    input:")


def why(state: FlowState) -> str:
    now = state.steps[0]
    assert isinstance(now, Failed), now
    return now.findings[0]


def outcomes(stage: Stage) -> list[Outcome]:
    events = [n.event for n in stage.notices if isinstance(n, Recorded)]
    return [e.outcome for e in events if isinstance(e, TaskReported)]


async def test_agents_at_work_are_stopped_when_they_have_spent_it_together(stage: Stage) -> None:
    """Neither has cost too much by itself, and neither has reported anything. What they made is kept."""

    def play(assignment: Assignment) -> Script:
        made = {f"{assignment.task}.txt": b"1\n"}
        return Script(files=made, tells={"usd": 0.75, "tokens": 5}, seconds=60)

    with trio.fail_after(30):
        state = await stage.play(limited("usd: 1.5"), play, TWO)
    assert state.status == "failed"
    assert why(state) == "the budget of the flow is spent: 1.50 of 1.5 usd, in 2 dispatches"
    assert words(state) == {"one": "stopped", "two": "stopped"}
    assert state.spent.total.usd == 1.5
    for outcome in outcomes(stage):
        assert isinstance(outcome, Halted)
        assert outcome.result is not None
        assert outcome.usage["usd"] == 0.75
    assert (
        len([n for n in stage.notices if isinstance(n, Recorded) and isinstance(n.event, BudgetSpent)]) == 1
    )


@pytest.mark.parametrize("options", [{}, {"max_concurrent": 1}])
async def test_time_ends_while_agents_are_at_work(stage: Stage, options: dict[str, object]) -> None:
    """Two at once take it twice as fast; one alone has it as its own limit."""
    handed: list[Assignment] = []

    def play(assignment: Assignment) -> Script:
        handed.append(assignment)
        return Script(files={f"{assignment.task}.txt": b"1\n"}, seconds=60)

    with trio.fail_after(30):
        state = await stage.play(limited("ms: 800", **options), play, TWO)
    assert state.status == "failed"
    assert why(state).startswith("the budget of the flow is spent: ")
    assert 800 <= state.spent.total.ms < 30_000
    assert all(a.timeout is not None and a.timeout <= 0.8 for a in handed)


async def test_attempts_are_told_what_is_left(stage: Stage) -> None:
    handed: list[Assignment] = []

    def play(assignment: Assignment) -> Script:
        handed.append(assignment)
        return Script(files={f"{assignment.task}.txt": b"1\n"}, usage={"usd": 0.5, "tokens": 100})

    state = await stage.play(limited("usd: 2, tokens: 1000", max_concurrent=1), play, TWO)
    assert state.status == "complete"
    assert [(a.usd, a.tokens) for a in handed] == [(2.0, 1000), (1.5, 900)]


async def test_an_attempt_that_may_cost_no_more_ends_the_flow_only_with_its_budget(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if assignment.attempt == 1:
            return Script(spent="it has cost 0.5 usd", usage={"usd": 0.5, "session_id": "s"})
        assert assignment.session == "s"
        return Script(files={"a.txt": b"2\n"}, usage={"usd": 0.5})

    one: list[Json] = [{"id": "one"}]
    state = await stage.play(limited("usd: 2", task_retries=1), play, one)
    assert state.status == "complete"
    state = await stage.play(limited("usd: 0.5", task_retries=1), play, one)
    assert state.status == "failed"
    assert why(state) == "the budget of the flow is spent: 0.50 of 0.5 usd, in 1 dispatch"


async def test_a_flow_without_a_budget_hands_out_no_limits(stage: Stage) -> None:
    handed: list[Assignment] = []

    def play(assignment: Assignment) -> Script:
        handed.append(assignment)
        return Script(files={"a.txt": b"2\n"}, tells={"usd": 1e6})

    state = await stage.play(dispatch_spec(), play, [{"id": "one"}])
    assert state.status == "complete"
    assert (handed[0].usd, handed[0].tokens, handed[0].timeout) == (None, None, 3600.0)
