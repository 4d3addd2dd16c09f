"""Whoever is in a namespace still sees who is at work outside of it, and says so when he cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.commoner import Commoner, commoner

BEGIN = """
import json, os, signal, subprocess, sys
from pathlib import Path
from stratum_git.errors import HostError
from stratum_git.git.stale_locks import _may_hold
from stratum_git.spawn import namespace, outside
from stratum_git.spawn.orphans import ATTEMPT, end_orphans, own_mark
folder = Path.cwd()
held = folder / ".git/refs/heads/stratum/f/t.lock"
held.parent.mkdir(parents=True)
held.write_text("")
begin = subprocess.run([sys.executable, "-c", "from stratum_git.spawn.orphans import *; print(own_mark())"],
    capture_output=True, text=True, check=True)
mark = f"x {begin.stdout.strip()} {folder}/attempts/f/s/t/1/output.log"
there = subprocess.Popen(["sleep", "60"], env={**os.environ, ATTEMPT: mark}, stdin=held.open())
namespace.enter()
def tried(what, *words):
    try:
        return what(*words)
    except (OSError, HostError) as error:
        return type(error).__name__
"""
SEEN = """
pid = there.pid
seen = {
    "entered": namespace.is_entered() and namespace.may_mount(),
    "alone": tried(Path(f"/proc/{pid}/environ").read_bytes),
    "environ": ATTEMPT.encode() in outside.read(pid, "environ"),
    "cwd": outside.link(pid, "cwd") == str(folder),
    "open": str(held) in outside.handles(pid),
    "nobody": tried(outside.read, 2 ** 22 + 1, "environ"),
    "root": tried(outside.read, 1, "environ"),
    "held": [_may_hold(Path(f"/proc/{who}"), held, ()) for who in (pid, os.getpid())],
}
end_orphans(folder / "attempts/f", (folder,), 5)
seen["ended"] = there.wait()
lookout = outside._lookouts[-1].pid
outside.recall_lookout()
seen["gone"] = tried(os.kill, lookout, 0)
print(json.dumps(seen))
"""
BLIND = """
os.kill(outside._lookouts[-1].pid, signal.SIGKILL)
print(json.dumps([tried(outside.read, there.pid, "environ"), tried(end_orphans, folder / "attempts/f", ())]))
there.kill()
there.wait()
"""


@pytest.fixture
def user() -> Iterator[Commoner]:
    with commoner() as made:
        yield made


def test_who_is_outside_is_seen_from_inside(user: Commoner) -> None:
    assert json.loads(user.script(BEGIN + SEEN).out) == {
        "entered": True,
        "alone": "PermissionError",
        "environ": True,
        "cwd": True,
        "open": True,
        "nobody": "FileNotFoundError",
        "root": "PermissionError",
        "held": [True, False],
        "ended": -15,
        "gone": "ProcessLookupError",
    }


def test_nobody_to_look_is_not_nobody_there(user: Commoner) -> None:
    assert json.loads(user.script(BEGIN + BLIND).out) == ["Blind", "Blind"]
