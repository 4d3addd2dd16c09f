"""Reads files that somebody else may have put there: a pipe nobody writes to, a device that never ends.

Nothing here waits for ever, and nothing reads more than it is told to.
"""

from __future__ import annotations

import os
import select
import stat

from stratum_git.git.whereabouts import pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 30.0
"""Seconds that a pipe may be silent, such as that of ``<(command)`` in a shell. People may type slower."""
CHUNK = 64 * 1024


class TooLargeError(OSError):
    """A file has more bytes than anybody wants of it."""


def read_bounded(path: Path | str, limit: int) -> bytes:
    """Returns the bytes of a file or pipe; raises OSError, TooLargeError for one with more than *limit*."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise IsADirectoryError(f"{path} is a directory")
        data = bytearray()
        while chunk := _chunk(handle, path):
            data += chunk
            if len(data) > limit:
                raise TooLargeError(f"{path} is larger than {limit} bytes")
        return bytes(data)
    finally:
        os.close(handle)


def resolved(path: Path) -> Path:
    """Returns what ``path.resolve()`` does, for what is there in three calls of the kernel's.

    That asks for each folder above as well, and lets another thread on each time.
    """
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            found = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - a text
        finally:
            os.close(handle)
    except (OSError, AttributeError):
        return path.resolve()
    # What was deleted in between, or is outside of what this process sees, has other words with it.
    is_whole = found.startswith("/") and not found.endswith(" (deleted)")
    return type(path)(found) if is_whole else path.resolve()


def read_pointer(path: Path) -> str:
    """Returns the one line of a file of git's, such as a ``gitdir``; raises OSError when it is no such file.

    Only a regular file is read: who may write beside it may have put anything in its place.
    """
    return pointer(os.fspath(path))


def _chunk(handle: int, path: Path | str) -> bytes:
    # First without waiting: a pipe that nobody has open for writing is at its end.
    while True:
        try:
            return os.read(handle, CHUNK)
        except BlockingIOError:
            pass
        patience = None if os.isatty(handle) else PATIENCE
        if not select.select([handle], [], [], patience)[0]:
            raise TimeoutError(f"nothing came out of {path} for {PATIENCE:g} s")
