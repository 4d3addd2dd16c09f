"""Whether a disk keeps the order in which names were made, so that to wait for the last is to wait for all.

XFS and ext4 write such changes into one journal, in the order in which they were made: when the last of them
is there, so are those before. That holds within a file system, and of names alone: what a file has in it has
to be flushed all the same. Of any other one (btrfs, ext4 without a journal, network disks) nothing is known.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
JOURNALS = Path("/proc/fs/jbd2")
"""Has an entry for each journal of ext4: the disk's name, and the number of the file that is the journal."""
INSIDE = "-8"


def keeps_order(*places: str) -> bool:
    """Returns whether names in these folders come to be on the disk in the order in which they are made."""
    devices = {os.stat(place).st_dev for place in places}  # noqa: PTH116 - texts, since somebody waits
    return len(devices) == 1 and _is_journalled(devices.pop())


@cache
def _is_journalled(device: int) -> bool:
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        rows = [row.split() for row in MOUNTS.read_text(errors="replace").splitlines()]
        kinds = {row[row.index("-", 6) + 1] for row in rows if row[2] == number}
        name = Path("/sys/dev/block", number).resolve().name
    except (OSError, ValueError, IndexError):
        return False
    return kinds == {"xfs"} or (kinds <= {"ext4", "ext3"} and (JOURNALS / f"{name}{INSIDE}").exists())
