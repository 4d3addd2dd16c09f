"""Subvolumes of btrfs: folders of which a copy is made at once, however much is in them. Linux only."""

from __future__ import annotations

import array
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CREATE, SNAPSHOT, DESTROY = 0x5000940E, 0x50009417, 0x5000940F
"""``BTRFS_IOC_SUBVOL_CREATE``, ``_SNAP_CREATE_V2`` and ``_SNAP_DESTROY`` of linux/btrfs.h."""
TOP = 256
"""The inode number of the top of every subvolume."""
SIZE = 4096
"""Bytes of the arguments of each of these."""


def create(path: Path) -> None:
    """Makes an empty subvolume; raises OSError where there can be none (ENOTTY: it is no btrfs)."""
    _asked(path, CREATE, struct.pack("=q", 0))


def snapshot(source: Path, path: Path) -> None:
    """Makes a copy of the subvolume *source*, which may be written to; raises OSError."""
    with _opened(source) as handle:
        _asked(path, SNAPSHOT, struct.pack("=qQQ4Q", handle, 0, 0, 0, 0, 0, 0))


def destroy(path: Path) -> bool:
    """Deletes a subvolume, whatever is in it; returns whether it is gone. What is none is left alone."""
    with suppress(OSError):
        if path.lstat().st_ino == TOP:
            _asked(path, DESTROY, struct.pack("=q", 0))
            return True
    return False


def _asked(path: Path, what: int, begin: bytes) -> None:
    name = os.fsencode(path.name)
    words = array.array("B", begin + name + b"\0" * (SIZE - len(begin) - len(name)))
    with _opened(path.parent) as handle:
        fcntl.ioctl(handle, what, words)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)
