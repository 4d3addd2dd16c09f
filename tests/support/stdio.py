"""A server and its client without the SDK: one call after another, in the surroundings that are given."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.client import Answer
from tests.support.mortal import HELLO
from tests.support.shell import PROGRAM


class Caller:
    """A server that this process alone speaks to."""

    def __init__(self, cwd: Path, env: Mapping[str, str], before: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, *PROGRAM, "mcp"],
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._number = 0
        self._ask("initialize", HELLO)
        self._send({"method": "notifications/initialized", "params": {}})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=30)

    def call(self, tool: str, **arguments: Any) -> Answer:
        """Returns the structured answer of a tool that was not called wrongly."""
        answer = self._ask("tools/call", {"name": tool, "arguments": arguments})
        assert "result" in answer, answer
        assert not answer["result"].get("isError"), answer
        found: Answer = answer["result"]["structuredContent"]
        return found

    def _ask(self, method: str, params: object) -> Answer:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, f"the server ended with {self.process.wait()}"
            found: Answer = json.loads(line)
            if found.get("id") == self._number:
                return found

    def _send(self, row: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **row}).encode() + b"\n")
        self.process.stdin.flush()
