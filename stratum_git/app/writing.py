"""Writes a file whole or not at all: somebody may be reading the one before."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from stratum_git.errors import HostError


def write_whole(path: Path, data: bytes) -> None:
    """Puts *data* in the place of a file, which keeps its permissions; of a link, what it leads to.

    The data is on the disk before it is in place. Raises HostError when it cannot be.
    """
    try:
        place = path.resolve()
        if place.exists() and not place.is_file():
            # A device or a pipe has nothing to be replaced; of a folder this is the error.
            place.write_bytes(data)
        else:
            _replace(place, data)
    except (OSError, RuntimeError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise HostError(f"{path} cannot be written: {said}") from error


def _replace(place: Path, data: bytes) -> None:
    fresh = place.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with fresh.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            fresh.chmod(place.stat().st_mode & 0o7777)
        fresh.replace(place)
    finally:
        with suppress(OSError):
            fresh.unlink()
