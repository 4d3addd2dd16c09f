"""What is opencode's own: settings and rules, how its runs end; and its fake beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
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
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.opencode import OpencodeAgent, without_comments
from stratum_git.errors import HostError
from stratum_git.fakes import opencode as fake
from stratum_git.model.ids import Json, Oid
from stratum_git.spawn.client import serving
from tests.support.kinds import FOLLOWUP, Play, _environment
from tests.support.other_kinds import MODELS, OTHERS, REAL_OTHERS

FAKE = (sys.executable, "-P", "-m", fake.__name__)
STEP = {"type": "step_finish", "sessionID": "ses_x", "part": {"reason": "length", "tokens": {"input": 7}}}


@pytest.fixture(autouse=True)
def _tethers() -> Iterator[None]:
    """As in a run. Other ways to hold a program are the business of ``test_supervise``."""
    with serving():
        yield


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    (tmp_path / "slot").mkdir()
    return Assignment(
        flow="f-1", step="build", task="api", attempt=1, base=Oid("b" * 40), branch=None,
        intent="Do the work.\n", slot=tmp_path / "slot", folder=tmp_path / "attempts" / "1", timeout=60.0,
    )  # fmt: skip


@pytest.fixture
def plays(tmp_path: Path) -> Callable[..., OpencodeAgent]:
    """Gives an agent that is the fake, playing these steps."""

    def make(*steps: Json, env: Mapping[str, str] | None = None, **settings: Any) -> OpencodeAgent:
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"lanes": [{"steps": list(steps)}]}))
        environment = _environment(tmp_path, **{fake.SCRIPT: str(script)}, **(env or {}))
        spec = AgentSpec("tester", FAKE, kind="opencode", model=MODELS["opencode"], **settings)
        return OpencodeAgent(spec, environment)

    return make


async def run(agent: OpencodeAgent, assignment: Assignment) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    with trio.fail_after(60):
        return await agent.run(assignment, lines.append), lines


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_who_has_no_room_is_no_failure(
    plays: Callable[..., OpencodeAgent], assignment: Assignment, status: int
) -> None:
    outcome, _ = await run(plays({"error": status, "retry_after": 7}), assignment)

    assert isinstance(outcome, AgentLimited), outcome
    assert outcome.after == 7
    assert outcome.usage["session_id"]


async def test_a_key_that_is_not_taken_is_a_failure(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    outcome, _ = await run(plays({"error": 401, "message": "invalid x-api-key"}), assignment)

    assert isinstance(outcome, AgentFailed)
    assert outcome.reason == "tester: invalid x-api-key"


async def test_an_answer_that_was_cut_off_is_no_success(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    outcome, _ = await run(plays({"raw": json.dumps(STEP) + "\n"}), assignment)

    assert isinstance(outcome, AgentFailed)
    assert outcome.reason == "tester: the model stopped because of length"
    assert outcome.usage["tokens"] == 7


async def test_to_end_well_and_say_nothing_is_no_success(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    outcome, _ = await run(plays({"exit": 0}), assignment)

    assert isinstance(outcome, AgentFailed)
    assert outcome.reason == "tester ended without saying that it was done"


async def test_what_is_spent_ends_it(plays: Callable[..., OpencodeAgent], assignment: Assignment) -> None:
    agent = plays({"text": "at it"}, {"sleep": 60}, {"text": "done"})

    for limit in ({"tokens": 100}, {"usd": 0.0001}):
        outcome, _ = await run(agent, replace(assignment, **limit))
        assert isinstance(outcome, AgentSpent), outcome
        assert outcome.usage["tokens"] == 120


async def test_a_conversation_that_is_gone_begins_anew(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    gone = replace(assignment, session="ses_gone", followup=FOLLOWUP)

    outcome, lines = await run(plays({"text": "done"}), gone)

    assert isinstance(outcome, Finished)
    assert outcome.usage["session_id"] != "ses_gone"
    assert any("a new one begins" in line for line in lines)
    assert (assignment.folder / "prompt.md").read_text() == assignment.intent


async def test_a_conversation_of_another_directory_begins_anew_in_this_one(
    plays: Callable[..., OpencodeAgent], assignment: Assignment, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    agent = plays({"write": "made.txt", "text": "x"}, {"text": "done"})
    first, _ = await run(agent, assignment)
    assert isinstance(first, Finished)
    (assignment.slot / "made.txt").unlink()
    session = str(first.usage["session_id"])
    again = replace(
        assignment,
        slot=tmp_path / "other",
        session=session,
        followup=FOLLOWUP,
        folder=assignment.folder.with_name("2"),
    )

    second, _ = await run(agent, again)

    assert isinstance(second, Finished)
    assert second.usage["session_id"] != session
    assert list(assignment.slot.iterdir()) == []
    assert [path.name for path in again.slot.iterdir()] == ["made.txt"]


async def test_what_it_may_not_do_is_in_the_log(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    outside = str(assignment.slot.parent / "outside.txt")
    agent = plays({"write": outside, "text": "x"}, {"write": "inside.txt", "text": "x"}, {"text": "done"})

    await run(agent, assignment)

    assert not Path(outside).exists()
    assert (assignment.slot / "inside.txt").exists()
    assert "a rule which prevents you" in (assignment.folder / "output.log").read_text()


async def test_what_this_machine_cannot_do_is_told_alone(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    (assignment.folder / "output.log").mkdir(parents=True)

    with pytest.raises(HostError, match="log"):
        await run(plays({"text": "done"}), assignment)


async def test_an_outer_client_leaves_no_trace(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    outer = {"OPENCODE_CLIENT": "desktop", "CLAUDECODE": "1"}

    await run(plays({"bash": "env > seen"}, {"text": "done"}, env=outer), assignment)

    seen = (assignment.slot / "seen").read_text()
    assert "OPENCODE_CLIENT" not in seen
    assert "CLAUDECODE" not in seen
    assert "OPENCODE_DISABLE_AUTOUPDATE=1" in seen


def test_servers_of_the_user_are_off_and_the_rest_of_the_settings_is_kept(
    plays: Callable[..., OpencodeAgent], assignment: Assignment, tmp_path: Path
) -> None:
    servers = {"docs": {"command": "serve", "args": ["a"], "env": {"K": "v"}}, "web": {"url": "https://x/"}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    given = {"theme": "dark", "mcp": {"inline": {}}, "agent": {"mine": {"mode": "primary"}}}
    env = {"OPENCODE_CONFIG_CONTENT": json.dumps(given)}
    agent = plays(mcp_config=str(tmp_path / "mcp.json"), env=env)
    home = tmp_path / "home/.config/opencode"
    home.mkdir(parents=True)
    (home / "opencode.jsonc").write_text('{\n  // mine: "x"\n  "mcp": {"users": {"url": "http://x"},},\n}')
    (assignment.slot / "opencode.json").write_text('{"mcp": {"projects": {}}}')

    content: Any = agent._content(assignment)

    assert content["theme"] == "dark"
    assert content["mcp"] == {
        "inline": {"enabled": False},
        "users": {"enabled": False},
        "projects": {"enabled": False},
        "docs": {"type": "local", "command": ["serve", "a"], "environment": {"K": "v"}, "enabled": True},
        "web": {"type": "remote", "url": "https://x/", "headers": {}, "enabled": True},
    }
    assert set(content["agent"]) == {"mine", "stratum-general"}


def test_of_its_tools_only_those_that_are_named(
    plays: Callable[..., OpencodeAgent], assignment: Assignment
) -> None:
    content: Any = plays(tools=("read", "bash"))._content(replace(assignment, profile="verification"))

    rules = content["agent"]["stratum-verification"]["permission"]
    assert (rules["*"], rules["read"]) == ("deny", "allow")
    assert rules["bash"]["git log *"] == "allow"
    assert rules["bash"]["*"] == "deny"
    assert "edit" not in rules


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": "// no comment", /* b */ "c": [1, 2,], }', {"a": "// no comment", "c": [1, 2]}),
        ('{"a": ",]" // x\n}', {"a": ",]"}),
        ('{"a": "\\"// still"}', {"a": '"// still'}),
    ],
)
def test_comments_and_last_commas_go(text: str, value: Json) -> None:
    assert json.loads(without_comments(text)) == value


@pytest.mark.parametrize("words", [("run", "--format", "json", "--nonsense"), ("serve",), ("run",)])
def test_the_fake_refuses_what_it_does_not_know(words: tuple[str, ...]) -> None:
    done = subprocess.run([*FAKE, *words], input="x", capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")


def shape(line: Mapping[str, Any]) -> Any:
    """Returns of an event what stays the same whenever it happens."""
    part = line["part"]
    state = part.get("state", {})
    return line["type"], part["type"], part.get("tool"), part.get("reason"), state.get("status"), sorted(line)


@pytest.mark.soak
async def test_the_fake_tells_what_the_real_one_tells(tmp_path: Path) -> None:
    told = []
    play = Play(writes={"made.txt": "x"}, says="all is done")
    for kind in (next(k for k in OTHERS if k.name == "opencode"), REAL_OTHERS[1]):
        place = tmp_path / kind.name
        (place / "slot").mkdir(parents=True)
        assignment = Assignment(
            "f", "s", "t", 1, Oid("b" * 40), None, "Do it.", place / "slot", place / "1", 60.0
        )
        with kind.stage(place) as cast, trio.fail_after(60):
            await cast(play).run(assignment, lambda _: None)
        told.append([shape(json.loads(line)) for line in (place / "1/stream.jsonl").read_text().splitlines()])

    assert told[0] == told[1]
