"""Worktrees that the client wants for itself are slots, at the HEAD of the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.fakes.messages_api import Messages
from tests.clients.conftest import Move
from tests.clients.story import Block
from tests.support.clients import House
from tests.support.repos import ScratchRepo

LOOK = "git rev-parse HEAD; git status --porcelain; pwd; echo made > made.txt"


def apart(house: House) -> list[str]:
    """Returns what the subagent saw: its HEAD, and where it was."""
    return Messages().reads(house.api.to("apart")[-1].body).last_tool_result.splitlines()


def unpushed(house: House) -> str:
    """Gives the repository a remote that lacks its last commit; returns that one."""
    house.repo.git("clone", "-q", "--bare", ".", str(house.place / "origin.git"))
    house.repo.git("remote", "add", "origin", str(house.place / "origin.git"))
    house.repo.git("fetch", "-q", "origin")
    house.repo.git("remote", "set-head", "origin", "main")
    return house.repo.commit("not pushed yet", {"late.txt": "late\n"})


@pytest.mark.parametrize("version", ["latest", pytest.param("older", marks=pytest.mark.soak)])
def test_a_subagent_apart_gets_a_slot_at_the_head_of_the_session(claude: Move, version: str) -> None:
    look: Block = {"type": "tool_use", "name": "Bash", "input": {"command": LOOK}}
    agent = {"description": "look", "prompt": "LOOK-APART", "subagent_type": "general-purpose"}
    more = {"isolation": "worktree", "run_in_background": False}
    start = {"type": "tool_use", "name": "Agent", "input": {**agent, **more}}
    lanes = [
        {"name": "apart", "match": {"first_user": "LOOK-APART"}, "turns": [[look], "looked"]},
        {"name": "main", "turns": [[start], "done"]},
    ]
    house = claude(version, {"lanes": lanes})
    house.install()
    head = unpushed(house)

    run = house.claude("Have somebody look apart.").wait()

    assert (run.code, run.result["result"]) == (0, "done"), run.told()
    seen, place = apart(house)
    assert seen == head
    assert Path(place).is_relative_to(house.shell.home / "state"), place
    # The user sees nothing of it, and what was made is not lost with the session.
    assert house.repo.git("status", "--porcelain") == ""
    assert not (house.repo.path / ".claude/worktrees").exists()
    refs = house.repo.git("for-each-ref", "--format=%(refname)", "refs/stratum").split()
    assert any("made.txt" in house.repo.files(ref) for ref in refs), refs


@pytest.mark.soak
@pytest.mark.parametrize("version", ["latest", "older"])
def test_a_session_in_a_worktree_is_one_in_a_slot(claude: Move, version: str) -> None:
    look = {"type": "tool_use", "name": "Bash", "input": {"command": LOOK}}
    house = claude(version, {"lanes": [{"name": "apart", "turns": [[look], "looked"]}]})
    house.install()
    head = unpushed(house)

    run = house.claude("Look.", "--worktree", "aside").wait()

    assert (run.code, run.result["result"]) == (0, "looked"), run.told()
    seen, place = apart(house)
    assert seen == head
    assert Path(place).is_relative_to(house.shell.home / "state"), place
    assert ScratchRepo(Path(place)).git("status", "--porcelain") == "?? made.txt"
    assert house.repo.git("status", "--porcelain") == ""
