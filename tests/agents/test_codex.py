"""What is codex's own: settings and sandbox, its words for limits, what it notes; and its fake beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from stratum_git.agents.base import AgentFailed, AgentLimited, AgentSpec, Assignment, Finished, Outcome
from stratum_git.agents.codex import CodexAgent, is_strict, wait_of
from stratum_git.errors import HostError
from stratum_git.fakes import codex as fake
from stratum_git.model.ids import Json, Oid
from stratum_git.spawn.client import serving
from tests.support.kinds import FOLLOWUP, Play, _environment
from tests.support.other_kinds import OTHERS, REAL_OTHERS
from tests.support.repos import ScratchRepo

FAKE = (sys.executable, "-P", "-m", fake.__name__)
STRICT: Json = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
NOON = datetime(2026, 11, 21, 12, 0, 30)  # noqa: DTZ001 - codex tells the local time


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
def plays(tmp_path: Path) -> Callable[..., CodexAgent]:
    """Gives an agent that is the fake, playing these steps."""

    def make(*steps: Json, env: Mapping[str, str] | None = None, **settings: Any) -> CodexAgent:
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"lanes": [{"steps": list(steps)}]}))
        environment = _environment(tmp_path, **{fake.SCRIPT: str(script)}, **(env or {}))
        return CodexAgent(AgentSpec("tester", FAKE, kind="codex", **settings), environment)

    return make


async def run(agent: CodexAgent, assignment: Assignment) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    with trio.fail_after(60):
        return await agent.run(assignment, lines.append), lines


def words_of(agent: CodexAgent, assignment: Assignment) -> tuple[tuple[str, ...], Mapping[str, str]]:
    home = Path(agent.environment["HOME"]) / ".codex"
    call = agent._call(assignment, home)
    return call.words, call.env


@pytest.mark.parametrize(
    ("status", "message", "after"),
    [
        (429, "Please try again in 7.5s.", 7.5),
        (429, "too many", None),
        (503, "", None),
    ],
)
async def test_who_has_no_room_is_no_failure(
    plays: Callable[..., CodexAgent], assignment: Assignment, status: int, message: str, after: float | None
) -> None:
    outcome, _ = await run(plays({"error": status, "message": message}), assignment)

    assert isinstance(outcome, AgentLimited), outcome
    assert outcome.after == after
    assert outcome.usage["session_id"]


async def test_a_key_that_is_not_taken_is_a_failure(
    plays: Callable[..., CodexAgent], assignment: Assignment
) -> None:
    outcome, _ = await run(plays({"error": 401, "message": "Incorrect API key"}), assignment)

    assert isinstance(outcome, AgentFailed)
    assert outcome.reason == "tester: unexpected status 401 Unauthorized: Incorrect API key"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Please try again in 1.5s.", 1.5),
        ("Please try again in 120ms.", 0.12),
        ("Please try again in 2 m", 120),
        ("or try again at 1:30 PM.", 90 * 60 + 30),
        ("or try again at 11:59 AM.", 24 * 3600 - 30),
        ("or try again at Nov 23rd, 2026 12:00 PM.", 48 * 3600 + 30),
        ("or try again later.", None),
    ],
)
def test_its_words_for_people_say_how_long_to_wait(text: str, after: float | None) -> None:
    assert wait_of(text, NOON) == (None if after is None else pytest.approx(after))


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (STRICT, True),
        ({"type": "object", "properties": {"n": {}}, "required": ["n"]}, False),
        ({"type": "object", "properties": {"n": {}}, "additionalProperties": False}, False),
        ({"type": "array", "items": STRICT}, True),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"allOf": [STRICT]}, False),
    ],
)
def test_only_what_its_server_takes_is_given_as_a_schema(schema: Json, strict: bool) -> None:
    assert is_strict(schema) is strict


async def test_a_strict_schema_is_a_file_and_any_other_is_asked_for_in_words(
    plays: Callable[..., CodexAgent], assignment: Assignment
) -> None:
    loose: Json = {"type": "object", "title": "loose"}
    for schema in (STRICT, loose):
        outcome, _ = await run(plays({"object": {"n": 1}}), replace(assignment, schema=schema))
        assert isinstance(outcome, Finished)
        assert outcome.output == {"n": 1}
        is_file = (assignment.folder / "schema.json").exists()
        prompt = (assignment.folder / "prompt.md").read_text()
        assert (is_file, "JSON Schema" in prompt) == (schema is STRICT, schema is not STRICT)
        (assignment.folder / "schema.json").unlink(missing_ok=True)


async def test_a_conversation_that_is_gone_begins_anew(
    plays: Callable[..., CodexAgent], assignment: Assignment
) -> None:
    gone = replace(assignment, session="01a1ffb5-2bce-7e33-aa69-2e6c1d59ffff", followup=FOLLOWUP)

    outcome, lines = await run(plays({"text": "done"}), gone)

    assert isinstance(outcome, Finished)
    assert outcome.usage["session_id"] != gone.session
    assert any("is not there any more; a new one begins" in line for line in lines)
    assert "a new one begins]" in (assignment.folder / "output.log").read_text()
    assert (assignment.folder / "prompt.md").read_text() == assignment.intent


async def test_what_this_machine_cannot_do_is_told_alone(
    plays: Callable[..., CodexAgent], assignment: Assignment
) -> None:
    (assignment.folder / "output.log").mkdir(parents=True)

    with pytest.raises(HostError, match="log"):
        await run(plays({"text": "done"}), assignment)


async def test_an_outer_client_leaves_no_trace(
    plays: Callable[..., CodexAgent], assignment: Assignment
) -> None:
    outer = {"CODEX_SANDBOX": "seatbelt", "CLAUDECODE": "1", "CODEX_HOME": str(assignment.folder / "own")}
    agent = plays({"bash": "env > seen"}, {"text": "done"}, env=outer)

    await run(agent, assignment)

    seen = (assignment.slot / "seen").read_text()
    assert "CODEX_SANDBOX=" not in seen
    assert "CLAUDECODE" not in seen
    assert "CODEX_HOME=" in seen
    assert list((assignment.folder / "own").glob("sessions/*/*/*/*.jsonl"))


async def test_it_is_not_done_after_so_many_turns(
    plays: Callable[..., CodexAgent], assignment: Assignment
) -> None:
    outcome, _ = await run(plays({"text": "a"}, {"text": "b"}, {"sleep": 60}, turns=2), assignment)

    assert isinstance(outcome, AgentFailed)
    assert outcome.reason == "tester was not done after 2 turns"


def test_servers_of_the_user_are_off_and_its_own_have_no_secret_in_their_words(
    plays: Callable[..., CodexAgent], assignment: Assignment, tmp_path: Path
) -> None:
    servers = {
        "docs": {"command": "serve", "args": ["a b"], "env": {"TOKEN": "hush"}},
        "web": {"url": "https://x/", "headers": {"Authorization": "hush"}},
    }
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    agent = plays(mcp_config=str(tmp_path / "mcp.json"))
    (tmp_path / "home/.codex").mkdir()
    (tmp_path / "home/.codex/config.toml").write_text('[mcp_servers.mine]\ncommand = "x"\n')

    words, env = words_of(agent, assignment)

    assert "mcp_servers.mine.enabled=false" in words
    docs = 'mcp_servers.docs={command = "serve", args = ["a b"], env_vars = ["TOKEN"], enabled = true}'
    assert docs in words
    web = 'url = "https://x/", env_http_headers = {"Authorization" = "STRATUM_MCP_WEB_AUTHORIZATION"}'
    assert f"mcp_servers.web={{{web}, enabled = true}}" in words
    assert env == {"TOKEN": "hush", "STRATUM_MCP_WEB_AUTHORIZATION": "hush"}


def test_a_reviewer_gets_a_sandbox_without_places_to_write(
    plays: Callable[..., CodexAgent], assignment: Assignment
) -> None:
    words, _ = words_of(plays(), replace(assignment, profile="verification"))

    assert words[words.index("--sandbox") + 1] == "read-only"
    assert "--add-dir" not in words


@pytest.mark.parametrize(
    ("settings", "said"), [({"tools": ("Bash",)}, "no list of tools"), ({"usd": 1.0}, "costs in usd")]
)
def test_what_it_cannot_hold_to_is_told_before(
    plays: Callable[..., CodexAgent], settings: dict[str, Any], said: str
) -> None:
    assert said in str(plays(**settings).problem())


@pytest.mark.parametrize("words", [("exec", "--nonsense", "-"), ("exec", "-"), ("review", "--json", "-")])
def test_the_fake_refuses_what_it_does_not_know(words: tuple[str, ...]) -> None:
    done = subprocess.run([*FAKE, *words], input="x", capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")


def shape(line: Mapping[str, Any]) -> Any:
    """Returns of an event what stays the same whenever it happens."""
    item = line.get("item", {})
    if item.get("type") == "error":
        return None
    keys = tuple(sorted(set(line) | set(item)))
    return line["type"], item.get("type"), item.get("status"), item.get("command"), keys


async def test_the_fake_tells_what_the_real_one_tells(tmp_path: Path) -> None:
    told = []
    play = Play(runs="echo hi; exit 3", says="all is done")
    for kind in (next(k for k in OTHERS if k.name == "codex"), REAL_OTHERS[0]):
        place = tmp_path / kind.name
        (place / "slot").mkdir(parents=True)
        assignment = Assignment(
            "f", "s", "t", 1, Oid("b" * 40), None, "Do it.", place / "slot", place / "1", 60.0
        )
        with kind.stage(place) as cast, trio.fail_after(60):
            await cast(play).run(assignment, lambda _: None)
        lines = map(json.loads, (place / "1/stream.jsonl").read_text().splitlines())
        told.append([found for line in lines if (found := shape(line)) is not None])

    assert told[0] == told[1]


async def test_the_real_one_commits_in_a_worktree_and_ends_with_all_it_started(
    scratch: ScratchRepo, tmp_path: Path
) -> None:
    mark = f"stray-{os.getpid()}"
    commit = "git add m.txt && git -c user.name=n -c user.email=e commit -qm made"
    work = f"echo made > m.txt; {commit}; exec -a {mark} tail -f /dev/null"
    slot = tmp_path / "slot"
    scratch.git("worktree", "add", "-q", "--detach", str(slot))
    assignment = Assignment("f", "s", "t", 1, Oid("b" * 40), None, "Do it.", slot, tmp_path / "1", 60.0)
    with REAL_OTHERS[0].stage(tmp_path) as cast, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cast(Play(runs=work)).run, assignment, lambda _: None)
            while mark not in running():
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()

    assert mark not in running()
    log = scratch.git("-C", str(slot), "log", "-1", "--format=%s")
    assert log == "made", (tmp_path / "1/stream.jsonl").read_text()


def running() -> str:
    """Returns the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(line for line in found if line.startswith("stray-"))
