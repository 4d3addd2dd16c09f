"""What the doctor says of locks."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support.shell import Shell


def aged(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (0, 0))
    return str(path)


def test_old_locks_are_told_with_what_to_do(shell: Shell) -> None:
    git = shell.repo.path / ".git"
    mine, theirs = aged(git / "refs/stratum/flows/one.lock"), aged(git / "refs/heads/main.lock")
    (git / "HEAD.lock").touch()
    rows = json.loads(shell.run("doctor", "--json").out)
    told = {row["detail"].split(" is ")[0]: row["hint"] for row in rows if row["check"] == "lock"}
    assert told == {
        mine: "it is ours: the next run that needs it deletes it, if its git is dead",
        theirs: "when no git is at work in the repository, delete it",
    }
