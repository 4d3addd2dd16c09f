"""What is the API kind's own: its tools, its key, its conversation, and how it comes to an end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from stratum_git.agents.api import TOOLS as KNOWN
from stratum_git.agents.api import ApiAgent
from stratum_git.agents.base import (
    AgentFailed,
    AgentLimited,
    AgentSpec,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.slot_tools import TOOLS
from stratum_git.fakes import messages_api
from stratum_git.fakes.loopback import Limits, Loopback
from stratum_git.model.ids import Json, Oid
from stratum_git.spawn.client import serving
from tests.support.kinds import FOLLOWUP, _environment
from tests.support.other_kinds import HAIKU, KEY

SCHEMA: Json = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ROOT = Path(__file__).parents[2]


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
        intent="Do the work.\n", slot=tmp_path / "slot", folder=tmp_path / "attempts/f/s/t/1", timeout=60.0,
    )  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """An agent, and the API that it speaks to."""

    agent: ApiAgent
    api: Loopback

    def told(self, request: int) -> list[dict[str, Any]]:
        """The answers of tools that the model got with a request."""
        messages = self.api.asked[request].body["messages"]
        blocks = messages[-1]["content"]
        return [block for block in blocks if block["type"] == "tool_result"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Gives an agent whose model says these turns."""
    with ExitStack() as stack:

        def make(*turns: Any, end: Any = "over", env: dict[str, str] | None = None, **settings: Any) -> Stage:
            script = {"lanes": [{"turns": list(turns), "mode": "total", "end": end}]}
            api = stack.enter_context(messages_api.serve(script, limits=Limits(watch=os.getpid())))
            environment = _environment(
                tmp_path, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=api.url, **(env or {})
            )
            spec = AgentSpec("tester", (), kind="api", **{"model": HAIKU, **settings})
            return Stage(ApiAgent(spec, environment), api)

        yield make


def use(name: str, **given: Json) -> dict[str, Json]:
    return {"type": "tool_use", "name": name, "input": given}


async def run(agent: ApiAgent, assignment: Assignment) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    with trio.fail_after(30):
        return await agent.run(assignment, lines.append), lines


async def test_it_looks_changes_and_runs(stage: Callable[..., Stage], assignment: Assignment) -> None:
    (assignment.slot / "a.txt").write_text("one\ntwo\nthree\n")
    (assignment.slot / "src").mkdir()
    (assignment.slot / "src/b.py").write_text("def two():\n    pass\n")
    turn = [
        use("read_file", path="a.txt", first=2, lines=1),
        use("list_files"),
        use("list_files", pattern="*.py"),
        use("search", pattern="t[wx]o", files="*.py"),
        use("write_file", path="new/c.txt", content="c\n"),
        use("edit_file", path="a.txt", old="two", new="2"),
        use("edit_file", path="a.txt", old="e", new="E"),
        use("run", command="cat a.txt; echo oops >&2; exit 3"),
        use("run", command="sleep 60", seconds=0.1),
        use("read_file", path="nowhere"),
        use("read_file"),
        use("dig", path="x"),
    ]
    staged = stage(turn, "done")

    outcome, _ = await run(staged.agent, assignment)

    assert isinstance(outcome, Finished), outcome
    assert [(row["content"], row.get("is_error", False)) for row in staged.told(1)] == [
        ("two\n[lines 2 to 2 of 3; go on with first=3]", False),
        ("a.txt\nsrc/", False),
        ("src/b.py", False),
        ("src/b.py:1: def two():", False),
        ("new/c.txt has 1 lines now", False),
        ("a.txt: 1 replaced", False),
        ("edit_file: a.txt has that piece 3 times: say more of what is around it, or all", True),
        ("one\n2\nthree\noops\n[exit code 3]", True),
        ("\n[ended after 0.1 s]", True),
        ("read_file: there is no nowhere", True),
        ("read_file: path is missing", True),
        (f"there is no tool dig; there are: {', '.join(TOOLS)}", True),
    ]
    assert (assignment.slot / "a.txt").read_text() == "one\n2\nthree\n"


async def test_answers_have_a_bounded_size(stage: Callable[..., Stage], assignment: Assignment) -> None:
    (assignment.slot / "long.txt").write_text("x" * 1_000_000)
    (assignment.slot / "many.txt").write_text("line\n" * 20_000)
    turn = [
        use("read_file", path="long.txt"),
        use("read_file", path="many.txt"),
        use("search", pattern="n"),
        use("run", command="seq 100000"),
    ]
    staged = stage(turn, "done")

    await run(staged.agent, assignment)

    sizes = [len(row["content"]) for row in staged.told(1)]
    assert max(sizes) < 100_000
    assert "go on with first=2001" in staged.told(1)[1]["content"]
    assert staged.told(1)[3]["content"].endswith("99999\n100000")


async def test_a_pattern_without_end_is_ended(stage: Callable[..., Stage], assignment: Assignment) -> None:
    (assignment.slot / "a.txt").write_text("a" * 5000 + "b")
    staged = stage([use("search", pattern="(a|aa)+$")], "done")

    await run(staged.agent, assignment)

    assert "takes too long" in staged.told(1)[0]["content"]


async def test_the_key_is_for_the_server_alone(stage: Callable[..., Stage], assignment: Assignment) -> None:
    staged = stage([use("run", command=f"env; echo {KEY}"), f"it is {KEY}"], end=f"it is {KEY}")

    outcome, lines = await run(staged.agent, assignment)

    assert isinstance(outcome, Finished)
    assert outcome.text_tail == "it is [ANTHROPIC_API_KEY]"
    answer = staged.told(1)[0]["content"]
    assert "ANTHROPIC_API_KEY=" not in answer
    assert answer.endswith("[ANTHROPIC_API_KEY]")
    kept = [path for path in assignment.folder.iterdir() if KEY in path.read_text()]
    assert kept == []
    assert KEY not in "".join(lines)


async def test_who_only_looks_has_nothing_else(stage: Callable[..., Stage], assignment: Assignment) -> None:
    turn = [use("write_file", path="a", content="x"), use("run", command="touch b"), use("edit_file")]
    staged = stage(turn, "done")

    await run(staged.agent, replace(assignment, profile="verification"))

    assert list(assignment.slot.iterdir()) == []
    offered = [tool["name"] for tool in staged.api.asked[0].body["tools"]]
    assert offered == ["read_file", "list_files", "search"]


async def test_what_it_hands_in_has_to_fit(stage: Callable[..., Stage], assignment: Assignment) -> None:
    staged = stage([use("submit", n="three")], "it is three", [use("submit", n=3)])

    outcome, _ = await run(staged.agent, replace(assignment, schema=SCHEMA))

    assert isinstance(outcome, Finished), outcome
    assert outcome.output == {"n": 3}
    assert staged.told(1)[0]["is_error"] is True
    assert "n" in staged.told(1)[0]["content"]
    assert "You have not called submit" in str(staged.api.asked[2].body["messages"][-1])


async def test_a_schema_that_is_no_object_at_the_top_is_wrapped(
    stage: Callable[..., Stage], assignment: Assignment
) -> None:
    staged = stage([use("submit", result={"n": 1})])

    outcome, _ = await run(staged.agent, replace(assignment, schema={"anyOf": [SCHEMA, {"type": "object"}]}))

    assert isinstance(outcome, Finished), outcome
    assert outcome.output == {"n": 1}


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"text": "no", "stop_reason": "refusal"}, "the model refuses to do this"),
        (
            {"text": "", "stop_reason": "model_context_window_exceeded"},
            "the model stopped because of model_context_window_exceeded",
        ),
        ({"error": {"status": 500, "message": "oops"}}, "the API answers 500: oops"),
        (
            {"error": {"status": 400, "message": "prompt is too long"}},
            "the API refuses it: prompt is too long",
        ),
        ({"text": "half of it", "cut_after": 2}, ""),
    ],
)
async def test_how_it_fails_is_told(
    stage: Callable[..., Stage], assignment: Assignment, turn: Any, said: str
) -> None:
    outcome, _ = await run(stage(turn).agent, assignment)

    assert isinstance(outcome, AgentFailed), outcome
    assert said in outcome.reason
    # Whoever went on with what the API does not take would fail again.
    assert ("session_id" in outcome.usage) == ("refuses it" not in outcome.reason)


async def test_a_server_that_cannot_be_reached_is_a_failure(
    stage: Callable[..., Stage], assignment: Assignment
) -> None:
    agent = stage("x").agent
    gone = replace(agent, environment={**agent.environment, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"})

    outcome, _ = await run(gone, assignment)

    assert isinstance(outcome, AgentFailed)
    assert "cannot be reached" in outcome.reason


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_no_attempt_would_mend_is_told_as_that(
    stage: Callable[..., Stage], assignment: Assignment, status: int
) -> None:
    outcome, _ = await run(stage({"error": {"status": status}}).agent, assignment)

    assert isinstance(outcome, AgentUnstartable)


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_who_has_no_room_is_asked_once(
    stage: Callable[..., Stage], assignment: Assignment, status: int
) -> None:
    staged = stage({"error": {"status": status, "headers": {"retry-after": "7"}}, "times": 9})

    outcome, _ = await run(staged.agent, assignment)

    assert isinstance(outcome, AgentLimited), outcome
    assert outcome.after == 7
    assert len(staged.api.asked) == 1


async def test_an_answer_that_was_cut_off_goes_on(
    stage: Callable[..., Stage], assignment: Assignment
) -> None:
    cut = {"content": [use("write_file", path="a.txt", content="half")], "stop_reason": "max_tokens"}
    staged = stage({"text": "I beg", "stop_reason": "max_tokens"}, cut, "done")

    outcome, _ = await run(staged.agent, assignment)

    assert isinstance(outcome, Finished), outcome
    assert not (assignment.slot / "a.txt").exists()
    assert staged.told(2)[0]["is_error"] is True


async def test_it_is_not_done_after_so_many_turns(
    stage: Callable[..., Stage], assignment: Assignment
) -> None:
    staged = stage(end=[use("list_files")], turns=3)

    outcome, _ = await run(staged.agent, assignment)

    assert isinstance(outcome, AgentFailed)
    assert outcome.reason == "tester: it was not done after 3 turns"
    assert outcome.usage["turns"] == 3


async def test_cancelling_ends_a_command(stage: Callable[..., Stage], assignment: Assignment) -> None:
    agent = stage([use("run", command="echo $$ > pid; exec tail -f /dev/null")]).agent
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent, assignment)
        with trio.fail_after(10):
            while not (assignment.slot / "pid").exists() or not (assignment.slot / "pid").read_text():
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()

    with pytest.raises(ProcessLookupError):
        os.kill(int((assignment.slot / "pid").read_text()), 0)


async def test_after_an_end_in_the_middle_of_a_command_the_conversation_goes_on(
    stage: Callable[..., Stage], assignment: Assignment
) -> None:
    """What is there then is what a kill leaves: nothing is written at an end that was not before."""
    staged = stage([use("run", command="touch begun; sleep 300")], "all is done")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, staged.agent, assignment)
        with trio.fail_after(20):
            while not (assignment.slot / "begun").exists():
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    kept = next(assignment.folder.glob("conversation-*.jsonl"))
    with kept.open("ab") as file:
        file.write(b'{"role": "assistant", "content": [{"type": "te')
    session = kept.stem.removeprefix("conversation-")
    again = replace(assignment, session=session, followup=FOLLOWUP, folder=assignment.folder.with_name("2"))

    outcome, _ = await run(staged.agent, again)

    assert isinstance(outcome, Finished), outcome
    assert outcome.text_tail == "all is done"
    assert outcome.usage["session_id"] == session
    messages = staged.api.asked[-1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    result, followup = messages[-1]["content"]
    assert (result["type"], result["is_error"], followup["text"]) == ("tool_result", True, FOLLOWUP)
    assert result["tool_use_id"] == messages[1]["content"][0]["id"]


async def test_only_ids_of_its_own_are_looked_for(
    stage: Callable[..., Stage], assignment: Assignment
) -> None:
    (assignment.folder.parent / "0").mkdir(parents=True)
    for session in ("*", "../../x", "api-" + "0" * 24):
        outcome, lines = await run(stage("done").agent, replace(assignment, session=session))
        assert isinstance(outcome, Finished)
        assert "a new one begins" in lines[0]


@pytest.mark.parametrize(
    ("env", "settings", "said"),
    [
        ({"ANTHROPIC_API_KEY": " "}, {}, "ANTHROPIC_API_KEY is not set"),
        ({"ANTHROPIC_API_KEY": "abc"}, {}, "too short"),
        ({}, {"model": None}, "nobody says which"),
        ({}, {"tools": ("Bash",)}, "no tool Bash"),
        ({}, {"model": "mystery-1", "usd": 1.0}, "the price of mystery-1 is not known"),
        ({}, {"mcp_config": "x.json"}, "no MCP servers"),
    ],
)
def test_what_is_missing_is_told_before(
    tmp_path: Path, env: dict[str, str], settings: dict[str, Any], said: str
) -> None:
    spec = AgentSpec("tester", (), kind="api", **{"model": HAIKU, **settings})

    assert said in str(ApiAgent(spec, _environment(tmp_path, **{"ANTHROPIC_API_KEY": KEY, **env})).problem())


def test_a_model_may_be_named_by_the_environment(tmp_path: Path) -> None:
    environment = _environment(tmp_path, ANTHROPIC_API_KEY=KEY, ANTHROPIC_MODEL=HAIKU)

    assert ApiAgent(AgentSpec("tester", (), kind="api"), environment).problem() is None


def test_the_tools_are_those_that_settings_may_name() -> None:
    assert set(TOOLS) == KNOWN


def test_nothing_of_the_library_is_loaded_before_it_is_needed() -> None:
    code = "import sys; import stratum_git.agents.kinds; print('anthropic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
