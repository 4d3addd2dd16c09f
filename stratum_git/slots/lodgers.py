"""Where a flow's work lies: asked of the records alone, whoever holds the slots."""

from __future__ import annotations

import fcntl
from pathlib import Path

from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Occupied, read_record


def slot_of(folders: StateFolders, flow: str) -> Path | None:
    """Returns the slot that a flow's work lies in, the first of several; ``None`` if there is none."""
    place = folders.root / "slots"
    for path in sorted(place.glob("*.json")) if place.is_dir() else ():
        slot = path.with_suffix("")
        record = read_record(slot)
        if isinstance(record, Occupied) and record.occupant.flow == flow and slot.is_dir():
            return slot
    return None


def is_run(folders: StateFolders, flow: str) -> bool:
    """Returns whether a runner has a flow. It is only looked: no lock is made for it, and none changed."""
    try:
        with (folders.root / "locks" / f"flow-{flow}.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
