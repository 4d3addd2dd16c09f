"""Looks at processes for one that sits in a user namespace of its own and may not look out of it.

Whoever is in such a namespace may not read what processes outside of it have in their environment, open, or
as their directory, although they are the same user's; from outside one may look in. So before a process goes
in it leaves a fork of itself behind, which does nothing but look, and ends when its socket is closed: the
death of the other process does that too.

Linux only; elsewhere nobody goes in, and looks are what they always are.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import socket
import struct
import threading
from pathlib import Path

from stratum_git.errors import HostError

PROC = Path("/proc")
ANSWER = struct.Struct("!iQ")
"""Before an answer: the errno of what went wrong, or 0, and the number of its bytes."""
LONGEST = 4096
"""Bytes of a question."""


class Blind(HostError):  # noqa: N818 - reads as what happened
    """Nobody is left who may look at processes outside: who is there cannot be told."""

    def __init__(self) -> None:
        hint = "try again; if that stays so, `slots: {rung: cold}` in .stratum/config.yaml needs nobody there"
        super().__init__("the process that looks out of the namespace is gone", hint=hint)


class Lookout:
    """A process outside, and our end of its socket. Safe for several threads."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _serve(theirs)
            finally:
                os._exit(0)
        theirs.close()

    def ask(self, verb: str, pid: int, name: str) -> bytes:
        """Returns what a look outside has seen; raises OSError as the look itself would, and Blind."""
        with self._lock:
            try:
                self._socket.sendall(f"{verb} {pid} {name}\n".encode())
                number, length = ANSWER.unpack(self._received(ANSWER.size))
                data = self._received(length)
            except OSError as error:
                raise Blind from error
        if number:
            raise OSError(number, os.strerror(number), f"/proc/{pid}/{name}")
        return data

    def close(self) -> None:
        """Ends the process outside."""
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _received(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            more = self._socket.recv(min(length - len(data), 1 << 20))
            if not more:
                raise Blind
            data += more
        return bytes(data)


_lookouts: list[Lookout] = []


def leave_lookout() -> None:
    """Leaves a process behind that looks; the caller goes where it may not look out."""
    _lookouts.append(Lookout())


def recall_lookout() -> None:
    """Ends the process that was left last: the caller did not go in."""
    _lookouts.pop().close()


def read(pid: int, name: str) -> bytes:
    """Returns a file of a process, such as ``environ``; raises OSError where that may not be seen."""
    return _seen("read", pid, name)


def link(pid: int, name: str) -> str:
    """Returns where a link of a process leads, such as ``cwd``; raises OSError as :func:`read`."""
    return os.fsdecode(_seen("link", pid, name))


def handles(pid: int) -> tuple[str, ...]:
    """Returns what a process has open, as the links in ``fd`` say it; raises OSError as :func:`read`."""
    data = _seen("open", pid, "fd")
    return tuple(os.fsdecode(text) for text in data.split(b"\0")) if data else ()


def _seen(verb: str, pid: int, name: str) -> bytes:
    try:
        return _look(verb, pid, name)
    except PermissionError:
        # What is not ours may not be looked at from anywhere.
        if not _lookouts or not _is_own(pid):
            raise
    return _lookouts[-1].ask(verb, pid, name)


def _is_own(pid: int) -> bool:
    return os.stat(PROC / str(pid)).st_uid == os.getuid()  # noqa: PTH116 - as short


def _look(verb: str, pid: int, name: str) -> bytes:
    path = PROC / str(pid) / name
    if verb == "read":
        return path.read_bytes()
    if verb == "link":
        return os.fsencode(path.readlink())
    # Whatever is closed meanwhile is not open.
    texts = (_link_or_nothing(path / number) for number in os.listdir(path))  # noqa: PTH208 - names, not paths
    return b"\0".join(text for text in texts if text)


def _link_or_nothing(path: Path) -> bytes:
    try:
        return os.fsencode(path.readlink())
    except FileNotFoundError:
        return b""


def _serve(channel: socket.socket) -> None:
    """Answers questions until the socket is closed; in a session of its own, and in no one's directory."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    os.chdir("/")
    gc.disable()
    _close_all_but(channel.fileno())
    with channel, channel.makefile("rb") as questions:
        while question := questions.readline(LONGEST):
            verb, pid, name = question.decode().split()
            try:
                data, wrong = _look(verb, int(pid), name), 0
            except OSError as error:
                data, wrong = b"", error.errno or errno.EIO
            channel.sendall(ANSWER.pack(wrong, len(data)) + data)


def _close_all_but(kept: int) -> None:
    os.closerange(0, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
