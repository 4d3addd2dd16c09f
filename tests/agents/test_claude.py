"""Claude Code as an agent, with the fake that ships: how it is started, what each of its ends comes to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from stratum_git.agents.base import (
    AgentFailed,
    AgentLimited,
    AgentSpec,
    AgentSpent,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.claude import ClaudeAgent
from stratum_git.fakes import claude as fake
from stratum_git.fakes.playing import Refused
from stratum_git.model.ids import Json, Oid
from stratum_git.spawn.client import serving

FAKE = (sys.executable, "-P", "-m", fake.__name__)
SCHEMA: Json = {"type": "object", "required": ["n"]}
DENIED: Json = [{"tool_name": "WebFetch", "tool_use_id": "x", "tool_input": {}}]


@pytest.fixture(autouse=True)
def _tethers() -> Iterator[None]:
    with serving():
        yield


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    (tmp_path / "slot").mkdir()
    (tmp_path / "home").mkdir()
    return Assignment(
        flow="f-1", step="build", task="api", attempt=1, base=Oid("b" * 40), branch=None,
        intent="Do the work.\n", slot=tmp_path / "slot", folder=tmp_path / "attempts" / "1", timeout=30.0,
    )  # fmt: skip


def claude(
    place: Path, *lanes: Mapping[str, Any], env: Mapping[str, str] | None = None, **more: Any
) -> ClaudeAgent:
    """Returns an agent that plays the lanes; *env* is the caller's, besides."""
    script = place / "script.json"
    script.write_text(json.dumps({"lanes": lanes}))
    environment = {"PATH": os.environ["PATH"], "HOME": str(place / "home"), fake.SCRIPT: str(script)}
    spec = AgentSpec("writer", FAKE, kind="claude")
    return ClaudeAgent(replace(spec, **more), {**environment, **(env or {})})


def plays(*steps: Mapping[str, Any], **lane: Any) -> dict[str, Any]:
    return {**lane, "steps": list(steps)}


async def run(agent: ClaudeAgent, assignment: Assignment) -> Outcome:
    with trio.fail_after(30):
        return await agent.run(assignment, lambda _: None)


def events(assignment: Assignment) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (assignment.folder / "stream.jsonl").read_text().splitlines()]


def story(assignment: Assignment) -> str:
    return (assignment.folder / "output.log").read_text()


def ends(subtype: str, code: int = 0, **fields: Json) -> dict[str, Json]:
    return {"ends": subtype, "code": code, **fields}


@pytest.mark.parametrize(
    ("steps", "kind", "said"),
    [
        ([{"text": "done"}], Finished, ""),
        ([ends("success", terminal_reason="completed", permission_denials=DENIED)], AgentFailed, "WebFetch"),
        ([ends("success", 1, is_error=True, api_error_status=400)], AgentFailed, "success"),
        ([{"error": 400}], AgentFailed, "rejected (400)"),
        ([{"error": 403}], AgentUnstartable, "rejected (403)"),
        ([ends("success", 1, is_error=True, api_error_status=529)], AgentLimited, ""),
        ([ends("error_max_turns", 1, is_error=True, num_turns=3)], AgentFailed, "not done after 3 turns"),
        ([ends("error_max_budget_usd", 1, is_error=True)], AgentSpent, "spent"),
        ([ends("error_max_structured_output_retries", 1, is_error=True)], AgentFailed, "max_structured"),
        # What an interruption leaves: exit code 0 all the same, and perhaps nothing else.
        ([ends("error_during_execution", is_error=True)], AgentFailed, "error_during_execution"),
        ([{"exit": 0}], AgentFailed, "ended without a result"),
        ([ends("success", 0, result=None, terminal_reason="hook_stopped")], AgentFailed, "hook_stopped"),
        ([{"text": "x"}, {"exit": 143}], AgentFailed, "exited with 143"),
        ([{"exit": 1, "stderr": "Error: no such\n"}], AgentFailed, "exited with 1: Error: no such"),
        ([ends("success", 2, result="fine", terminal_reason="completed")], AgentFailed, "fine"),
    ],
)  # fmt: skip
async def test_what_each_of_its_ends_comes_to(
    tmp_path: Path, assignment: Assignment, steps: list[dict[str, Any]], kind: type, said: str
) -> None:
    outcome = await run(claude(tmp_path, plays(*steps)), assignment)

    assert isinstance(outcome, kind), outcome
    assert said in getattr(outcome, "reason", "")


async def test_noise_and_unknown_events_are_no_harm(tmp_path: Path, assignment: Assignment) -> None:
    noise = 'not JSON\n{"type": "news", "x": [1]}\n[1]\n{"type": \n\x00\xff\n' + "x" * 300_000 + "\n"

    outcome = await run(claude(tmp_path, plays({"raw": noise}, {"text": "done"})), assignment)

    assert isinstance(outcome, Finished)
    assert "not JSON\n" in (assignment.folder / "output.log").read_text()


async def test_the_log_tells_what_it_did(tmp_path: Path, assignment: Assignment) -> None:
    steps = [{"text": "I look.\nThen I write."}, {"bash": "exit 3"}, {"write": "/no/where", "text": ""}]

    await run(claude(tmp_path, plays(*steps, {"text": "done"})), assignment)

    begun, *story, ended = (assignment.folder / "output.log").read_text().splitlines()
    assert begun.startswith("[conversation ")
    assert story == [
        "I look.", "Then I write.", "> Bash exit 3", "! Bash:", "> Write /no/where",
        "! Write: Permission to use Write has been denied.", "done",
    ]  # fmt: skip
    assert ended == "[done; 4 turns, and it counts 0.0032 USD]"


async def test_it_is_started_with_what_its_settings_say(tmp_path: Path, assignment: Assignment) -> None:
    servers = tmp_path / "mcp.json"
    servers.write_text('{"mcpServers": {"docs": {"command": "true"}}}')
    seen = 'env | grep -o "^CLAUDE[A-Z_]*=.*" | sort'
    agent = claude(
        tmp_path, plays({"bash": f"({seen}) > env"}), model="opus", mcp_config=str(servers),
        env={"CLAUDECODE": "of the caller", "CLAUDE_CODE_SSE_PORT": "1", "CLAUDE_CONFIG_DIR": str(tmp_path)},
    )  # fmt: skip

    outcome = await run(agent, replace(assignment, model="haiku"))

    assert isinstance(outcome, Finished), outcome
    begun = events(assignment)[0]
    assert (begun["model"], begun["permissionMode"]) == ("haiku", "acceptEdits")
    assert [server["name"] for server in begun["mcp_servers"]] == ["docs"]
    assert "EnterWorktree" not in begun["tools"]
    given = dict(line.split("=", 1) for line in (assignment.slot / "env").read_text().splitlines())
    assert given == {
        "CLAUDECODE": "1", "CLAUDE_CODE_MAX_RETRIES": "6", "CLAUDE_CODE_SESSION_ID": begun["session_id"],
        "CLAUDE_CONFIG_DIR": str(tmp_path),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, "--permission-mode acceptEdits --allowedTools Bash"),
        ({"tools": ("Bash(git log:*)", "Edit")}, "--tools Bash,Edit --allowedTools Bash(git log:*)"),
        ({"profile": "verification"}, "--permission-mode dontAsk --tools Read,Grep,Glob"),
        ({"profile": "verification", "tools": ("Read", "Bash", "Write")}, "--tools Read,Bash"),
        ({"profile": "verification"}, "--disallowedTools Edit Write NotebookEdit"),
        ({"turns": 7, "usd": 2.0}, "--max-budget-usd 1.500000 --max-turns 7"),
    ],
)
def test_its_options_follow_from_settings_and_profile(
    tmp_path: Path, assignment: Assignment, settings: Mapping[str, Any], wanted: str
) -> None:
    agent = claude(tmp_path, **settings)

    given = " ".join(agent.options(replace(assignment, usd=1.5)))

    assert wanted in given
    assert "--strict-mcp-config" in given
    assert '{"disableAllHooks": true}' in given
    assert "Do the work" not in given


def test_a_reviewer_is_given_servers_only_for_tools_that_are_named(
    tmp_path: Path, assignment: Assignment
) -> None:
    servers = tmp_path / "mcp.json"
    servers.write_text('{"mcpServers": {"docs": {"command": "true"}}}')
    agent = claude(tmp_path, mcp_config=str(servers), profile="verification")
    named = replace(agent, spec=replace(agent.spec, tools=("mcp__docs__find",)))

    assert str(servers) not in agent.options(assignment)
    given = " ".join(named.options(assignment))
    assert f"--mcp-config {servers} --strict-mcp-config --allowedTools mcp__docs__find" in given
    assert "--tools Read,Grep,Glob" in given


async def test_a_conversation_that_is_gone_is_begun_anew(tmp_path: Path, assignment: Assignment) -> None:
    lines: list[str] = []
    agent = claude(tmp_path, plays({"text": "from the beginning"}, resumed=False))
    again = replace(assignment, session="9" * 8 + "-9999-4999-8999-" + "9" * 12, followup="The tests fail.")

    outcome = await agent.run(again, lines.append)

    assert isinstance(outcome, Finished), outcome
    assert outcome.usage["session_id"] != again.session
    assert (assignment.folder / "prompt.md").read_text() == "Do the work.\n"
    said = f"the conversation {again.session} is not there any more; a new one begins"
    assert said in lines
    assert f"[{said}]\n[conversation {outcome.usage['session_id']}" in story(assignment)


async def test_the_story_goes_on_where_an_earlier_call_ended(tmp_path: Path, assignment: Assignment) -> None:
    """Who was told to wait, or to go on, is the same attempt."""
    agent = claude(tmp_path, plays({"text": "second"}, resumed=True), plays({"text": "first"}))
    first = await run(agent, assignment)
    assert isinstance(first, Finished)

    await run(agent, replace(assignment, session=str(first.usage["session_id"]), followup="Go on."))

    words = [line for line in story(assignment).splitlines() if not line.startswith("[")]
    assert words == ["first", "second"]
    assert [row["type"] for row in events(assignment)].count("result") == 2


@pytest.mark.parametrize("version", ["2.1.328", "2.1.197"])
async def test_each_attempt_has_its_own_costs(tmp_path: Path, assignment: Assignment, version: str) -> None:
    lanes = (
        plays({"text": "more", "usage": [3000, 50]}, resumed=True),
        plays({"text": "first", "usage": [1000, 100]}),
    )
    agent = claude(tmp_path, *lanes, env={fake.VERSION: version})
    usage = []
    given = assignment
    for number in (1, 2, 3):
        given = replace(given, attempt=number, folder=assignment.folder.parent / str(number))
        outcome = await run(agent, given)
        assert isinstance(outcome, Finished), outcome
        usage.append(outcome.usage)
        given = replace(given, session=str(outcome.usage["session_id"]), followup="more")

    assert [round(float(str(one["usd"])), 9) for one in usage] == [0.006, 0.013, 0.013]
    assert [(one["tokens"], one["input_tokens"], one["output_tokens"], one["turns"]) for one in usage] == [
        (1100, 1000, 100, 1), (3050, 3000, 50, 1), (3050, 3000, 50, 1),
    ]  # fmt: skip


async def test_what_subagents_cost_and_do_counts_too(tmp_path: Path, assignment: Assignment) -> None:
    """It ends once more for each that comes back, and each end tells of itself alone."""
    half = {"usage": {"input_tokens": 50, "output_tokens": 5}, "num_turns": 1, "is_error": False}
    total = {"total_cost_usd": 0.25, "modelUsage": {"a": {"inputTokens": 900, "outputTokens": 90}}}
    ends_twice = "".join(
        json.dumps({"type": "result", "subtype": "success", "result": said, **half, **total, **more}) + "\n"
        for said, more in (("first", {"structured_output": {"n": 1}}), ("second", {}))
    )
    agent = claude(tmp_path, plays({"raw": ends_twice}, {"exit": 0}))

    outcome = await run(agent, replace(assignment, schema=SCHEMA))

    assert isinstance(outcome, Finished), outcome
    assert (outcome.output, outcome.text_tail) == ({"n": 1}, "second")
    assert outcome.usage["usd"] == 0.25
    assert (outcome.usage["tokens"], outcome.usage["turns"]) == (990, 2)


async def test_an_answer_in_its_last_words_is_its_result(tmp_path: Path, assignment: Assignment) -> None:
    agent = claude(tmp_path, plays({"text": 'So it is:\n```json\n{"n": 2}\n```'}))

    outcome = await run(agent, assignment)

    assert isinstance(outcome, Finished)
    assert outcome.output == {"n": 2}


async def test_who_was_denied_one_way_and_found_another_is_done(
    tmp_path: Path, assignment: Assignment
) -> None:
    steps = ({"write": "/elsewhere", "text": ""}, {"write": "here", "text": "x"}, {"text": "done"})

    assert isinstance(await run(claude(tmp_path, plays(*steps)), assignment), Finished)


async def test_a_short_wait_is_its_own_and_a_long_one_is_told(tmp_path: Path, assignment: Assignment) -> None:
    """A limit that was over when it asked again is none, whatever else went wrong then."""
    retry = {"type": "system", "subtype": "api_retry", "error_status": 429, "retry_delay_ms": 10}
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 4102444800}}
    failed = ends("success", 1, is_error=True)
    quick = claude(tmp_path, plays({"raw": json.dumps(retry) + "\n"}, {"text": "on"}, failed))
    over = await run(quick, assignment)
    full = claude(tmp_path, plays({"raw": json.dumps(limit) + "\n"}, {"error": 429, "retry_after": 90}))
    told = await run(full, assignment)

    assert isinstance(over, AgentFailed), over
    assert isinstance(told, AgentLimited), told
    assert told.after is not None
    assert told.after > 3600


async def test_who_has_nothing_left_is_not_started(tmp_path: Path, assignment: Assignment) -> None:
    outcome = await run(claude(tmp_path, plays({"text": "done"})), replace(assignment, usd=0.0))

    assert isinstance(outcome, AgentSpent)
    assert not assignment.folder.exists()


async def test_who_is_ended_has_told_what_it_cost(tmp_path: Path, assignment: Assignment) -> None:
    agent = claude(tmp_path, plays({"text": "I think."}, {"sleep": 60}))

    outcome = await run(agent, replace(assignment, timeout=1.0))

    assert isinstance(outcome, AgentTimedOut)
    assert outcome.usage["tokens"] == 120
    assert outcome.usage["session_id"]


def test_the_fake_refuses_what_the_real_one_does_not_know() -> None:
    with pytest.raises(Refused, match="unknown option '--colour'"):
        fake.options(["-p", "--output-format", "stream-json", "--verbose", "--colour"])
    with pytest.raises(Refused):
        fake.options(["-p", "--permission-mode", "whatever"])
