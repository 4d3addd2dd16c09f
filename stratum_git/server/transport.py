"""Standard input and output as an MCP transport on trio, which ends when it is told to.

The SDK reads standard input in a thread that nobody can interrupt: after SIGINT such a server waits until its
client closes the pipe, and SIGTERM kills it without any cleaning up. Here both are read and written by trio
itself, so a signal ends the server at once and in order.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any, cast

import trio
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server

CHUNK = 64 * 1024
LONGEST = 64 * 1024 * 1024
"""Bytes of one message. A client that sends more than that without a line break is not one."""


class Lines:
    """Lines of a descriptor, as text."""

    def __init__(self, descriptor: int) -> None:
        self._stream = trio.lowlevel.FdStream(descriptor)

    async def __aiter__(self) -> AsyncIterator[str]:
        rest = b""
        async for data in self._stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line.decode("utf-8", "replace")
            if len(rest) > LONGEST:
                return
        if rest.strip():
            yield rest.decode("utf-8", "replace")


class Writer:
    """Writes text to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._stream = trio.lowlevel.FdStream(descriptor)

    async def write(self, text: str) -> None:
        """Writes all of *text*."""
        await self._stream.send_all(text.encode())

    async def flush(self) -> None:
        """Does nothing: what was written is out."""


async def serve(server: MCPServer[Any]) -> None:
    """Serves standard input and output until the input ends or a signal comes."""
    lines, writer = Lines(_taken(0, os.O_RDONLY)), Writer(_taken(1, os.O_WRONLY))
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signalled, nursery.cancel_scope)
        # The SDK asks for anyio's files; what it does with them is to iterate, write and flush.
        async with stdio_server(cast("Any", lines), cast("Any", writer)) as (reading, writing):
            low = server._lowlevel_server  # noqa: SLF001 - there is no other way to give it streams
            await low.run(reading, writing, low.create_initialization_options())
        nursery.cancel_scope.cancel()


def _taken(number: int, flags: int) -> int:
    """Returns a copy of a standard descriptor, and leads whatever else uses it elsewhere.

    What a library prints must not come between the messages.
    """
    copy = os.dup(number)
    instead = os.dup(2) if number == 1 else os.open(os.devnull, flags)
    os.dup2(instead, number)
    os.close(instead)
    return copy


async def _until_signalled(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
