"""Copies of files that share their blocks with what they were copied from. Linux only."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from stratum_git.git.stat_data import entries

FICLONE = 0x40049409
GITLINK = 0o160000
RUNS = 0o100
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def clone(source: Path, target: Path) -> None:
    """Makes *target*, a new file with the blocks, the mode and the time of *source*; raises OSError."""
    _clone(os.fsencode(source), os.fsencode(target))


def clone_files(source: Path, target: Path, index: bytes, width: int) -> None:
    """Copies the files that *index* names from *source* into the folder *target*; raises OSError.

    Folders of submodules come out empty. Raises UnknownIndex for an index that is not read here.
    """
    here, there = os.fsencode(source), os.fsencode(target)
    made = {b""}
    for entry in entries(index, width):
        folder = entry.path.rpartition(b"/")[0]
        if folder not in made:
            _make_folders(there, folder, made)
        old, new = here + b"/" + entry.path, there + b"/" + entry.path
        if entry.mode == GITLINK:
            os.mkdir(new)  # noqa: PTH102 - bytes: names may be anything
        elif stat.S_ISLNK(entry.mode) and os.path.islink(old):  # noqa: PTH114
            # Else it is a file that says where it leads: git makes those where `core.symlinks` is off.
            os.symlink(os.readlink(old), new)  # noqa: PTH115, PTH211
        else:
            _clone(old, new)


def _make_folders(top: bytes, folder: bytes, made: set[bytes]) -> None:
    missing = []
    while folder not in made:
        missing.append(folder)
        folder = folder.rpartition(b"/")[0]
    for one in reversed(missing):
        os.mkdir(top + b"/" + one)  # noqa: PTH102
        made.add(one)


def _clone(old: bytes, new: bytes) -> None:
    source = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        at = os.fstat(source)
        target = os.open(new, NEW, stat.S_IMODE(at.st_mode))
        try:
            fcntl.ioctl(target, FICLONE, source)
            os.utime(target, ns=(at.st_atime_ns, at.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)
