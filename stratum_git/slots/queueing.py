"""Waits for a lock that processes hold in turn: the kernel's, which ``filelock`` takes as well.

That library is not loaded for it: it takes as long as an interpreter, and clients wait for their slots.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from stratum_git.slots.locking import SlotLock

POLL = 0.01
"""Seconds after which it is tried again."""


def lock_within(path: Path, seconds: float) -> SlotLock | None:
    """Returns the lock of the file at *path*; ``None`` when others held it all that time. Raises OSError."""
    for left in range(int(seconds / POLL), -1, -1):
        lock = SlotLock.taken(os.fspath(path))
        if lock is not None or not left:
            return lock
        select.select([], [], [], POLL)
    return None
