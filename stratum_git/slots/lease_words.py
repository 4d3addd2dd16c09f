"""What the blob of a lease says, as plain as it stands there: for hooks, which have time for nothing else."""

from __future__ import annotations

import json
import os

LONGEST = 24 * 3600.0
"""Seconds that a lease which no process holds may last without being renewed."""


class LeaseWords:
    """A lease as it stands in its blob; ``slots/leases.py`` says what its fields are."""

    __slots__ = (
        "attempt", "boot_id", "ends", "expires", "flow", "holder", "host", "kind", "nonce", "pid", "session",
        "start_time", "step", "task",
    )  # fmt: skip

    def __init__(self, data: bytes) -> None:
        """Reads the words; raises ValueError, KeyError, TypeError, ArithmeticError or RecursionError."""
        row = json.loads(data)
        who = row["identity"]
        self.pid, self.start_time = int(who["pid"]), int(who["start_time"])
        self.boot_id, self.host = str(who["boot_id"]), str(who["host"])
        self.flow, self.step = str(row["flow"]), str(row["step"])
        self.task = None if row["task"] is None else str(row["task"])
        self.attempt = int(row["attempt"])
        self.holder, self.nonce = str(row["holder"]), str(row["nonce"])
        self.expires = float(row["expires"])
        self.kind = "open" if row.get("kind") == "open" else "process"
        self.ends = None if row.get("ends") is None else float(row["ends"])
        self.session = str(row.get("session", ""))

    def has_ended(self, *, now: float, uptime: float) -> bool:
        """Returns whether the time of an open lease is over; ``leases.has_ended`` says by which clock."""
        is_here = (self.host, self.boot_id) == (os.uname().nodename, _boot_id())
        return is_past(self.expires, self.ends if is_here else None, now=now, uptime=uptime)


def words_of(data: bytes) -> LeaseWords | None:
    """Returns what a blob says; ``None`` where that is no lease."""
    try:
        return LeaseWords(data)
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return None


def is_past(expires: float, ends: float | None, *, now: float, uptime: float) -> bool:
    """Returns whether a lease is over; *ends* is seconds since this boot, ``None`` where nobody knows."""
    if ends is not None:
        return uptime >= ends
    return not 0 < expires - now <= LONGEST


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
