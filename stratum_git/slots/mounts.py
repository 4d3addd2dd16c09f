"""File systems that an agent with the rights to do so mounted inside of its slot.

Whoever empties a slot would empty them too: what is mounted there is not the slot's.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

TABLE = Path("/proc/self/mountinfo")
DETACH, NOFOLLOW = 2, 8
"""Of ``umount2``: at once, though somebody may be in it, and never through a link."""


def mounted_in(place: Path) -> tuple[Path, ...]:
    """Returns where something is mounted at or below *place*, the innermost first. Linux only."""
    try:
        rows = TABLE.read_bytes().splitlines()
    except OSError:
        return ()
    top = os.fsencode(place.resolve())
    found = {_unescaped(row.split(b" ")[4]) for row in rows}
    inside = (path for path in found if path == top or path.startswith(top + b"/"))
    return tuple(Path(os.fsdecode(path)) for path in sorted(inside, reverse=True))


def detach(place: Path, *, inner: bool = False) -> bool:
    """Takes away whatever is mounted at or below *place*; returns whether nothing is mounted there now.

    *inner*: what is mounted at the place itself stays, and does not count.
    """
    top = place.resolve()
    mounted = [path for path in mounted_in(place) if not (inner and path == top)]
    if not mounted:
        return True
    umount = ctypes.CDLL(None, use_errno=True).umount2
    for path in mounted:
        umount(os.fsencode(path), DETACH | NOFOLLOW)
    return not [path for path in mounted_in(place) if not (inner and path == top)]


def _unescaped(path: bytes) -> bytes:
    r"""Returns a path of the table, in which spaces and the like are written as ``\040``."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), path)
