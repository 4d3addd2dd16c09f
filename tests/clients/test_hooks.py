"""Claude Code with our hooks: what it is told, what it is refused, and where its own worktrees lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stratum_git.resources import hooks
from tests.clients.conftest import Move
from tests.support.clients import House

BOTH = ["latest", pytest.param("older", marks=pytest.mark.soak)]
SPEC = """\
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: s1, type: parallel_dispatch, source: $.input.tasks, intent_template: "do {task.id}"}
"""


def uses(tool: str, **given: object) -> dict[str, Any]:
    return {"type": "tool_use", "name": tool, "input": given}


def hooked(house: House) -> None:
    """Commits settings with our hooks; the way to the scripts is all that differs from the plugin's."""
    told = json.loads((hooks() / "hooks.json").read_text())
    for rows in told["hooks"].values():
        for entry in (entry for row in rows for entry in row["hooks"]):
            entry["command"] = str(hooks() / entry["command"].rpartition("/")[2])
    house.repo.commit("Use hooks", {".claude/settings.json": json.dumps(told)})


def behind(house: House, place: Path) -> str:
    """Gives the repository a remote whose default branch lacks the last commit; returns that."""
    house.repo.git("clone", "-q", "--bare", str(house.repo.path), str(place))
    house.repo.git("remote", "add", "origin", str(place))
    house.repo.git("fetch", "-q", "origin")
    house.repo.git("remote", "set-head", "origin", "main")
    return house.repo.commit("not pushed", {"new.txt": "new\n"})


def said(house: House, lane: str = "main") -> str:
    """Returns all that the model was sent in a lane, with what the client adds."""
    return json.dumps(house.api.to(lane)[-1].body, ensure_ascii=False)


def worker(name: str, command: str) -> Mapping[str, Any]:
    turns = [[uses("Bash", command=f"git rev-parse HEAD; pwd; {command}")], f"{name} is done"]
    return {"name": name, "match": {"first_user": f"You are {name}"}, "turns": turns}


@pytest.mark.parametrize("version", BOTH)
def test_subagents_get_slots_from_head(claude: Move, version: str, tmp_path: Path) -> None:
    def call(name: str) -> dict[str, Any]:
        words = {"description": name, "prompt": f"You are {name}", "subagent_type": "general-purpose"}
        return uses("Agent", **words, run_in_background=False, isolation="worktree")

    workers = [worker("writer", "echo work > work.txt"), worker("reader", "true")]
    main = {"name": "main", "mode": "total", "turns": [[call("writer"), call("reader")], "both are back"]}
    house = claude(version, {"lanes": [*workers, {**main, "match": {"has_tools": True}}]})
    hooked(house)
    head = behind(house, tmp_path / "origin.git")
    run = house.claude("Send two").wait()
    assert run.result["result"] == "both are back", run.told()
    slots = str(house.shell.home / "state/stratum-git")
    for name in ("writer", "reader"):
        assert head in said(house, name)
        assert slots in said(house, name)
        assert "You are in a worktree of your own" in said(house, name)
    # What was done is there, on a branch and on a ref; the other one left nothing.
    (branch,) = house.repo.git("branch", "--format=%(refname:short)", "--list", "worktree-*").split()
    assert house.repo.show(f"refs/stratum/worktrees/{branch}:work.txt") == "work"
    assert house.repo.git("worktree", "list").count(f"[{branch}]") == 1
    assert house.repo.git("status", "--porcelain") == ""


@pytest.mark.parametrize("version", BOTH)
def test_a_session_is_told_refused_and_moved(claude: Move, version: str, tmp_path: Path) -> None:
    turns = [
        [uses("Write", file_path=str(tmp_path / "repo/x.stratum.yaml"), content="version: '0.9'\nname: a\n")],
        [uses("Bash", command="curl --version https://api.openai.com/v1/models")],
        [{"type": "tool_use", "name": "EnterWorktree", "input": {"name": "feature"}}],
        [uses("Bash", command="git rev-parse HEAD; echo work > work.txt")],
        [uses("ExitWorktree", action="remove", discard_changes=True)],
        "that was all",
    ]
    house = claude(version, {"lanes": [{"name": "main", "match": {"has_tools": True}, "turns": turns}]})
    house.repo.write(".claude/memory/MEMORY.md", "- the owl is blue\n")
    hooked(house)
    head = behind(house, tmp_path / "origin.git")
    run = house.claude("Go").wait()
    assert run.result["result"] == "that was all", run.told()
    told = said(house)
    assert "the owl is blue" in told
    assert "is not a valid stratum spec; 2 problem(s)" in told
    assert "This calls a model directly" in told
    assert head in told
    assert house.repo.show("refs/stratum/worktrees/worktree-feature:work.txt") == "work"
    assert house.repo.git("branch", "--list", "worktree-*") == ""


@pytest.mark.soak
@pytest.mark.parametrize("version", ["latest", "older"])
def test_a_session_does_not_leave_tasks_without_a_word(claude: Move, version: str) -> None:
    plan = uses("mcp__stratum__stratum_plan", spec=SPEC, flow="main", inputs={"tasks": [{"id": "one"}]})
    # The older one does not wait for its servers.
    ready = [[uses("WaitForMcpServers")]] if version == "older" else []
    turns = [*ready, [plan], "I stop", "I stop all the same"]
    main = {"name": "main", "match": {"has_tools": True}, "mode": "total", "turns": turns}
    looker = {"name": "looker", "match": {"last_prompt": "WHAT-IS-OPEN"}, "turns": ["a flow"]}
    house = claude(version, {"lanes": [looker, main]})
    house.install()
    run = house.claude("Plan").wait()
    assert run.result["result"] == "I stop all the same", run.told()
    assert "- one (attempt 1, flow " in said(house)
    # The next session is told of it, and is not held up.
    after = house.claude("WHAT-IS-OPEN").wait()
    assert (after.result["result"], after.result["num_turns"]) == ("a flow", 1), after.told()
    assert "1 task(s) were handed out and are not reported" in said(house, "looker")
