"""Who is in a slot: a lock that dies with its process, and a record that does not.

The lock says that somebody is there now, the record whose work lies there. A record without a lock is work
that somebody left behind when he died: it is never overwritten, only recovered.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from stratum_git.git.objects import sync_folder


@dataclass(frozen=True, slots=True)
class Occupant:
    """The attempt whose work is in a slot."""

    flow: str
    step: str
    task: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a slot: who is in it (``None``: nobody), what it was last made for, on which base."""

    occupant: Occupant | None
    kind: str
    base: str
    branch: str


def lock_of(slot: Path) -> FileLock:
    """Returns the lock of a slot, not taken. It may be released by another thread than took it."""
    return FileLock(slot.with_name(f"{slot.name}.lock"), thread_local=False)


def try_lock(slot: Path) -> FileLock | None:
    """Returns the lock of a slot, taken, or ``None`` when somebody has it."""
    lock = lock_of(slot)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def read_record(slot: Path) -> Record | None:
    """Returns the record of a slot; ``None`` when there is none that can be read."""
    try:
        row = json.loads(_record_path(slot).read_text(encoding="utf-8"))
        who = row["occupant"]
        occupant = (
            None if who is None else Occupant(who["flow"], who["step"], who["task"], int(who["attempt"]))
        )
        return Record(occupant, str(row["kind"]), str(row["base"]), str(row["branch"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(slot: Path, record: Record) -> None:
    """Writes the record of a slot, whole or not at all, and has it on the disk before it returns."""
    path = _record_path(slot)
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_folder(path.parent)


def drop_record(slot: Path) -> None:
    """Forgets a slot."""
    _record_path(slot).unlink(missing_ok=True)


def _record_path(slot: Path) -> Path:
    return slot.with_name(f"{slot.name}.json")
