"""Finds and kills what a tether held, when the tether itself was killed and cannot do it any more.

Its processes belong to nobody by then. They are known by the session of the command, and by the mark that
the tether put into the environment of everything below it: either alone can be shed, by ``setsid`` or by a
clean environment. Without ``/proc`` only the command's own group is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import trio

from stratum_git.spawn import outside
from stratum_git.spawn.orphans import ATTEMPT as MARK
from stratum_git.spawn.orphans import environment_of

ROUNDS = 200
PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Said:
    """What a tether told: the command's session, and how it ended or what hindered its start."""

    session: int | None = None
    errno: int | None = None
    status: int | None = None
    leftovers: int = 0

    @property
    def over(self) -> bool:
        """Returns whether nothing is left, by its word."""
        return self.errno is not None or self.status is not None


def parse_said(report: bytes) -> Said:
    """Returns what the lines of a tether's report say."""
    facts: dict[str, int] = {}
    for line in report.splitlines():
        facts |= json.loads(line)
    return Said(facts.get("pid"), facts.get("errno"), facts.get("status"), facts.get("leftovers", 0))


async def end_strays(mark: str, session: int | None) -> None:
    """Kills everything of a mark or session until nothing is left, for a few seconds at most."""
    if not _can_look():
        _kill_group(session)
        return
    wanted = f"{MARK}={mark}".encode()
    for _ in range(ROUNDS):
        strays = [pid for pid in _pids() if _is_stray(pid, wanted, session)]
        if not strays:
            return
        for pid in strays:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        await trio.sleep(PAUSE)


def _kill_group(session: int | None) -> None:
    if session is not None:
        with contextlib.suppress(OSError):
            os.killpg(session, signal.SIGKILL)


def _can_look() -> bool:
    return Path("/proc/self/stat").exists()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_stray(pid: int, mark: bytes, session: int | None) -> bool:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    # A zombie is left to its parent, which may never look.
    if not fields or fields[0] == b"Z":
        return False
    return int(fields[3]) == session or mark in environment_of(pid)


def _read(pid: int, name: str) -> bytes:
    try:
        return outside.read(pid, name)
    except OSError:
        return b""
