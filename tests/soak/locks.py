"""Locks that killed gits leave behind: ours are cleared, those of the living and of strangers never.

A server takes reports and is killed together with its git, at a random moment of a call. Another server works
on a flow of its own all the while, and must not notice. A git of the user's holds a lock of the user's. Then
a new server has to go on with the flow of the dead one; what was acknowledged must be there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.git.stale_locks import locks_in
from tests.support.client import Answer
from tests.support.mortal import Mortal, mortals
from tests.support.portal import settle_in
from tests.support.programs import stat_of, wait_until_gone
from tests.support.shell import Shell

SPEC = """
version: "0.3"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: s1, intent: x, retries: 9999, ensure: [result.ok]}
"""


@dataclass
class Figures:
    """What came of the kills."""

    kills: int = 0
    kills_that_left_locks: int = 0
    locks_left: int = 0
    lost: int = 0
    not_resumed: int = 0
    live_disturbed: int = 0
    strangers_locks_touched: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, and nobody disturbed."""
        return not (self.lost or self.not_resumed or self.live_disturbed or self.strangers_locks_touched)


class Neighbour(threading.Thread):
    """A client of a server that works on a flow of its own until it is told to stop."""

    def __init__(self, server: Mortal) -> None:
        super().__init__()
        self.over = threading.Event()
        self.errors = list[str]()
        self._server = server

    def run(self) -> None:
        """Reports again and again, and notes each answer that is no progress."""
        flow, number = begin(self._server), 0
        while not self.over.is_set():
            said = report(self._server, flow, number)
            number += 1
            if said.get("status") != "ensure_failed":
                self.errors.append(str(said))


def call(server: Mortal, tool: str, **arguments: object) -> Answer:
    """Returns the structured answer of a tool."""
    server.ask(tool, **arguments)
    found: Answer = server.answer()["result"]["structuredContent"]
    return found


def begin(server: Mortal) -> str:
    """Begins a flow, and returns its id."""
    return str(call(server, "stratum_plan", spec=SPEC, flow="main", inputs={"tasks": []})["flow_id"])


def report(server: Mortal, flow: str, number: int) -> Answer:
    """Reports a step as not good enough, so that it is to be done again."""
    return call(server, "stratum_step_done", flow_id=flow, step_id="s1", result={"ok": False, "n": number})


def kill(count: int, folder: Path, chance: random.Random) -> Figures:
    """Kills a server and its git *count* times while another one lives."""
    shell, found = settle_in(folder), Figures()
    git_dir = shell.repo.path / ".git"
    stranger = git_dir / "refs/heads/of-the-user.lock"
    stranger.touch()
    with mortals(shell, folder) as servers:
        live = next(servers)
        neighbour = Neighbour(live)
        neighbour.start()
        try:
            victim = next(servers)
            flow, known = begin(victim), 0
            for number in range(count):
                successor = next(servers)
                known = _one_kill(shell, (victim, successor), flow, known, found, chance)
                victim = successor
                print(f"{number + 1} of {count} kills", file=sys.stderr)
        finally:
            neighbour.over.set()
            neighbour.join()
            live.kill()
        victim.kill()
    found.live_disturbed = len(neighbour.errors)
    found.notes += neighbour.errors
    found.strangers_locks_touched = int(not stranger.exists())
    found.locks_left = len([lock for lock in locks_in(git_dir) if lock != stranger])
    return found


def _one_kill(
    shell: Shell,
    servers: tuple[Mortal, Mortal],
    flow: str,
    known: int,
    found: Figures,
    chance: random.Random,
) -> int:
    """Kills the first of *servers* in the middle of a report; returns how many the second one finds."""
    victim, successor = servers
    # The first report loads the flow and starts its git; it is in the second that it dies.
    began = time.monotonic()
    report(victim, flow, known)
    took = time.monotonic() - began
    gits = [pid for pid in _children(victim.pid) if b"update-ref" in _words(pid)]
    given = {"flow_id": flow, "step_id": "s1", "result": {"ok": False, "n": known + 1}}
    victim.ask("stratum_step_done", **given)
    time.sleep(chance.uniform(0, took))
    for pid in gits:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    victim.kill()
    for pid in gits:
        wait_until_gone(pid)
    found.kills += 1
    found.kills_that_left_locks += (shell.repo.path / f".git/refs/stratum/flows/{flow}.lock").exists()
    said = report(successor, flow, known + 2)
    if said.get("status") != "ensure_failed":
        found.not_resumed += 1
        found.notes.append(str(said))
    there = len(shell.repo.git("rev-list", "--first-parent", f"refs/stratum/flows/{flow}").splitlines()) - 2
    if there - known not in {2, 3}:
        found.lost += 1
        found.notes.append(f"{there} reports are there, and {known + 2} or one more should be")
    return there


def _children(parent: int) -> list[int]:
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in numbers if (stat_of(pid) or ["", "0"])[1] == str(parent)]


def _words(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def main(arguments: Sequence[str] | None = None) -> int:
    """Kills many servers, prints figures, and returns 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stratum-locks-") as name:
        found = kill(options.count, Path(name), random.Random(options.seed))
    for note in found.notes:
        print(note, file=sys.stderr)
    row = {name: value for name, value in vars(found).items() if name != "notes"}
    print(json.dumps({"what": "stale locks", **row, "seconds": round(time.monotonic() - began, 1)}))
    return 0 if found.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
