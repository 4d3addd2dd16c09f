"""An MCP client over real standard input and output."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from tests.support.shell import PROGRAM, Shell, launcher

Answer = dict[str, Any]
RELAY = 'exec 3<&0; cat <&3 >"$1/in" & exec 3<&- <&-; exec cat "$1/out"'
"""Between the client's pipes and those of a server that runs already."""


@asynccontextmanager
async def client_of(shell: Shell, mode: str = "auto", words: Sequence[str] = ()) -> AsyncIterator[Client]:
    """Gives a client of a server that need not be loaded first, and ends both."""
    with tempfile.TemporaryDirectory(prefix="served-") as folder:
        place = Path(folder, "server")
        words = ["mcp", *words]
        served = launcher().start(words, cwd=shell.repo.path, env=shell.environment, place=place, pipes=True)
        relay = StdioServerParameters(command="sh", args=["-c", RELAY, "sh", str(place)])
        async with Client(relay, mode=mode) as client:
            yield client
        served.wait()


async def call(client: Client, tool: str, **arguments: Any) -> Answer:
    """Returns the structured answer of a tool that was not called wrongly."""
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert answer.structured_content is not None
    # Text for whoever does not read structured answers: the same.
    assert json.loads(answer.content[0].text) == answer.structured_content  # type: ignore[union-attr]
    found: Answer = answer.structured_content
    return found


def raw(shell: Shell) -> subprocess.Popen[bytes]:
    """Starts the server without a client."""
    return subprocess.Popen(
        [*PROGRAM, "mcp"],
        cwd=shell.repo.path,
        env=shell.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
