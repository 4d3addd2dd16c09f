"""File systems that an agent with the rights to do so mounted inside of its slot.

Whoever empties a slot would empty them too: what is mounted there is not the slot's.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from stratum_git.git.files import resolved

TABLE = Path("/proc/self/mountinfo")
DETACH, NOFOLLOW = 2, 8
"""Of ``umount2``: at once, though somebody may be in it, and never through a link."""
SPECIAL = (b",", b":", b"\\", b'"', b"\n")
"""What would have to be written otherwise in the options of a mount, and not by all kernels alike."""
PAGE = 4096
AT_CWD, AT_NOFOLLOW, STATX_UNIQUE, MOUNT_FIELD = -100, 0x100, 0x4000, 0x90
"""Of ``statx``: what is asked, and where in its answer the number of the mount is."""
LISTMOUNT = 458
"""The number of that call, the same on all machines."""


def mounted_in(place: Path) -> tuple[Path, ...]:
    """Returns where something is mounted at or below *place*, the innermost first. Linux only."""
    top = os.fsencode(resolved(place))
    found = {_place_of(row) for row in _rows_with(top)}
    inside = (path for path in found if path == top or path.startswith(top + b"/"))
    return tuple(Path(os.fsdecode(path)) for path in sorted(inside, reverse=True))


def mounts_of(pid: int) -> frozenset[Path]:
    """Returns where something is mounted as a process sees it; raises OSError when that may not be seen."""
    rows = (TABLE.parents[1] / str(pid) / TABLE.name).read_bytes().splitlines()
    return frozenset(Path(os.fsdecode(_unescaped(row.split(b" ", 5)[4]))) for row in rows)


def detach(place: Path, *, inner: bool = False) -> bool:
    """Takes away whatever is mounted at or below *place*; returns whether nothing is mounted there now.

    *inner*: what is mounted at the place itself stays, and does not count.
    """
    top = resolved(place)
    if inner and (number := mount_of(top)) and number != mount_of(top.parent) and not has_inner(number):
        # The table of a thousand mounts takes the kernel ten milliseconds.
        return True
    mounted = [path for path in mounted_in(place) if not (inner and path == top)]
    if not mounted:
        return True
    for path in mounted:
        _libc().umount2(os.fsencode(path), DETACH | NOFOLLOW)
    return not [path for path in mounted_in(place) if not (inner and path == top)]


def lay_over(lowers: Sequence[Path], upper: Path, work: Path, place: Path, *, by_user: bool) -> None:
    """Mounts an overlay at *place*; raises OSError, with what the kernel says.

    *lowers* are looked through from the first to the last, *upper* takes what is written: but for a folder
    that was moved, which has its old name there and not its files. It is never waited for the disk: what a
    power cut takes is what it takes from any folder. *by_user*: in a namespace of the user's own, where
    the folders of the base can be moved by copying them only.
    """
    folders = [os.fsencode(path) for path in (*lowers, upper, work)]
    if any(mark in path for path in folders for mark in SPECIAL):
        raise OSError(errno.EINVAL, "a path with a comma, colon or backslash cannot be laid over", str(place))
    own = b"userxattr" if by_user else b"redirect_dir=on,metacopy=off,index=off,xino=off"
    words = (b":".join(folders[:-2]), folders[-2], folders[-1], own)
    data = b"lowerdir=%b,upperdir=%b,workdir=%b,%b,volatile" % words
    if len(data) >= PAGE:
        raise OSError(errno.ENAMETOOLONG, "the paths of the layers are too long together", str(place))
    if _libc().mount(b"stratum-git", os.fsencode(place), b"overlay", 0, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))


def take_off(place: Path) -> None:
    """Takes away what is mounted at *place*, however often; it is not looked at what is mounted inside.

    Raises OSError where that is not allowed.
    """
    target, flags = os.fsencode(place), NOFOLLOW
    while True:
        number = 0 if _libc().umount2(target, flags) == 0 else ctypes.get_errno()
        if number in {errno.EINVAL, errno.ENOENT}:
            return
        if number == errno.EPERM and place not in mounted_in(place):
            # Who may not unmount is not even told that there is nothing.
            return
        if number == errno.EBUSY and not flags & DETACH:
            flags |= DETACH
        elif number != 0:
            raise OSError(number, os.strerror(number), str(place))


def let_go(place: Path) -> int | None:
    """Does what :func:`take_off` does; returns what still has to be closed, ``None`` if nothing was there.

    Whoever closes it waits until the kernel has forgotten what it knew of the files. That takes as long as
    looking at them did: a tenth of a second where somebody asked for the status of 25,000.
    """
    try:
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        take_off(place)
        return None
    try:
        # Whoever has it open keeps it, though nobody finds it at its place any more.
        _libc().umount2(os.fsencode(place), NOFOLLOW | DETACH)
        take_off(place)
    except BaseException:
        os.close(handle)
        raise
    return handle


def is_laid_over(place: Path, upper: Path) -> bool:
    """Returns whether an overlay with this *upper* is what one sees at *place*."""
    target = os.fsencode(place)
    # What was mounted last comes last.
    seen = next((row for row in reversed(_rows_with(target)) if _place_of(row) == target), b"")
    kind, _, rest = seen.partition(b" - ")[2].partition(b" ")
    return kind == b"overlay" and b"upperdir=" + os.fsencode(upper) in rest.rpartition(b" ")[2].split(b",")


def mount_of(place: Path) -> int:
    """Returns the number of the mount that *place* is in, which no other one ever has.

    It is 0 where the kernel does not tell; that of Linux 6.8 does.
    """
    facts = ctypes.create_string_buffer(256)
    try:
        done = _libc().statx(AT_CWD, os.fsencode(place), AT_NOFOLLOW, STATX_UNIQUE, facts)
    except AttributeError:
        return 0
    told = done == 0 and int.from_bytes(facts.raw[:4], sys.byteorder) & STATX_UNIQUE
    return int.from_bytes(facts.raw[MOUNT_FIELD : MOUNT_FIELD + 8], sys.byteorder) if told else 0


def has_inner(mount: int) -> bool:
    """Returns whether something is mounted inside of a mount, by its number; ``True`` if it is not told."""
    asked = struct.pack("=IIQQ", 24, 0, mount, 0)
    return bool(_libc().syscall(LISTMOUNT, asked, ctypes.create_string_buffer(8), 1, 0) != 0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _rows_with(path: bytes) -> list[bytes]:
    """Returns the rows of the table that have *path* in them."""
    try:
        table = TABLE.read_bytes()
    except OSError:
        return []
    written = re.sub(rb"[\x00- #\\]", lambda found: b"\\%03o" % ord(found[0]), path)
    return [row for row in table.splitlines() if written in row] if written in table else []


def _place_of(row: bytes) -> bytes:
    return _unescaped(row.split(b" ", 5)[4])


def _unescaped(path: bytes) -> bytes:
    r"""Returns a path of the table, in which spaces and the like are written as ``\040``."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), path)
