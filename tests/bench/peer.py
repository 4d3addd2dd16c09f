"""An MCP server as a process that is spoken to in bare lines, so that no client's cost hides the server's."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

VERSION = "2025-06-18"

Answer = dict[str, Any]


class Peer:
    """A server that was started and greeted. ``greeting`` is the seconds until it listed its tools."""

    def __init__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        began = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        # A buffer for what comes back: one system call for a line, as with any client.
        self._lines = open(self._process.stdout.fileno(), "rb", closefd=False)  # type: ignore[union-attr] # noqa: SIM115 - closed at the end
        self._count = 0
        self._told: dict[object, Answer] = {}
        who = {"name": "bench", "version": "1"}
        self._request("initialize", protocolVersion=VERSION, capabilities={}, clientInfo=who)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.tools = [tool["name"] for tool in self._request("tools/list")["tools"]]
        self.greeting = time.perf_counter() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr] # it is a pipe
        self._process.wait(timeout=20)
        self._lines.close()
        self._process.stdout.close()  # type: ignore[union-attr]

    def call(self, tool: str, **arguments: object) -> Answer:
        """Returns the structured answer of a tool."""
        return self.answer(self.send(tool, arguments))

    def timed(self, tool: str, **arguments: object) -> tuple[float, Answer]:
        """Returns the seconds that a call took, and its answer."""
        began = time.perf_counter()
        answer = self.call(tool, **arguments)
        return time.perf_counter() - began, answer

    def send(self, tool: str, arguments: Answer) -> int:
        """Asks for the answer of a tool, and returns the number under which it is had."""
        return self._ask("tools/call", {"name": tool, "arguments": arguments})

    def answer(self, number: int) -> Answer:
        """Returns the structured answer to what was asked, whichever way others have come before."""
        said = self._heard(number, "tools/call")
        if said.get("isError"):
            raise SystemExit(f"a tool failed: {said['content']}")
        found: Answer = said["structuredContent"]
        return found

    def _request(self, method: str, **params: object) -> Answer:
        return self._heard(self._ask(method, params), method)

    def _ask(self, method: str, params: Mapping[str, object]) -> int:
        self._count += 1
        self._send({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params})
        return self._count

    def _heard(self, number: int, method: str) -> Answer:
        while number not in self._told:
            line = self._lines.readline()
            if not line:
                raise SystemExit(f"the server ended during {method}")
            said = json.loads(line)
            self._told[said.get("id")] = said
        said = self._told.pop(number)
        if "error" in said:
            raise SystemExit(f"{method} failed: {said['error']}")
        found: Answer = said["result"]
        return found

    def _send(self, message: Answer) -> None:
        self._process.stdin.write(json.dumps(message).encode() + b"\n")  # type: ignore[union-attr]
