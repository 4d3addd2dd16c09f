"""Folders for a moment, in the place for temporary files that all users share.

Each is locked by its process, with a lock of the kernel's: one that was killed leaves a folder without, and
whoever sweeps deletes that. Nothing is touched that is not this user's, or is somebody's who is alive.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = re.compile(r"stratum-git-[a-z]+-[0-9a-f]{16}")
"""What they are called, and nothing else is; folders of older versions, which have no lock, are not."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def temporary(what: str) -> Iterator[Path]:
    """Gives an empty folder that no other user can look into, gone at the end. *what* is in its name."""
    place, handle = _taken(what)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(handle)


def sweep_temporary(folder: Path | None = None) -> None:
    """Deletes the folders of this user's processes that are dead; raises nothing."""
    with suppress(OSError), os.scandir(folder or tempfile.gettempdir()) as rows:
        for row in rows:
            if NAME.fullmatch(row.name):
                with suppress(OSError):
                    _delete_abandoned(Path(row.path))


def _taken(what: str) -> tuple[Path, int]:
    """Makes a folder and locks it; again where somebody had swept it away before it was locked."""
    while True:
        place = Path(tempfile.gettempdir(), f"stratum-git-{what}-{secrets.token_hex(8)}")
        place.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            handle = os.open(place, FOLDER)
            # Where there are no such locks, nobody sweeps either.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            if place.exists():
                return place, handle
            os.close(handle)


def _delete_abandoned(place: Path) -> None:
    handle = os.open(place, FOLDER)
    try:
        if os.fstat(handle).st_uid == os.getuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place)
    finally:
        os.close(handle)
