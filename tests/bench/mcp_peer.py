"""stratum-mcp 0.2.114's own parallel executor as one of those who are measured.

It hands tasks to an agent that it starts by itself (here a program called ``codex`` that does what our agent
does, and says what the real one would), gives each a worktree, and answers with what changed there as diffs.
It lands nothing: a client has to. The one here commits each diff, in turn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

from tests.bench.peer import Answer, Peer

VARIABLE = "BENCH_PEERS"
"""Names the folder in which what is measured beside us is installed."""
NAME = "stratum-mcp-0.2.114"
# It does not start with what its own requirements allow.
PACKAGES = ("stratum-mcp==0.2.114", "stratum-py==0.2.114", "mcp<2")
PATIENCE = 300.0

CODEX = """\
#!/bin/sh
STRATUM_TASK=$(cat | grep -o 'task-[A-Za-z0-9]*' | head -n 1 | cut -c 6-)
export STRATUM_TASK
"$BENCH_AGENT" || exit 1
echo '{"type":"item.completed","item":{"type":"agent_message","text":"done"}}'
echo '{"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}'
"""
SPEC = """\
version: "0.3"
contracts:
  R: {ok: {type: boolean}}
flows:
  main:
    input: {tasks: {type: array}}
    output: R
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        agent: codex
        isolation: worktree
        capture_diff: true
        max_concurrent: 8
        require: all
        merge: sequential_apply
        intent_template: "do task-{id}"
"""


def install(folder: Path) -> str:
    """Installs it below *folder* where it is not there yet; returns why that could not be done, if so."""
    place = folder / NAME
    if (place / "done").exists():
        return ""
    venv.create(place, with_pip=True, clear=True)
    words = [str(place / "bin/pip"), "install", "-q", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        return f"{NAME} cannot be installed: {done.stderr.strip()[-300:]}"
    (place / "done").touch()
    return ""


def found() -> tuple[str | None, str]:
    """Returns the program, or why there is none."""
    folder = os.environ.get(VARIABLE, "")
    program = Path(folder) / NAME / "bin/stratum-mcp"
    if folder and program.exists():
        return str(program), ""
    return None, f"{NAME} is not installed; scripts/bench does that where there is a network"


def main(program: str, repo: str, *tasks: str) -> None:
    """Has the tasks done, and their diffs committed in *repo*; the environment is as for our own agent."""
    top = Path(repo).parent
    (top / "bin").mkdir(exist_ok=True)
    (top / "bin/codex").write_text(CODEX)
    (top / "bin/codex").chmod(0o755)
    path = f"{top / 'bin'}:{os.environ['PATH']}"
    world = os.environ | {"PATH": path, "BENCH_AGENT": str(top / "agent")}
    with Peer((program,), Path(repo), world) as peer:
        rows = [{"id": task, "description": "change files"} for task in tasks]
        flow = peer.call("stratum_plan", spec=SPEC, flow="main", inputs={"tasks": rows})["flow_id"]
        began = peer.call("stratum_parallel_start", flow_id=flow, step_id="build")
        if began.get("status") != "started":
            raise SystemExit(f"it did not start: {began}")
        done = _waited(peer, flow)
    for task in tasks:
        _commit(repo, task, str(done["tasks"][task]["diff"]))


def _waited(peer: Peer, flow: str) -> Answer:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        told = peer.call("stratum_parallel_poll", flow_id=flow, step_id="build")
        if told["summary"]["failed"]:
            raise SystemExit(f"tasks failed: {json.dumps(told)[:2000]}")
        # It says that a task is complete before it has its diff.
        if all(row["state"] == "complete" and row["diff"] for row in told["tasks"].values()):
            return told
        time.sleep(0.02)
    raise SystemExit(f"it was not done after {PATIENCE:g} s")


def _commit(repo: str, task: str, diff: str) -> None:
    subprocess.run(["git", "apply", "--index", "-"], cwd=repo, input=diff.encode(), check=True)
    subprocess.run(["git", "commit", "-q", "-m", task], cwd=repo, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
