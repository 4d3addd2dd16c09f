"""Has tethers started by ``server.py``.

A server belongs to whoever began it with :func:`serving`; while there is one, tethers are started by it.
Where none is, they are programs of their own: for one or two that is quicker, for a hundred it is not.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.spawn.orphans import HELPER, own_mark

SERVER = Path(__file__).with_name("server.py")
HEADER = 4
HOLD, KILL = range(2)


class ServerGone(HostError):  # noqa: N818 - reads as what happened
    """The process that starts others has ended, or was killed."""

    def __init__(self) -> None:
        super().__init__("the process that starts others has ended", hint="was it killed? Try again")


class Server:
    """A process that starts tethers. Safe for several threads."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        words = [sys.executable, "-I", "-S", str(SERVER), str(theirs.fileno())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, HELPER: own_mark()},
                    start_new_session=True,
                )
        except OSError as error:
            self._socket.close()
            raise HostError(f"no process could be started: {error}") from error

    @property
    def pid(self) -> int:
        """Returns its process."""
        return self._process.pid

    def is_gone(self) -> bool:
        """Returns whether the process has ended, or was killed."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends the server. What it started goes on, unless it ends when its pipes do."""
        self._socket.close()
        self._process.wait()

    def order(
        self,
        kind: int,
        target: str | int,
        words: Sequence[bytes],
        environment: Mapping[bytes, bytes],
        descriptors: Sequence[int],
        status: int | None,
    ) -> None:
        """Sends an order. *status*, which is closed here, is the pipe that is told what becomes of it."""
        passed = [*descriptors, *([] if status is None else [status])]
        try:
            if any(b"\0" in word for word in (*words, *environment, *environment.values())):
                raise ValueError("embedded null byte")
            body = marshal.dumps((kind, target, list(words), dict(environment)))
            data = len(body).to_bytes(HEADER, "big") + body
            with self._lock:
                sent = socket.send_fds(self._socket, [data], passed)
                self._socket.sendall(data[sent:])
        except OSError as error:
            raise ServerGone from error
        finally:
            if status is not None:
                os.close(status)

    def kill(self, pid: int) -> None:
        """Kills a process that this server started, if it still runs."""
        with contextlib.suppress(ServerGone):
            self.order(KILL, pid, (), {}, (), None)


def started(said: bytes) -> int:
    """Returns the process that was started; raises OSError when none could be."""
    for line in said.splitlines():
        if line.startswith(b"E"):
            number = int(line[1:])
            raise OSError(number, os.strerror(number))
        if line.startswith(b"P"):
            return int(line[1:])
    raise ServerGone


def ended(said: bytes) -> int:
    """Returns the exit code that a status pipe told of, negative for a signal; raises as :func:`started`."""
    started(said)
    for line in said.splitlines():
        if line.startswith(b"S"):
            return os.waitstatus_to_exitcode(int(line[1:]))
    raise ServerGone


_current: list[Server] = []


def current() -> Server | None:
    """Returns the server of this process, if there is one; in the place of one that was killed, another."""
    if _current and _current[-1].is_gone():
        return renewed(_current[-1])
    return _current[-1] if _current else None


def renewed(gone: Server) -> Server:
    """Returns the server in the place of one that has ended."""
    gone.close()
    if _current[-1] is gone:
        _current[-1] = Server()
    return _current[-1]


@contextmanager
def serving() -> Iterator[None]:
    """Has tethers started by a server meanwhile."""
    _current.append(Server())
    try:
        yield
    finally:
        _current.pop().close()
