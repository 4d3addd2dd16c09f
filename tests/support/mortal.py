"""Servers that are there at once and can be killed in the middle of a call: forks of one that is loaded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.client import Answer
from tests.support.programs import wait_until_gone
from tests.support.shell import Shell

NURSERY = """
import os, signal, sys
import stratum_git.cli.serving
from stratum_git.cli.main import main

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(line.strip() + "/in", os.O_RDONLY), 0)
        os.dup2(os.open(line.strip() + "/out", os.O_WRONLY), 1)
        os._exit(main(["mcp"]))
    print(pid, flush=True)
"""
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}


@dataclass
class Mortal:
    """A server that speaks to nobody else."""

    pid: int
    requests: IO[bytes]
    answers: IO[bytes]

    def send(self, method: str, params: object, number: int | None = None) -> None:
        """Sends a message; one with a number is a request."""
        row = {"jsonrpc": "2.0", "method": method, "params": params}
        row |= {} if number is None else {"id": number}
        self.requests.write(json.dumps(row).encode() + b"\n")
        self.requests.flush()

    def ask(self, tool: str, **arguments: object) -> None:
        """Sends a call and does not wait for its answer."""
        self.send("tools/call", {"name": tool, "arguments": arguments}, 1)

    def answer(self) -> Answer:
        """Waits for the next message."""
        found: Answer = json.loads(self.answers.readline())
        return found

    def kill(self) -> None:
        """Ends it as no program can prevent."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until_gone(self.pid)
        with suppress(BrokenPipeError):
            self.requests.close()
        self.answers.close()


@contextmanager
def mortals(shell: Shell, folder: Path) -> Iterator[Iterator[Mortal]]:
    """Gives servers, one after another, that have been greeted."""
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        cwd=shell.repo.path,
        env={**shell.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as nursery:
        yield _born(nursery, folder)
        nursery.communicate()


def _born(nursery: subprocess.Popen[str], folder: Path) -> Iterator[Mortal]:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    number = 0
    while True:
        number += 1
        place = folder / f"server-{number}"
        place.mkdir()
        for name in ("in", "out"):
            os.mkfifo(place / name)
        nursery.stdin.write(f"{place}\n")
        nursery.stdin.flush()
        pid = int(nursery.stdout.readline())
        requests = (place / "in").open("wb")
        server = Mortal(pid, requests, (place / "out").open("rb"))
        server.send("initialize", HELLO, 0)
        server.answer()
        server.send("notifications/initialized", {})
        yield server
