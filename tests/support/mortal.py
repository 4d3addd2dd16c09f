"""Servers that are there at once and can be killed in the middle of a call: forks of one that is loaded."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

from tests.support.client import Answer
from tests.support.programs import wait_until_gone
from tests.support.shell import Shell, launcher

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
    yield (_born(shell, folder / f"server-{number}") for number in count(1))


def _born(shell: Shell, place: Path) -> Mortal:
    served = launcher().start(["mcp"], cwd=shell.repo.path, env=shell.environment, place=place, pipes=True)
    requests = (place / "in").open("wb")
    server = Mortal(served.pid, requests, (place / "out").open("rb"))
    server.send("initialize", HELLO, 0)
    server.answer()
    server.send("notifications/initialized", {})
    return server
