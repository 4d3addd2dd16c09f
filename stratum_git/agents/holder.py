"""Starts the tether of a command: by the server where there is one, else directly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from stratum_git.spawn.client import HOLD, Server, ServerGone, current, ended, renewed, started

TETHER = Path(__file__).parents[1] / "spawn" / "tether.py"
CHUNK = 4096


class Tether(Protocol):
    """A tether at work. ``returncode`` is negative for a signal, ``None`` while it runs."""

    @property
    def returncode(self) -> int | None:
        """Returns how it ended."""

    @property
    def stdout(self) -> trio.abc.ReceiveStream | None:
        """Returns the output of what it holds."""

    @property
    def stderr(self) -> trio.abc.ReceiveStream | None:
        """Returns the error output of what it holds."""

    async def wait(self) -> int:
        """Waits for its end."""

    def kill(self) -> None:
        """Kills it, and only it."""


@dataclass
class Served:
    """A tether that the server started; ``status`` is told of its start and its end."""

    server: Server
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream
    status: trio.lowlevel.FdStream
    returncode: int | None = field(init=False, default=None)
    _said: bytearray = field(init=False, default_factory=bytearray)

    async def begun(self) -> None:
        """Waits until it runs; raises OSError when it could not be started."""
        while not self._said.endswith(b"\n"):
            data = await self.status.receive_some(CHUNK)
            if not data:
                break
            self._said += data
        started(bytes(self._said))

    async def wait(self) -> int:
        """Waits for its end. Should the server die first, nobody can tell: then it counts as killed."""
        while self.returncode is None:
            data = await self.status.receive_some(CHUNK)
            self._said += data
            if not data:
                try:
                    self.returncode = ended(bytes(self._said))
                except ServerGone:
                    self.returncode = -signal.SIGKILL
        self.status.close()
        return self.returncode

    def close(self) -> None:
        """Lets go of its pipes."""
        for stream in (self.stdout, self.stderr, self.status):
            stream.close()

    def kill(self) -> None:
        """Kills it, and only it."""
        self.server.kill(started(bytes(self._said)))


async def start_tether(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: int,
    pipes: tuple[int, int],
    grace: float,
) -> Tether:
    """Starts a tether that holds *command*; *pipes* are its ends of the control pipe and of its report.

    Raises OSError when it cannot be started, ValueError when it cannot be given one of the words.
    """
    server = current()
    if server is None:
        words = [str(pipes[0]), str(pipes[1]), str(grace), env.get("LC_CTYPE", ""), *command]
        return await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", str(TETHER), *words],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=pipes,
            start_new_session=True,
        )
    encoded = [str(grace).encode(), *(os.fsencode(word) for word in command)]
    environment = {os.fsencode(key): os.fsencode(value) for key, value in env.items()}
    with ExitStack() as ours, ExitStack() as theirs:
        (out, out_end), (err, err_end), (status, status_end) = (_pipe(ours, theirs) for _ in range(3))
        tether = Served(server, *(trio.lowlevel.FdStream(fd) for fd in (out, err, status)))
        ours.pop_all()
        try:
            passed = (stdin, out_end, err_end, *pipes)
            order = partial(Server.order, kind=HOLD, target=str(cwd), words=encoded, environment=environment)
            try:
                order(server, descriptors=passed, status=os.dup(status_end))
            except ServerGone:
                tether.server = renewed(server)
                order(tether.server, descriptors=passed, status=os.dup(status_end))
        except BaseException:
            tether.close()
            raise
    try:
        await tether.begun()
    except BaseException:
        tether.close()
        raise
    return tether


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    ours.callback(os.close, reader)
    theirs.callback(os.close, writer)
    return reader, writer
