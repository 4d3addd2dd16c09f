"""An MCP client over real standard input and output."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mcp import Client, StdioServerParameters

from tests.support.shell import PROGRAM, Shell

Answer = dict[str, Any]


@asynccontextmanager
async def client_of(shell: Shell, mode: str = "auto", words: Sequence[str] = ()) -> AsyncIterator[Client]:
    """Starts the server as a client does, and ends it."""
    program = StdioServerParameters(
        command=PROGRAM[0],
        args=[*PROGRAM[1:], "mcp", *words],
        cwd=str(shell.repo.path),
        env=shell.environment,
    )
    async with Client(program, mode=mode) as client:
        yield client


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
