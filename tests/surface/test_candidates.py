"""One task given to several agents: the choice, its reasons, and what the others made."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from stratum_git.model.ids import Json
from tests.support.contracts import conforms
from tests.support.programs import wait_until_gone
from tests.support.shell import SPEC, Shell, wait_for

CONTEST = (
    SPEC
    + """\
        max_concurrent: 4
        candidates: [{agent: tall}, {agent: small}, {agent: "no"}]
"""
)
DAEMON = "setsid sleep 300 >/dev/null 2>&1 & echo $! > $HOME/daemon-$STRATUM_TASK$STRATUM_CANDIDATE; "
TALL = DAEMON + "seq 50 > x.txt"
SMALL = "seq 5 > x.txt; git add x.txt; git commit -qm mine"
NO = 'echo "$STRATUM_TASK $STRATUM_CANDIDATE" > half.txt; exit 1'

CRASHING = """
import json, os, signal, sys
from functools import partial
from pathlib import Path
import trio
from stratum_git.app import running
from stratum_git.app.surroundings import Surroundings
from stratum_git.dispatch.notices import Recorded
from stratum_git.model.effects import Choose

def watch(notice):
    # It is recorded, and what follows from it has not begun.
    if isinstance(notice, Recorded) and any(isinstance(effect, Choose) for effect in notice.effects):
        os.kill(os.getpid(), signal.SIGKILL)

spec, tasks, agent = sys.argv[1:]
inputs = {"tasks": json.loads(tasks)}
request = running.RunRequest(Path(spec).read_text(), inputs=inputs, agents=(agent,))
around = Surroundings(Path.cwd(), dict(os.environ))
trio.run(partial(running.run, around, request, watch, running.Handle()))
"""


def pid(shell: Shell, name: str) -> int:
    wait_for(shell.home / name)
    return int((shell.home / name).read_text())


def rows(shell: Shell, flow: str) -> dict[str, dict[str, Any]]:
    """Returns the tasks of the flow, as ``query flow --long`` has them."""
    said = shell.run("query", "flow", flow, "--long")
    conforms(said.json(), "query-flow-long.v1")
    step = cast("dict[str, Any]", said.json())["steps"][0]
    return {row["task_id"]: row for row in step["tasks"]}


def test_three_agents_do_a_task_and_the_best_result_lands(shell: Shell, tmp_path: Path) -> None:
    agents = (shell.agent(TALL, "tall"), shell.agent(SMALL, "small"), shell.agent(NO, "no"))
    said = shell.run("run", shell.spec(CONTEST), shell.tasks({"id": "x"}), *agents)

    assert said.code == 0, said.err
    assert "build/x: chose candidate 2 of 3: it changes 5 lines, x@1 50" in said.err
    flow = shell.flow()
    assert shell.repo.show("HEAD:x.txt") == "1\n2\n3\n4\n5"
    wait_until_gone(pid(shell, "daemon-x1"))
    found = rows(shell, flow)
    assert [found["x"]["state"], found["x"]["chosen"]] == ["merged", "x@2"]
    assert found["x"]["candidates"] == ["x@1", "x@2", "x@3"]
    assert found["x@1"]["why"] == "x@2 was chosen: it changes 5 lines, this one 50"
    assert found["x@2"]["why"] == "it changes 5 lines, x@1 50"
    assert [found["x@3"]["state"], found["x@3"]["kind"]] == ["exhausted", "agent"]

    log = cast("list[dict[str, Any]]", shell.run("log", flow, "--json").json())
    conforms(cast("Json", log), "events.v1")
    (choice,) = [row for row in log if row["trailers"]["Stratum-Event"] == "Chosen"]
    assert choice["trailers"]["Stratum-Candidate"] == "2 of 3"
    assert "x@1: x@2 was chosen: it changes 5 lines, this one 50" in choice["body"]
    aggregate = cast("dict[str, Any]", shell.run("query", "flow", flow).json())["step_outputs"]["build"]
    assert [one["task_id"] for one in aggregate["tasks"]] == ["x"]
    assert aggregate["tasks"][0]["chosen"] == "x@2"

    assert shell.run("logs", flow, "x").code == 0
    assert "+5" in shell.run("diff", flow, "x").out
    # The others can be had back, when nothing but the flow is left of them, too.
    for ref in shell.repo.git(
        "for-each-ref", "--format=%(refname)", "refs/heads/stratum", "refs/stratum/attempts"
    ).split():
        shell.repo.git("update-ref", "-d", ref)
    shell.repo.git("gc", "-q", "--prune=now")
    for name, file, text in (("x@1", "x.txt", "50"), ("x@3", "half.txt", "x 3"), ("x", "x.txt", "5")):
        back = tmp_path / name
        done = shell.run("salvage", flow, name, "--into", str(back))
        assert done.code == 0, done.err
        assert (back / file).read_text().splitlines()[-1] == text


def test_the_losers_of_a_quorum_end_with_all_they_started_and_are_named_and_kept(
    shell: Shell, tmp_path: Path
) -> None:
    slow = 'echo "$STRATUM_TASK" > kept.txt; ' + DAEMON + "touch $HOME/at-$STRATUM_TASK; sleep 300"
    waits = "while [ ! -e $HOME/at-a -o ! -e $HOME/at-b ]; do sleep 0.05; done; echo w > won.txt"
    agents = (shell.agent(slow), shell.agent(waits, "quick"))
    spec = shell.spec(SPEC + "        max_concurrent: 3\n        require: any\n")
    tasks: list[Json] = [
        {"id": "a"},
        {"id": "b", "candidates": 1},
        {"id": "c", "agent": "quick"},
        {"id": "late"},
    ]

    said = shell.run("run", spec, shell.tasks(*tasks), *agents)

    assert said.code == 0, said.err
    flow = shell.flow()
    for name in ("a", "b"):
        wait_until_gone(pid(shell, f"daemon-{name}"))
    found = rows(shell, flow)
    assert {name: row["state"] for name, row in found.items()} == {
        "a": "stopped", "b": "stopped", "c": "merged", "late": "stopped",
    }  # fmt: skip
    assert {row["why"] for row in found.values() if row["state"] == "stopped"} == {"enough results are in"}
    output = cast("dict[str, Any]", shell.run("query", "flow", flow).json())["step_outputs"]["build"]
    lost = [(row["task_id"], row["reason"], row["commit"] is not None) for row in output["failed"]]
    why = "enough results are in"
    assert lost == [("a", why, True), ("b", why, True), ("late", why, False)]
    for name in ("a", "b"):
        ref = f"refs/stratum/attempts/{flow}/build/{name}/1"
        assert shell.repo.git("rev-parse", ref) == found[name]["result"]
        assert shell.run("salvage", flow, name, "--into", str(tmp_path / name)).code == 0
        assert (tmp_path / name / "kept.txt").read_text() == f"{name}\n"


def test_a_runner_that_is_killed_before_the_choice_leaves_it_to_the_next(shell: Shell) -> None:
    agent = shell.agent("seq $STRATUM_CANDIDATE > x.txt")
    spec = shell.spec(SPEC + "        candidates: 3\n")
    dead = subprocess.run(
        [sys.executable, "-c", CRASHING, spec, json.dumps([{"id": "x"}]), agent.removeprefix("--agent=")],
        cwd=shell.repo.path,
        env={**shell.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    flow = shell.flow()
    before = rows(shell, flow)
    assert {name: row["state"] for name, row in before.items()} == {
        "x": "pending", "x@1": "standing", "x@2": "standing", "x@3": "standing",
    }  # fmt: skip

    said = shell.run("resume", flow, agent)

    assert said.code == 0, said.err
    log = cast("list[dict[str, Any]]", shell.run("log", flow, "--json").json())
    assert [row["trailers"]["Stratum-Event"] for row in log].count("Chosen") == 1
    assert rows(shell, flow)["x"]["chosen"] == "x@1"
    assert shell.repo.show("HEAD:x.txt") == "1"
    assert shell.repo.git("log", "--format=%s", "main").splitlines().count("x: do x") == 1


def test_what_candidates_cannot_be_is_said_before_anything_is_run(shell: Shell) -> None:
    agent = shell.agent("true")
    missing = shell.run("run", shell.spec(CONTEST), shell.tasks({"id": "x"}), agent)
    assert (missing.code, "wants the agent tall, which is not configured" in missing.err) == (2, True)
    nowhere = shell.spec(SPEC + "        candidates: 2\n        isolation: none\n")
    said = shell.run("validate", nowhere)
    assert (said.code, "candidates need places of their own" in said.out + said.err) == (1, True)
    for wrong, words in (
        ({"id": "x", "candidates": [{"model": "m"}]}, "a candidate is an object with agent, intent"),
        ({"id": "x@1"}, "has @ in it"),
        ({"id": "x", "candidates": 17}, "neither a number nor a list of 1 to 16"),
        ({"id": "x", "candidates": [{"intent": "{task.no}"}]}, "the intent of x@1 names task.no"),
    ):
        said = shell.run("run", shell.spec(), shell.tasks(cast("Json", wrong)), agent)
        assert (said.code, words in said.err) == (2, True), said.err
    assert shell.flows() == []
