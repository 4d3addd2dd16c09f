"""The command agent and its fake, held to the same tests."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from stratum_git.agents.answers import Answer, BadAnswer, find_answer
from stratum_git.agents.base import (
    Agent,
    AgentFailed,
    AgentSpec,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.command import CommandAgent
from stratum_git.agents.identity import ProcessIdentity, identity_of, is_alive, own_identity
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.model.ids import Json, Oid

Make = Callable[[Script], Agent]


def command(script: str) -> CommandAgent:
    spec = AgentSpec("tester", ("sh", "-c", script))
    return CommandAgent(spec, {"PATH": os.environ["PATH"], "GIT_DIR": "/nowhere"})


def as_command(script: Script) -> Agent:
    """Returns a real agent that does what the script says."""
    if script.unstartable is not None:
        return CommandAgent(AgentSpec("tester", ("/no/such/agent",)), {})
    lines = [f"echo {shlex.quote(script.says)}"] if script.says else []
    lines.append(f"sleep {script.seconds}")
    for path, data in script.files.items():
        lines.append(f"rm {path}" if data is None else f"printf %s {shlex.quote(data.decode())} > {path}")
    if script.output is not None:
        lines.append(f"printf %s {shlex.quote(json.dumps(script.output))} > $STRATUM_RESULT_FILE")
    if script.fails is not None:
        lines.append("exit 3")
    return command("; ".join(lines))


def as_scripted(script: Script) -> Agent:
    return ScriptedAgent("tester", lambda _: script)


@pytest.fixture(params=[as_command, as_scripted], ids=["command", "scripted"])
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    slot = tmp_path / "slot"
    slot.mkdir()
    return Assignment(
        flow="f-1",
        step="build",
        task="api",
        attempt=2,
        base=Oid("b" * 40),
        branch=None,
        intent="Do it.\n",
        slot=slot,
        folder=tmp_path / "folder",
        timeout=30.0,
    )


async def run(agent: Agent, assignment: Assignment) -> tuple[Outcome, list[str]]:
    lines: list[str] = []
    with trio.fail_after(10):
        return await agent.run(assignment, lines.append), lines


async def test_work_output_and_words_arrive(make: Make, assignment: Assignment) -> None:
    script = Script(files={"made.txt": b"made"}, output={"n": 1}, says="on it")

    outcome, lines = await run(make(script), assignment)

    assert isinstance(outcome, Finished)
    assert (outcome.output, outcome.text_tail) == ({"n": 1}, "on it")
    assert (assignment.slot / "made.txt").read_bytes() == b"made"
    assert lines == ["on it"]


async def test_failure_is_told(make: Make, assignment: Assignment) -> None:
    outcome, _ = await run(make(Script(fails="no idea")), assignment)

    assert isinstance(outcome, AgentFailed)


async def test_the_deadline_is_kept(make: Make, assignment: Assignment) -> None:
    outcome, _ = await run(make(Script(seconds=60)), replace(assignment, timeout=0.3))

    assert outcome == AgentTimedOut(0.3)


async def test_what_cannot_start_is_told(make: Make, assignment: Assignment) -> None:
    outcome, _ = await run(make(Script(unstartable="missing")), assignment)

    assert isinstance(outcome, AgentUnstartable)


async def test_cancelling_ends_it(make: Make, assignment: Assignment) -> None:
    with trio.fail_after(5), trio.move_on_after(0.2) as scope:
        await make(Script(seconds=60)).run(assignment, lambda _: None)

    assert scope.cancelled_caught


async def test_a_command_is_told_everything_about_its_attempt(assignment: Assignment) -> None:
    names = ["FLOW", "STEP", "TASK", "ATTEMPT", "BASE"]
    script = "; ".join(f"echo {n}=$STRATUM_{n}" for n in names) + '; cat; echo "git=$GIT_DIR"; pwd'

    await run(command(script), assignment)

    said = (assignment.folder / "output.log").read_text().splitlines()
    base = "b" * 40
    assert said == [
        "FLOW=f-1", "STEP=build", "TASK=api", "ATTEMPT=2", f"BASE={base}", "Do it.", "git=",
        str(assignment.slot),
    ]  # fmt: skip
    assert (assignment.folder / "prompt.md").read_text() == "Do it.\n"


@pytest.mark.parametrize(
    ("printed", "wanted"),
    [
        ('words\n{"a": 1}\n', {"a": 1}),
        ('{"a": 1}\n{"b": 2}\ntrailing words', {"b": 2}),
        ('```json\n{\n  "a": {\n    "b": [1]\n  }\n}\n```\n', {"a": {"b": [1]}}),
        ("text with {braces} only", None),
        ("[1, 2]", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
def test_the_last_object_on_standard_output_is_the_result(tmp_path: Path, printed: str, wanted: Json) -> None:
    assert find_answer(tmp_path / "none", printed.encode()) == Answer(wanted)


@pytest.mark.parametrize("printed", ['{"a": NaN}', '{"a": 1, "a": 2}', '{"a": "\\ud800"}', '{"a": 1e999}'])
def test_what_others_may_read_otherwise_is_no_result(tmp_path: Path, printed: str) -> None:
    assert isinstance(find_answer(tmp_path / "none", printed.encode()), BadAnswer)


@pytest.mark.parametrize("content", ["[1]", "nonsense", '{"a": NaN}', '"text"'])
def test_a_result_file_holds_an_object_or_the_attempt_failed(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)

    assert isinstance(find_answer(tmp_path / "r.json", b"{}"), BadAnswer)


def test_the_result_file_comes_before_standard_output(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"from": "file"}')

    assert find_answer(tmp_path / "r.json", b'{"from": "stdout"}') == Answer({"from": "file"})


def test_a_link_is_no_result_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "r.json").symlink_to(tmp_path / "secret")

    assert isinstance(find_answer(tmp_path / "r.json", b""), BadAnswer)


def test_a_missing_program_is_noticed_before_anything_starts() -> None:
    agent = CommandAgent(AgentSpec("ghost", ("no-such-program-anywhere",)), {"PATH": "/bin"})

    assert (
        agent.problem()
        == "the agent ghost wants to run no-such-program-anywhere, and there is no such program"
    )
    assert command("true").problem() is None


def test_a_process_is_not_taken_for_its_successor() -> None:
    me = own_identity()

    assert is_alive(me)
    assert not is_alive(ProcessIdentity(me.pid, me.start_time + 1, me.boot_id, me.host))
    assert not is_alive(ProcessIdentity(me.pid, me.start_time, "another boot", me.host))
    assert identity_of(2**22 + 1) is None


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_in_place_of_the_result_is_a_bad_answer(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "result.json")

    said = find_answer(tmp_path / "result.json", b'{"a": 1}')

    assert said == BadAnswer("the result file is not a regular file")
