"""Sessions and verifications over real standard input and output, and what is left of them by a kill."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stratum_git.app.refused import Refused
from stratum_git.app.sessions import check_limits
from stratum_git.fakes import claude as fake_claude
from tests.server.driven import Answer, dispatch, plan, reported, row, spec
from tests.server.test_kills import asked
from tests.support.contracts import conforms
from tests.support.mortal import Mortal, mortals
from tests.support.portal import Portal
from tests.support.programs import wait_until_gone
from tests.support.shell import Shell, wait_for

SLOW: dict[str, Any] = {
    "match": "SLOW",
    "steps": [{"bash": "echo half > half.txt; : > $HOME/at"}, {"sleep": 60}, {"text": "never"}],
}
AGAIN: dict[str, Any] = {"resumed": True, "steps": [{"bash": "date > more.txt"}, {"text": "went on"}]}
FIRST: dict[str, Any] = {"steps": [{"bash": "date > one.txt"}, {"text": "first line\nand the second"}]}
FINE = {"verdict": "pass", "reasons": ["I read it"], "restrictions": []}


class Cast:
    """A user with agents that are played by the fake client, who notes how it was started."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        settings = ["agents:"]
        for name in ("default", "reviewer"):
            words = f'#!/bin/sh\necho "$PWD $*" >> "$HOME/{name}.log"\n'
            words += f'exec {sys.executable} -P -m {fake_claude.__name__} "$@"\n'
            program = shell.file(f"claude-{name}", words)
            program.chmod(0o755)
            script = shell.home / f"{name}.json"
            settings.append(f"  {name}:\n    kind: claude\n    command: ['{program}']")
            settings.append(f"    env: {{{fake_claude.SCRIPT}: '{script}'}}")
        shell.repo.commit("settings", {".stratum/config.yaml": "\n".join(settings) + "\n"})

    def plays(self, *lanes: dict[str, Any], name: str = "default") -> None:
        (self.shell.home / f"{name}.json").write_text(json.dumps({"lanes": list(lanes)}))

    def reviews(self, *steps: dict[str, Any]) -> None:
        self.plays({"steps": list(steps)}, name="reviewer")

    def started(self, name: str = "default") -> list[tuple[str, str]]:
        """Returns where each run was, and the conversation that it began or went on with."""
        found = []
        for line in (self.shell.home / f"{name}.log").read_text().splitlines():
            words = line.split()
            option = "--resume" if "--resume" in words else "--session-id"
            found.append((words[0], f"{option[2:]} {words[words.index(option) + 1]}"))
        return found


@pytest.fixture(scope="module")
def cast(server: Portal) -> Cast:
    return Cast(server.shell)


def settled(server: Portal | Mortal, flow: str) -> Answer:
    while True:
        given: dict[str, Any] = {"flow_id": flow, "seconds": 10}
        tool = "stratum_parallel_wait"
        said = server.call(tool, **given) if isinstance(server, Portal) else asked(server, tool, **given)
        if said["status"] == "settled":
            return said


def runner_of(flow: str) -> int:
    """Returns the process that runs a flow."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"resume" in words and flow.encode() in words:
            return int(folder.name)
    raise AssertionError(f"nobody runs {flow}")


def test_a_conversation_outlives_its_server_and_its_runner(shell: Shell, tmp_path: Path) -> None:
    cast = Cast(shell)
    cast.plays(SLOW, AGAIN, FIRST)
    with mortals(shell, tmp_path) as servers:
        server = next(servers)
        began = asked(server, "stratum_agent_run", prompt="do one", base="HEAD", verify=["test -f one.txt"])
        flow = began["session_id"]
        assert (began["status"], began["session_status"], began["turn"]) == ("started", "running", 1)
        assert [call["tool"] for call in began["next"]] == ["stratum_parallel_wait", "stratum_agent_sessions"]
        assert settled(server, flow)["flow_status"] == "complete"
        asked(server, "stratum_agent_continue", session_id=flow, message="SLOW please")
        wait_for(shell.home / "at")
        runner = runner_of(flow)
        server.kill()
        os.kill(runner, signal.SIGKILL)
        wait_until_gone(runner)

        server = next(servers)
        refused = asked(server, "stratum_agent_continue", session_id=flow, message="go on")
        assert (refused["error_type"], refused["next"][0]["tool"]) == (
            "session_interrupted", "stratum_parallel_start",
        )  # fmt: skip
        cast.plays(AGAIN)
        asked(server, tool="stratum_parallel_start", flow_id=flow)
        assert settled(server, flow)["flow_status"] == "complete"
        told = asked(server, "stratum_agent_sessions", session_id=flow)
        server.kill()
    first, second = told["turns"]
    assert first["text"] == "first line\nand the second"
    assert (second["status"], second["text"]) == ("done", "went on")
    (place, begun), *later = cast.started()
    conversation = begun.removeprefix("session-id ")
    assert later == [(place, f"resume {conversation}")] * 2, "the same conversation in the same place"
    assert (told["conversation"], told["path"]) == (conversation, place)
    shown = shell.repo.git("log", "--format=%s", told["branch"]).splitlines()
    assert shown[:2] == ["SLOW please", "do one"]
    assert shell.repo.show(f"{told['branch']}:half.txt") == "half"
    assert shell.repo.git("status", "--porcelain") == ""
    conforms(shell.run("query", "session", flow).json(), "query-session.v1")
    conforms(shell.run("query", "sessions").json(), "query-sessions.v1")
    assert shell.run("query", "gates").json() == []


def test_of_several_who_continue_at_once_one_does(server: Portal, cast: Cast) -> None:
    cast.plays(AGAIN, FIRST)
    flow = server.call("stratum_agent_run", prompt="do one")["session_id"]
    settled(server, flow)

    def go_on(number: int) -> Answer:
        return server.call("stratum_agent_continue", session_id=flow, message=f"number {number}")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(go_on, range(4)))
    kinds = [str(answer.get("error_type", answer["status"])) for answer in answers]
    assert kinds.count("continued") == 1
    assert {*kinds} <= {"continued", "session_busy", "session_interrupted"}
    settled(server, flow)
    assert server.call("stratum_agent_sessions", session_id=flow)["turn"] == 2
    assert server.call("stratum_agent_close", session_id=flow)["session_status"] == "closed"
    refused = server.call("stratum_agent_continue", session_id=flow, message="more")
    assert refused["error_type"] == "session_closed"


def test_a_verdict_is_bound_to_the_commit_that_was_looked_at(server: Portal, cast: Cast) -> None:
    cast.plays(AGAIN, FIRST)
    flow = server.call("stratum_agent_run", prompt="make one.txt")["session_id"]
    settled(server, flow)
    cast.reviews({"object": FINE})
    began = server.call(
        "stratum_agent_verify", session_id=flow, commands=["test -f one.txt"], criteria="there is one.txt"
    )
    settled(server, began["review_id"])
    told = server.call("stratum_agent_sessions", session_id=began["review_id"])
    assert (told["report"]["verdict"], told["reviewer"], told["stale"]) == ("pass", "reviewer", False)
    conforms(told, "review.v1")
    history = server.repo.git("log", "--format=%s", f"refs/stratum/flows/{flow}")
    assert f"The verification {began['review_id']} says pass" in history
    server.call("stratum_agent_continue", session_id=flow, message="one more thing")
    settled(server, flow)
    (verdict,) = server.call("stratum_agent_sessions", session_id=flow)["verdicts"]
    assert (verdict["verdict"], verdict["stale"], verdict["commands"][0]["exit_code"]) == ("pass", True, 0)
    assert server.repo.git("for-each-ref", f"refs/heads/stratum/{began['review_id']}") == ""


def test_a_reviewer_that_writes_fails_closed_and_the_work_is_untouched(server: Portal, cast: Cast) -> None:
    cast.reviews({"raw": "VERDICT: pass"}, {"object": FINE})
    sneaky = server.shell.file("sneaky", f"#!/bin/sh\necho x > a.txt; echo '{json.dumps(FINE)}'\n")
    sneaky.chmod(0o755)
    began = server.call("stratum_agent_verify", commits="HEAD", agent="sneaky", agents=[f"sneaky={sneaky}"])
    settled(server, began["review_id"])
    report = server.call("stratum_agent_sessions", session_id=began["review_id"])["report"]
    assert report["verdict"] == "fail_closed"
    assert "file a.txt" in report["reasons"]
    kept = f"refs/stratum/attempts/{began['review_id']}/work/-step/1"
    assert server.repo.show(f"{kept}:a.txt") == "x"


def test_a_task_is_verified_by_commands_alone(server: Portal, cast: Cast) -> None:
    said = plan(server, spec(dispatch()).replace('"0.3"', '"0.4"'), {"tasks": [{"id": "a"}]})
    (place,) = said["batch"]
    (Path(place["path"]) / "new.txt").write_text("x\n")
    reported(server, said["flow_id"], row("a"))
    began = server.call(
        "stratum_agent_verify", flow_id=said["flow_id"], task_id="a", agent="nobody",
        commands=["test -f new.txt", "echo broken; exit 255"],
    )  # fmt: skip
    settled(server, began["review_id"])
    report = server.call("stratum_agent_sessions", session_id=began["review_id"])["report"]
    assert (report["verdict"], report["reasons"]) == (
        "fail_closed",
        ["`echo broken; exit 255` exited with 255"],
    )
    assert [run["tail"].strip() for run in report["commands"]] == ["", "broken"]
    found: Any = server.shell.run("query", "flow", said["flow_id"], "--long").json()
    conforms(found, "query-flow-long.v1")
    assert [one["verdict"] for one in found["verdicts"]] == ["fail_closed"]


@pytest.mark.parametrize(
    ("tool", "given", "kind"),
    [
        ("stratum_agent_run", {"prompt": " "}, "empty_message"),
        ("stratum_agent_run", {"prompt": "x", "agent": "nope"}, "agent_not_found"),
        ("stratum_agent_run", {"prompt": "x", "agents": ["default=/no/such/program"]}, "agent_not_found"),
        ("stratum_agent_run", {"prompt": "x", "timeout": 0}, "invalid_limit"),
        ("stratum_agent_run", {"prompt": "x", "schema": {"type": "nonsense"}}, "invalid_schema"),
        ("stratum_agent_run", {"prompt": "x", "base": "nope"}, None),
        ("stratum_agent_run", {"prompt": "x" * 1_000_001}, "message_too_long"),
        ("stratum_agent_continue", {"session_id": "nope", "message": "x"}, "session_not_found"),
        ("stratum_agent_continue", {"session_id": "../../x", "message": "x"}, "session_not_found"),
        ("stratum_agent_close", {"session_id": "nope"}, "session_not_found"),
        ("stratum_agent_sessions", {"session_id": "nope"}, "session_not_found"),
        ("stratum_agent_verify", {}, "invalid_target"),
        ("stratum_agent_verify", {"commits": "HEAD..HEAD"}, "nothing_to_verify"),
        ("stratum_agent_verify", {"commits": "HEAD", "agent": "nobody"}, "nothing_to_verify"),
        ("stratum_agent_verify", {"commits": "HEAD", "agent": "nope"}, "agent_not_found"),
        ("stratum_agent_verify", {"commits": "HEAD", "timeout": -1}, "invalid_limit"),
        ("stratum_agent_verify", {"flow_id": "nope", "task_id": "a"}, "flow_not_found"),
    ],
)
def test_what_cannot_be_is_refused_and_says_what_to_do(
    server: Portal, cast: Cast, tool: str, given: dict[str, Any], kind: str | None
) -> None:
    before = server.repo.git("for-each-ref")
    said = server.call(tool, **given)
    assert said["status"] == "error"
    assert kind is None or said["error_type"] == kind
    assert said["message"]
    assert said["next"]
    assert not [one for one in said["next"] if "None" in one["args"].values()]
    assert server.repo.git("for-each-ref") == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_what_is_no_number_of_more_than_nothing_is_no_limit(value: float) -> None:
    for limits in ((value, None), (None, value)):
        with pytest.raises(Refused, match="has to be a number of more than 0"):
            check_limits(*limits)


def test_a_flow_that_is_no_session_is_not_gone_on_with(server: Portal, cast: Cast) -> None:
    flow = plan(server, spec("intent: x"))["flow_id"]
    for tool, more in (
        ("stratum_agent_continue", {"message": "x"}),
        ("stratum_agent_close", {}),
        ("stratum_agent_sessions", {}),
    ):
        assert server.call(tool, session_id=flow, **more)["error_type"] == "not_a_session"
