"""A session with the real Claude Code, in two versions, and a model that plays: killed, and gone on with."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from stratum_git.fakes.loopback import Limits
from stratum_git.fakes.messages_api import serve
from tests.support.kinds import QUIET, _installed
from tests.support.programs import wait_until_gone
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell, wait_for
from tests.support.stdio import Caller

pytestmark = pytest.mark.soak


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}}


def script(home: Path) -> dict[str, Any]:
    half = bash(f"echo half > half.txt && touch {home}/at")
    return {
        "lanes": [
            {"match": {"last_prompt": "You verify work"}, "turns": [VERDICT, "done"]},
            {"match": {"last_prompt": "was cut off"}, "turns": [bash("cat half.txt > whole.txt"), "went on"]},
            {"match": {"last_prompt": "SLOW"}, "turns": [half, {"hang": True}]},
            {"turns": [bash("echo one > one.txt"), "the first line\nand the second"]},
        ]
    }


FINE = {"verdict": "pass", "reasons": ["there is one.txt"], "restrictions": [], "criteria": []}
VERDICT = {"tool": "StructuredOutput", "input": FINE}


def settled(server: Caller, flow: str) -> None:
    while server.call("stratum_parallel_wait", flow_id=flow, seconds=10)["status"] != "settled":
        pass


@pytest.mark.parametrize("folder", ["cc_latest", "cc"])
def test_a_conversation_goes_on_where_a_kill_cut_it(
    folder: str, scratch: ScratchRepo, tmp_path: Path
) -> None:
    program = _installed(folder, "@anthropic-ai/claude-code-linux-x64/claude", "claude")
    home = tmp_path / "user"
    home.mkdir()
    shell = Shell(home, scratch)
    words = shell.file("claude", f'#!/bin/sh\necho "$PWD $*" >> {home}/started\nexec {program} "$@"\n')
    words.chmod(0o755)
    scratch.commit(
        "agents", {".stratum/config.yaml": f"agents: {{default: {{kind: claude, command: ['{words}']}}}}\n"}
    )
    with serve(script(home), limits=Limits(watch=os.getpid())) as api:
        env = {**shell.environment, **dict.fromkeys(QUIET, "1"), "ANTHROPIC_BASE_URL": api.url}
        env |= {"ANTHROPIC_API_KEY": "sk-ant-fake-000", "HTTPS_PROXY": api.url, "HTTP_PROXY": api.url}
        env |= {"NO_PROXY": "127.0.0.1,localhost", "TMPDIR": str(tmp_path), "IS_SANDBOX": "1"}
        server = Caller(scratch.path, env)
        flow = server.call("stratum_agent_run", prompt="make one.txt")["session_id"]
        settled(server, flow)
        server.call("stratum_agent_continue", session_id=flow, message="SLOW please")
        wait_for(home / "at")
        runner = next(pid for pid in runners() if flow in pid[1])[0]
        for pid in (server.process.pid, runner):
            os.kill(pid, signal.SIGKILL)
        server.process.communicate()
        wait_until_gone(runner)
        with Caller(scratch.path, env) as server:
            server.call("stratum_parallel_start", flow_id=flow)
            settled(server, flow)
            told = server.call("stratum_agent_sessions", session_id=flow)
            review = server.call("stratum_agent_verify", session_id=flow, commands=["test -f one.txt"])[
                "review_id"
            ]
            settled(server, review)
            verdict = server.call("stratum_agent_sessions", session_id=review)
        assert api.refused == []
    assert [(turn["status"], turn["text"]) for turn in told["turns"]] == [
        ("done", "the first line\nand the second"), ("done", "went on"),
    ]  # fmt: skip
    runs = [line.split() for line in (home / "started").read_text().splitlines()]
    first = runs[0][runs[0].index("--session-id") + 1]
    assert [run[run.index("--resume") + 1] for run in runs[1:3]] == [first, first]
    assert {run[0] for run in runs[:3]} == {told["path"]}
    assert scratch.show(f"{told['branch']}:whole.txt") == "half"
    assert (verdict["report"]["verdict"], verdict["stale"]) == ("pass", False), verdict
    assert "--permission-mode dontAsk --tools Read,Grep,Glob" in " ".join(runs[3])


def runners() -> list[tuple[int, str]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "\0resume\0" in line:
            found.append((int(folder.name), line))
    return found
