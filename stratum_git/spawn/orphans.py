"""Finds what a process that is gone had started, and sees it out.

Whatever is started here bears a mark in its environment: who started it and, of an attempt, for which log.
So whoever comes after a crash can tell. Only that counts as left behind whose owner is provably dead: its
number is free, or another process has it by now, in the same boot and the same namespace of numbers. What a
live process holds, and what nothing is known of, is spared.

Linux only: elsewhere nothing is found. What sheds its environment *and* its session is not found either; a
tether that is alive ends it all the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.model.values import dataclass
from stratum_git.spawn import outside

HELPER = "STRATUM_HELPER"
"""Marks gits, tethers and whatever else ends by itself when it has done its work: it is waited for."""
ATTEMPT = "STRATUM_TETHER"
"""Marks what an agent or another command of a spec is, with all that it starts: it is ended."""
GRACE = 2.0
"""Seconds between asking and killing."""
PATIENCE = 15.0
LOOK = 0.02
BECOMING = 500
"""Looks, a thousandth of a second apart, at a process that is just becoming another program."""
SURE = 3
"""Looks after which one that is not has no environment."""
SIZE, ENVIRONMENT = 20, 48
"""Where ``stat`` has the size of a process and the end of its environment, counted from the state on."""
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of processes that are gone: what has to be ended, and what ends by itself."""

    strays: frozenset[int]
    helpers: frozenset[int]


def own_mark() -> str:
    """Returns the mark of what this process starts."""
    return _own_mark(os.getpid())


def mark_of(log: Path) -> str:
    """Returns the mark of an attempt, or of a command for one, that writes to *log*; each is another."""
    return f"{os.urandom(12).hex()} {own_mark()} {log}"


def is_dead(owner: str) -> bool:
    """Returns whether the process of a mark is gone; not of one that cannot be told from here."""
    pid, _, rest = owner.partition(".")
    start, _, where = rest.partition(".")
    if not pid.isdigit() or not where or where != _here():
        return False
    return _start(int(pid)) != start


def end_orphans(attempts: Path, places: Sequence[Path], patience: float = PATIENCE) -> None:
    """Returns when nothing is left of the attempts whose logs are below *attempts*, nor a helper in *places*.

    Raises HostError when something has not gone after *patience* seconds.
    """
    if not (PROC / "self/stat").exists():
        return
    began = time.monotonic()
    asked: set[int] = set()
    while (left := _left(attempts, places)).strays or left.helpers:
        waited = time.monotonic() - began
        if waited > patience:
            numbers = ", ".join(map(str, sorted(left.strays | left.helpers)))
            hint = "see what they wait for, or end them, and try again"
            raise HostError(f"processes of a run that is gone do not end: {numbers}", hint=hint)
        for pid in left.strays if waited > GRACE else left.strays - asked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL if waited > GRACE else signal.SIGTERM)
        asked |= left.strays
        time.sleep(LOOK)


def environment_of(pid: int) -> list[bytes]:
    """Returns the rows of a process's environment; none where that may not be seen.

    While it becomes another program it has none for a moment: that is waited for.
    """
    empty = 0
    for _ in range(BECOMING):
        try:
            data = outside.read(pid, "environ")
        except OSError:
            return []
        if data:
            return data.split(b"\0")
        if _is_becoming(pid):
            time.sleep(0.001)
            continue
        # It may have become that other one since.
        empty += 1
        if empty == SURE:
            break
    return []


def _is_becoming(pid: int) -> bool:
    fields = _stat(pid)
    return len(fields) > ENVIRONMENT and fields[SIZE] != b"0" and fields[ENVIRONMENT] == b"0"


def _left(attempts: Path, places: Sequence[Path]) -> Left:
    prefix = f"{attempts}/"
    strays, helpers = set[int](), set[int]()
    sessions: dict[int, int | None] = {}
    for pid in _processes():
        sessions[pid] = _session(pid)
        marks = _marks(pid)
        owner, _, log = marks.get(ATTEMPT, "").partition(" ")[2].partition(" ")
        if log.startswith(prefix) and is_dead(owner):
            strays.add(pid)
        elif is_dead(marks.get(HELPER, "")) and _is_in(pid, places):
            helpers.add(pid)
    # Who sheds his environment is still in the session, which is the attempt's if its leader was.
    alike = {at for at in map(sessions.get, strays) if at in strays or (at and sessions.get(at) is None)}
    strays |= {pid for pid, at in sessions.items() if at in alike}
    return Left(frozenset(strays), frozenset(helpers - strays))


def _processes() -> Iterator[int]:
    own = os.getpid()
    numbers = (int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208 - names, not paths
    return (pid for pid in numbers if pid != own)


def _marks(pid: int) -> dict[str, str]:
    rows = (row.partition(b"=") for row in environment_of(pid) if row.startswith(b"STRATUM_"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in rows}


def _is_in(pid: int, places: Sequence[Path]) -> bool:
    try:
        at = Path(outside.link(pid, "cwd"))
    except OSError:
        return False
    return any(at.is_relative_to(place) for place in places)


@lru_cache(maxsize=1)
def _own_mark(pid: int) -> str:
    return f"{pid}.{_start(pid)}.{_here()}"


@lru_cache(maxsize=1)
def _here() -> str:
    """Returns where numbers of processes mean what they mean here: the boot, and the namespace."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}.{os.stat(PROC / 'self/ns/pid').st_ino}"  # noqa: PTH116 - as short
    except OSError:
        return ""


def _start(pid: int) -> str | None:
    """Returns when a process was started; ``None`` when there is none, or no more than its exit code."""
    fields = _stat(pid)
    return None if not fields or fields[0] in {b"Z", b"X"} else fields[19].decode()


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return None if not fields or fields[0] in {b"Z", b"X"} else int(fields[3])


def _stat(pid: int) -> list[bytes]:
    # The name in parentheses may hold spaces and parentheses itself.
    return _read(pid, "stat").rpartition(b")")[2].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return outside.read(pid, name)
    except OSError:
        return b""
