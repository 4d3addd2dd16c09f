"""Puts a new file in the place of an old one without waiting for the disk.

When one file is renamed over another, the kernel waits for what it is writing of the old one, and ext4
writes the new one out first (``auto_da_alloc``): milliseconds, or more. It does neither where the two
change their names. After a power cut the file may be empty then: this is for what can be made again.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

HERE, EXCHANGE = -100, 2
"""``AT_FDCWD``, ``RENAME_EXCHANGE``"""


def put_in_place(fresh: Path, place: Path) -> None:
    """Gives *fresh* the name of *place*, in one step, and perhaps the other way round. Raises OSError."""
    names = os.fsencode(fresh), os.fsencode(place)
    if not (
        hasattr(_libc(), "renameat2") and _libc().renameat2(HERE, names[0], HERE, names[1], EXCHANGE) == 0
    ):
        # There was nothing yet, or the file system or the kernel does not know it.
        fresh.replace(place)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
