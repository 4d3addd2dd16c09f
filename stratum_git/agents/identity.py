"""Which process this is, so that nobody takes its successor under the same number for it.

Outside of Linux there is no ``/proc`` to ask: a start time is 0 there, and another process that got the same
number since is taken for the old one.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from stratum_git.model.values import dataclass

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from every other: number, start time in clock ticks, boot, host."""

    pid: int
    start_time: int
    boot_id: str
    host: str


def own_identity() -> ProcessIdentity:
    """Returns the identity of this process."""
    return ProcessIdentity(os.getpid(), _start_time(os.getpid()) or 0, _boot_id(), socket.gethostname())


def identity_of(pid: int) -> ProcessIdentity | None:
    """Returns the identity of a process of this host, or ``None`` when there is none."""
    start = _start_time(pid)
    return None if start is None else ProcessIdentity(pid, start, _boot_id(), socket.gethostname())


def is_alive(identity: ProcessIdentity) -> bool:
    """Returns whether this very process of this host still runs. One of another host never does, here."""
    if identity.host != socket.gethostname() or identity.boot_id != _boot_id():
        return False
    return _start_time(identity.pid) == identity.start_time


def _start_time(pid: int) -> int | None:
    if not (PROC / "self/stat").exists():
        return 0 if _answers(pid) else None
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces and parentheses itself; fields are counted after the last one.
    fields = stat.rpartition(")")[2].split()
    return None if not fields or fields[0] in {"Z", "X"} else int(fields[19])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _boot_id() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
