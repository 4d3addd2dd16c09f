"""What hooks create, change or delete is what the README lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hooks.asking import ClientHooks
from tests.hooks.placing import driven, leased, placed
from tests.support.portal import settle_in
from tests.support.repos import ScratchRepo
from tests.surface.test_footprint import changed, everything, foreign


def test_hooks_leave_what_is_listed_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = settle_in(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(shell.home / "state"))
    client = ClientHooks(shell.repo, shell.home / "state")
    slot = placed(client)
    leased(client)
    driven(client)
    ScratchRepo(slot).write("new.txt", "work\n")
    before = everything(shell)

    def look(hook: str, cwd: Path | None = None, **more: Any) -> str:
        nonlocal before
        said = client.ask(hook, cwd, **more).out
        after = everything(shell)
        names, before = changed(before, after), after
        assert foreign(shell, names, set()) == set(), hook
        return said

    look("session-start")
    look("stop")
    look("pre-tool-use", slot, tool_input={"command": "git stash"})
    look("post-tool-use-failure", slot, tool_input={"command": "make"})
    look("post-tool-use-failure", tool_input={"command": "make"})
    look("subagent-start", slot)
    look("subagent-stop", slot)
    place = ScratchRepo(Path(look("worktree-create", name="mine")))
    idle = Path(look("worktree-create", name="agent-idle"))
    look("subagent-stop", idle, agent_id="idle")
    place.write("a.txt", "a lot\n")
    look("worktree-remove", worktree_path=str(place.path))
    look("session-end")
