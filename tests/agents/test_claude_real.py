"""What was found out about the real client, and what its agent rests on: both versions, a model that plays.

``scripts/test --soak`` runs these: each starts a client that takes a second or two.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
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
from tests.support.kinds import FOLLOWUP, HANGS, REAL, Casts, Kind, Play

pytestmark = pytest.mark.soak
CLAUDES = [kind for kind in REAL if kind.name.startswith("claude")]


@pytest.fixture(autouse=True)
def _tethers() -> Iterator[None]:
    with serving():
        yield


@pytest.fixture(params=CLAUDES, ids=repr)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


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


async def run(agent: Agent, assignment: Assignment) -> Outcome:
    with trio.fail_after(60):
        return await agent.run(assignment, lambda _: None)


def began(assignment: Assignment) -> dict[str, Any]:
    lines = (assignment.folder / "stream.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return next(row for row in found if row.get("subtype") == "init")


def hooks(name: str, seen: Path) -> dict[str, Any]:
    command = {"type": "command", "command": f"touch {seen}/{name}"}
    return {"hooks": {event: [{"hooks": [command]}] for event in ("SessionStart", "PreToolUse", "Stop")}}


async def test_nobody_s_hooks_and_servers_are_started_and_settings_hold(
    cast: Casts, assignment: Assignment, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    for top, name in ((tmp_path / "home", "user"), (assignment.slot, "project")):
        (top / ".claude").mkdir(parents=True, exist_ok=True)
        settings = {**hooks(name, seen), "env": {f"FROM_{name.upper()}": "yes"}}
        (top / ".claude/settings.json").write_text(json.dumps(settings))
    server = {"command": "touch", "args": [str(seen / "server")]}
    (assignment.slot / ".mcp.json").write_text(json.dumps({"mcpServers": {"own": server}}))

    outcome = await run(cast(Play(runs="echo $FROM_USER $FROM_PROJECT > said")), assignment)

    assert isinstance(outcome, Finished), outcome
    assert list(seen.iterdir()) == []
    assert (assignment.slot / "said").read_text() == "yes yes\n"


async def test_its_own_servers_are_started(cast: Casts, assignment: Assignment, tmp_path: Path) -> None:
    server = {"command": "sh", "args": ["-c", f"touch {tmp_path}/started; cat > /dev/null"]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"my-docs": server}}))

    await run(cast(Play(), mcp_config=str(tmp_path / "mcp.json")), assignment)

    assert (tmp_path / "started").exists()
    assert [row["name"] for row in began(assignment)["mcp_servers"]] == ["my-docs"]


async def test_it_is_nobody_s_child(cast: Casts, assignment: Assignment) -> None:
    """What a calling client had set is gone; what is there it has set itself."""
    play = Play(runs='env | grep -E "^CLAUDE_CODE_(SESSION_ID|MAX_RETRIES|SSE_PORT)=" | sort > said')

    outcome = await run(cast(play, env={"LEVEL": "3"}), assignment)

    assert isinstance(outcome, Finished), outcome
    said = (assignment.slot / "said").read_text().split()
    assert said == ["CLAUDE_CODE_MAX_RETRIES=6", f"CLAUDE_CODE_SESSION_ID={outcome.usage['session_id']}"]


async def test_too_many_turns_are_a_failure(cast: Casts, assignment: Assignment) -> None:
    outcome = await run(cast(Play(runs="true"), turns=1), assignment)

    assert isinstance(outcome, AgentFailed), outcome
    assert "not done after" in outcome.reason


async def test_a_conversation_that_is_gone_is_begun_anew(cast: Casts, assignment: Assignment) -> None:
    for session in ("99999999-9999-4999-8999-999999999999", "no id at all"):
        again = replace(assignment, session=session, followup=FOLLOWUP)

        outcome = await run(cast(Play(says="anew"), then=Play(says="on")), again)

        assert isinstance(outcome, Finished), outcome
        assert outcome.text_tail == "anew"


async def test_what_is_written_elsewhere_is_denied(
    cast: Casts, assignment: Assignment, tmp_path: Path
) -> None:
    outcome = await run(cast(Play(writes={"../elsewhere": "x"})), assignment)

    assert isinstance(outcome, AgentFailed), outcome
    assert "not permitted to use Write" in outcome.reason
    assert not (tmp_path / "elsewhere").exists()


async def test_a_reviewer_with_a_shell_runs_what_only_reads(cast: Casts, assignment: Assignment) -> None:
    agent = cast(Play(runs="ls -a"), tools=("Read", "Bash", "Write"), profile="verification")

    assert isinstance(await run(agent, assignment), Finished)
    assert set(began(assignment)["tools"]) == {"Read", "Bash"}
    assert "! Bash" not in (assignment.folder / "output.log").read_text()

    await run(cast(Play(runs="touch made"), tools=("Read", "Bash"), profile="verification"), assignment)

    assert "! Bash" in (assignment.folder / "output.log").read_text()
    assert list(assignment.slot.iterdir()) == []


async def test_who_is_not_logged_in_need_not_try_again(cast: Casts, assignment: Assignment) -> None:
    outcome = await run(cast(Play(), env={"ANTHROPIC_API_KEY": ""}), assignment)

    assert isinstance(outcome, AgentUnstartable), outcome
    assert "/login" in outcome.reason


async def test_a_schema_that_is_none_is_a_failure(cast: Casts, assignment: Assignment) -> None:
    schema: Json = {"type": "nonsense"}

    outcome = await run(cast(Play(returns={"n": 1})), replace(assignment, schema=schema))

    assert isinstance(outcome, AgentFailed), outcome


async def test_who_is_ended_goes_on_afterwards_and_costs_are_counted_once(
    cast: Casts, assignment: Assignment
) -> None:
    agent = cast(Play(runs=HANGS), then=Play(says="on"))

    ended = await run(agent, replace(assignment, timeout=6.0))

    assert isinstance(ended, AgentTimedOut), ended
    # Its command is ended first, and one version then still asks the model what to make of that.
    assert ended.usage["tokens"] in {120, 240}
    again = replace(
        assignment,
        session=str(ended.usage["session_id"]),
        followup=FOLLOWUP,
        folder=assignment.folder.parent / "2",
    )
    outcome = await run(agent, again)
    assert isinstance(outcome, Finished), outcome
    assert (outcome.text_tail, outcome.usage["tokens"]) == ("on", 120)
    assert outcome.usage["session_id"] == ended.usage["session_id"]


async def test_tokens_that_are_spent_end_it(cast: Casts, assignment: Assignment) -> None:
    outcome = await run(cast(Play(runs=HANGS)), replace(assignment, tokens=110))

    assert isinstance(outcome, AgentSpent), outcome


async def test_who_was_limited_goes_on(cast: Casts, assignment: Assignment) -> None:
    agent = cast(Play(limited=30), then=Play(says="on"))

    limited = await run(agent, assignment)

    assert isinstance(limited, AgentLimited), limited
    session = str(limited.usage["session_id"])
    outcome = await run(agent, replace(assignment, session=session, followup=FOLLOWUP))
    assert isinstance(outcome, Finished), outcome
    assert (outcome.text_tail, outcome.usage["session_id"]) == ("on", session)


async def test_its_shell_finds_the_programs_that_it_was_given(
    cast: Casts, assignment: Assignment, tmp_path: Path
) -> None:
    """The fence is a program that comes first in PATH; a profile that puts others there changes nothing."""
    git = tmp_path / "fence/git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\n")
    git.chmod(0o755)
    for name in (".bashrc", ".profile", ".bash_profile"):
        (tmp_path / "home" / name).write_text("export PATH=/usr/bin:$PATH\n")
    path = f"{git.parent}:{os.environ['PATH']}"

    await run(cast(Play(runs="command -v git > said"), env={"PATH": path, "SHELL": "/bin/bash"}), assignment)

    assert (assignment.slot / "said").read_text() == f"{git}\n"
