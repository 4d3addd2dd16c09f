"""Programs that are hard to end, and the means to see whether they are."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import trio

PYTHON = (sys.executable, "-I", "-S")
DEADLINE = 5.0
KINDS = ("stubborn", "daemon", "holder", "bare")

FAMILY = '''
import os, signal, sys, time

place, then, *kinds = sys.argv[1:]

def register(kind):
    temporary = "%s/.%d" % (place, os.getpid())
    open(temporary, "w").close()
    os.rename(temporary, "%s/%s.%d" % (place, kind, os.getpid()))

def close_output():
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 2)

def stubborn():
    """Ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    close_output()

def daemon():
    """Has a session of its own and no parent, and ignores SIGTERM."""
    os.setsid()
    if os.fork():
        os._exit(0)
    stubborn()

def holder():
    """Keeps the output open."""

def bare():
    """Has an empty environment."""
    register("bare")
    os.execve("/bin/sleep", ["sleep", "300"], {})

def start(kind):
    if os.fork() == 0:
        globals()[kind]()
        register(kind)
        time.sleep(300)

def registered():
    return {name.partition(".")[0] for name in os.listdir(place)}

signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
for kind in kinds:
    start(kind)
while not set(kinds) <= registered():
    time.sleep(0.005)
print("all are there", flush=True)
register("leader")
while then == "stay":
    # Not in one go: a signal that comes just before a sleep is heard after it.
    time.sleep(0.1)
'''


@dataclass(frozen=True)
class Family:
    """A leader and the processes it starts; each registers as a file in ``place``."""

    place: Path
    kinds: tuple[str, ...] = KINDS

    def command(self, then: str) -> tuple[str, ...]:
        """Returns the command of the leader, which then leaves its children behind or stays."""
        self.place.mkdir()
        return (*PYTHON, "-c", FAMILY, str(self.place), then, *self.kinds)

    def pids(self) -> dict[str, int]:
        """Returns who has registered."""
        names = [path.name.split(".") for path in self.place.glob("[a-z]*.*")]
        return {kind: int(pid) for kind, pid in names}

    def complete(self) -> bool:
        """Returns whether all have registered."""
        return set(self.pids()) == {"leader", *self.kinds}

    def survivors(self) -> dict[str, int]:
        """Returns who is alive."""
        return {kind: pid for kind, pid in self.pids().items() if is_running(pid)}

    async def assembled(self) -> None:
        """Waits until all have registered."""
        with trio.fail_after(DEADLINE):
            while not self.complete():
                await trio.sleep(0.005)

    async def dispersed(self) -> None:
        """Waits until all are dead."""
        with trio.fail_after(DEADLINE):
            while self.survivors():
                await trio.sleep(0.005)


def stat_of(pid: int) -> list[str]:
    """Returns the fields of a process from its state on; none when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_running(pid: int) -> bool:
    return stat_of(pid)[:1] not in ([], ["Z"])


def parent_of(pid: int) -> int:
    return int(stat_of(pid)[1])


def wait_until_gone(pid: int) -> None:
    """Waits until a process is dead, without trio."""
    deadline = time.monotonic() + DEADLINE
    while is_running(pid):
        assert time.monotonic() < deadline, f"{pid} is alive"
        time.sleep(0.005)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths
