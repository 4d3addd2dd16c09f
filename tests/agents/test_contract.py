"""What every kind of agent has to do, whatever is behind it: one set of tests for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from stratum_git.agents.base import (
    Agent,
    AgentFailed,
    AgentLimited,
    AgentSpent,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.model.ids import Json, Oid
from stratum_git.spawn.client import serving
from tests.support.kinds import FOLLOWUP, HANGS, OURS, REAL, SECRET, Ability, Casts, Kind, Play
from tests.support.other_kinds import OTHERS, REAL_OTHERS

SCHEMA: dict[str, Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
}


def kinds(*able: Ability, real: bool = True, always: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Runs a test with every kind that can do what it is about.

    Real clients take their time: those that are not named in *always* are for ``scripts/test --soak``.
    """
    slow = [one for one in (*REAL, *REAL_OTHERS) if real and one.name not in always]
    quick = [*OURS, *OTHERS, *(one for one in (*REAL, *REAL_OTHERS) if one.name in always)]
    marked = [pytest.param(one, marks=pytest.mark.soak) for one in slow if one.can.issuperset(able)]
    found = [pytest.param(one) for one in quick if one.can.issuperset(able)]
    return pytest.mark.parametrize("kind", [*found, *marked], ids=repr)


@pytest.fixture(autouse=True)
def _tethers() -> Iterator[None]:
    """As in a run. Other ways to hold a program are the business of ``test_supervise``."""
    with serving():
        yield


@pytest.fixture
def cast(kind: Kind, tmp_path: Path) -> Iterator[Casts]:
    (tmp_path / "slot").mkdir()
    with ExitStack() as stack:
        yield stack.enter_context(kind.stage(tmp_path))


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    return Assignment(
        flow="f-1", step="build", task="api", attempt=1, base=Oid("b" * 40), branch=None,
        intent="Do the work.\n", slot=tmp_path / "slot", folder=tmp_path / "attempts" / "1", timeout=60.0,
    )  # fmt: skip


async def run(agent: Agent, assignment: Assignment) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    with trio.fail_after(60):
        return await agent.run(assignment, lines.append), lines


async def finished(agent: Agent, assignment: Assignment) -> Finished:
    outcome, _ = await run(agent, assignment)
    assert isinstance(outcome, Finished), outcome
    return outcome


def story(assignment: Assignment) -> str:
    return (assignment.folder / "output.log").read_text()


def is_over(place: Path) -> bool:
    """Returns whether the process that noted its number in a slot is gone."""
    try:
        os.kill(int((place / "pid").read_text()), 0)
    except ProcessLookupError:
        return True
    return False


@kinds()
async def test_work_words_and_the_object_arrive(cast: Casts, assignment: Assignment) -> None:
    play = Play(writes={"made.txt": "made"}, says="on it", returns={"n": 1})

    outcome, lines = await run(cast(play), assignment)

    assert isinstance(outcome, Finished), outcome
    assert outcome.output == {"n": 1}
    assert "on it" in outcome.text_tail
    assert (assignment.slot / "made.txt").read_text() == "made"
    assert lines


@kinds(real=False)
async def test_who_returns_nothing_is_done_all_the_same(cast: Casts, assignment: Assignment) -> None:
    outcome = await finished(cast(Play(says="it was there")), assignment)

    assert (outcome.output, outcome.text_tail) == (None, "it was there")


@kinds()
async def test_failure_is_told(cast: Casts, assignment: Assignment) -> None:
    outcome, _ = await run(cast(Play(fails=True)), assignment)

    assert isinstance(outcome, AgentFailed), outcome
    assert outcome.reason


@kinds(real=False)
async def test_the_deadline_is_kept_and_nothing_is_left(
    kind: Kind, cast: Casts, assignment: Assignment
) -> None:
    outcome, _ = await run(cast(Play(runs=HANGS)), replace(assignment, timeout=1.0))

    assert isinstance(outcome, AgentTimedOut)
    assert outcome.after == 1.0
    assert "starts" not in kind.can or is_over(assignment.slot)


@kinds("starts")
async def test_cancelling_ends_what_it_started(cast: Casts, assignment: Assignment) -> None:
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, cast(Play(runs=HANGS)), assignment)
            while not (assignment.slot / "pid").exists() or not (assignment.slot / "pid").read_text():
                await trio.sleep(0.02)
            scope.cancel()

    assert is_over(assignment.slot)


@kinds("starts", real=False)
async def test_what_cannot_start_is_told(cast: Casts, assignment: Assignment) -> None:
    agent = cast(Play(), command=("/no/such/program",))

    outcome, _ = await run(agent, assignment)

    assert isinstance(outcome, AgentUnstartable)
    problem = agent.problem()
    assert problem is not None
    assert "/no/such/program" in problem


@kinds("starts", real=False)
async def test_whoever_is_there_has_no_problem(cast: Casts, assignment: Assignment) -> None:
    assert cast(Play()).problem() is None


@kinds("starts")
async def test_secrets_are_written_nowhere(cast: Casts, assignment: Assignment) -> None:
    play = Play(runs="echo it is $API_KEY", says=f"{SECRET} is it", returns={"key": SECRET})

    outcome, lines = await run(cast(play, env={"API_KEY": SECRET}), assignment)

    assert isinstance(outcome, Finished), outcome
    assert outcome.output == {"key": "[API_KEY]"}
    assert SECRET not in outcome.text_tail + "".join(lines)
    kept = [path for path in assignment.folder.iterdir() if path.name != "prompt.md"]
    assert kept
    assert [path.name for path in kept if SECRET in path.read_text()] == []


@kinds("schemas")
async def test_an_object_by_a_schema_arrives(cast: Casts, assignment: Assignment) -> None:
    outcome = await finished(cast(Play(returns={"n": 3})), replace(assignment, schema=SCHEMA))

    assert outcome.output == {"n": 3}


@kinds("schemas")
async def test_who_owes_an_object_and_gives_none_has_failed(cast: Casts, assignment: Assignment) -> None:
    outcome, _ = await run(cast(Play(says="it is 3")), replace(assignment, schema=SCHEMA))

    assert isinstance(outcome, AgentFailed), outcome


@kinds("talks")
async def test_costs_are_told_as_they_grow_and_in_the_end(cast: Casts, assignment: Assignment) -> None:
    told: list[Mapping[str, Json]] = []

    outcome = await finished(cast(Play(runs="true")), replace(assignment, meter=told.append))

    usage = outcome.usage
    assert usage["tokens"] == number(usage["input_tokens"]) + number(usage["output_tokens"]) > 0
    assert usage["session_id"]
    assert usage["model"]
    assert told
    assert 0 < number(told[0]["tokens"]) <= number(told[-1]["tokens"]) <= number(usage["tokens"])


@kinds("talks", always=("claude-latest",))
async def test_a_conversation_goes_on_and_costs_what_was_added(cast: Casts, assignment: Assignment) -> None:
    agent = cast(Play(says="first"), then=Play(writes={"mended.txt": "yes"}, says="mended"))
    first = await finished(agent, assignment)
    session = str(first.usage["session_id"])
    again = replace(
        assignment, attempt=2, session=session, followup=FOLLOWUP, folder=assignment.folder.parent / "2"
    )

    second = await finished(agent, again)

    assert second.text_tail == "mended"
    assert (assignment.slot / "mended.txt").read_text() == "yes"
    assert (again.folder / "prompt.md").read_text() == FOLLOWUP
    assert second.usage["session_id"] == session
    # Two answers where the first had one, of as many tokens each.
    for name in ("tokens", "usd"):
        if name in first.usage:
            assert number(second.usage[name]) == pytest.approx(2 * number(first.usage[name]))


@kinds("limited", always=("claude-latest",))
async def test_a_server_without_room_is_no_failure(cast: Casts, assignment: Assignment) -> None:
    # It is told, and not waited for in a slot.
    with trio.fail_after(25):
        outcome, _ = await run(cast(Play(limited=30)), assignment)

    assert isinstance(outcome, AgentLimited), outcome
    assert outcome.after == pytest.approx(30, abs=8)
    assert outcome.usage["session_id"]


@kinds("budgeted")
async def test_money_that_is_spent_ends_it(cast: Casts, assignment: Assignment) -> None:
    outcome, _ = await run(cast(Play(runs="true")), replace(assignment, usd=0.0001))

    assert isinstance(outcome, AgentSpent), outcome
    assert number(outcome.usage["usd"]) > 0


@kinds("meters", real=False)
async def test_tokens_that_are_spent_end_it(cast: Casts, assignment: Assignment) -> None:
    outcome, _ = await run(cast(Play(runs=HANGS)), replace(assignment, tokens=50))

    assert isinstance(outcome, AgentSpent), outcome
    assert number(outcome.usage["tokens"]) >= 50


@kinds("profiles", always=("claude-latest",))
async def test_a_reviewer_cannot_write(cast: Casts, assignment: Assignment) -> None:
    play = Play(writes={"made.txt": "made"}, runs="echo made > also.txt", returns={"n": 1})

    outcome = await finished(cast(play), replace(assignment, profile="verification", schema=SCHEMA))

    assert outcome.output == {"n": 1}
    assert list(assignment.slot.iterdir()) == []


def number(value: Any) -> float:
    assert isinstance(value, int | float)
    return value
