"""Runs what is to be compared in turn, since what else a machine does counts in all of it.

Every round runs each way once, in an order that is drawn anew. A *way* is a function; what it takes is the
time of the call, or what it says itself, where only a part of it counts: by :func:`started` for a process
with what that started, or any :class:`Took`. Two ways are compared by the median of the ratios within rounds.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Took:
    """What one call took: seconds on the clock, seconds of processors, and the largest process in KiB."""

    wall: float
    cpu: float = 0.0
    peak: int = 0
    said: bytes = b""


Way = Callable[[], Took | None]


class FailedError(Exception):
    """A command that is measured ended badly, so that its time says nothing."""


@dataclass
class Samples:
    """What the ways took, one entry for each round; the rounds of all of them are the same."""

    of: dict[str, list[Took]] = field(default_factory=dict)

    def ms(self, way: str) -> dict[str, float]:
        """Returns median, fastest and slowest of a way in milliseconds."""
        times = [took.wall * 1000 for took in self.of[way]]
        return {name: rounded(how(times)) for name, how in HOWS.items()} | {"rounds": len(times)}

    def median_ms(self, way: str) -> float:
        """Returns the median of a way in milliseconds."""
        return rounded(statistics.median(took.wall * 1000 for took in self.of[way]))

    def ratio(self, way: str, beside: str) -> float:
        """Returns how many times as long as *beside* a way takes: the median of the ratios within rounds."""
        pairs = zip(self.of[way], self.of[beside], strict=True)
        return rounded(statistics.median(one.wall / max(other.wall, 1e-9) for one, other in pairs))

    def cpu_ms(self, way: str) -> float:
        """Returns the median of what processors were busy for, in milliseconds."""
        return rounded(statistics.median(took.cpu * 1000 for took in self.of[way]))

    def peak_mib(self, way: str) -> float:
        """Returns the largest process of any round, in MiB."""
        return rounded(max(took.peak for took in self.of[way]) / 1024)


HOWS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "min": min,
    "max": max,
}


def alternate(ways: Mapping[str, Way], rounds: int, *, warm: int = 1, seed: int = 0) -> Samples:
    """Runs every way once in each of *rounds* rounds, after *warm* rounds that do not count."""
    dice, found = random.Random(seed), Samples({name: [] for name in ways})
    for number in range(-warm, rounds):
        for name in dice.sample(list(ways), len(ways)):
            took = timed(ways[name])
            if number >= 0:
                found.of[name].append(took)
    return found


def timed(way: Way) -> Took:
    """Returns what one call took: what it says itself, else its time in this process."""
    # What former ways left is not to be cleared away in somebody else's time.
    gc.collect()
    began, cpu = time.perf_counter(), time.process_time()
    said = way()
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    return said if said is not None else Took(wall, used)


def started(
    words: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
    given: bytes = b"",
    *,
    codes: Sequence[int] = (0,),
) -> Took:
    """Returns what a process took, with those it started and waited for.

    Raises:
        FailedError: It ended with a code that is not in *codes*.
    """
    pipe = subprocess.PIPE
    began = time.perf_counter()
    process = subprocess.Popen(
        words, cwd=cwd, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(given)
        process.stdin.close()
    except BrokenPipeError:
        pass
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode not in codes:
        raise FailedError(f"{' '.join(words)} ended with {process.returncode}: {os.fsdecode(said[-2000:])}")
    return Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss, said)


def rounded(value: float) -> float:
    """Returns a value with three digits that count, and no more after the point than that takes."""
    return float(f"{value:.3g}") if abs(value) < 1000 else float(round(value))
