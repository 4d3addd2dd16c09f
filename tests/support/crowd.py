"""Processes that begin at the very same moment: forks of one that is loaded, held at a gate.

Whoever uses it has one thread: it is meant for programs, not for pytest's own process.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stratum_git.model.ids import Json

Job = Callable[[], Json]


@dataclass(frozen=True)
class Ended:
    """What one of the crowd came to: what it returned, or why it did not, and how long it took."""

    value: Json
    trouble: str
    seconds: float


def together(jobs: Sequence[Job]) -> list[Ended]:
    """Runs each job in a process of its own, all released at once, and returns what they came to."""
    gate, opened = os.pipe()
    ready, here = os.pipe()
    members = []
    for job in jobs:
        answer, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(opened)
            os.close(answer)
            _take_part(job, gate, here, said)
        os.close(said)
        members.append((pid, answer))
    os.close(gate)
    os.close(here)
    _count(ready, len(members))
    os.close(opened)
    return [_heard(pid, answer) for pid, answer in members]


def _take_part(job: Job, gate: int, here: int, said: int) -> None:
    """Waits for the gate, does the job, and tells what it came to. Does not return."""
    row: dict[str, Json] = {"value": None, "trouble": "", "seconds": 0.0}
    try:
        os.write(here, b"x")
        os.close(here)
        os.read(gate, 1)
        begun = time.monotonic()
        row["value"] = job()
        row["seconds"] = time.monotonic() - begun
    except BaseException:  # noqa: BLE001 - whoever waits is told
        row["trouble"] = traceback.format_exc()[-4000:]
    finally:
        with os.fdopen(said, "w") as file:
            json.dump(row, file)
        os._exit(0)


def _count(ready: int, members: int) -> None:
    """Waits until all are at the gate."""
    while members and (seen := os.read(ready, members)):
        members -= len(seen)
    os.close(ready)


def _heard(pid: int, answer: int) -> Ended:
    with os.fdopen(answer) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return Ended(**json.loads(text)) if text else Ended(None, "it said nothing", 0.0)


def share(values: Sequence[float], part: float) -> float:
    """Returns the value below which *part* of them lie, in milliseconds; 0 of none."""
    return round(sorted(values)[min(len(values) - 1, int(len(values) * part))] * 1000, 1) if values else 0.0
