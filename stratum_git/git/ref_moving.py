"""Moves one of our refs from a value to another as git does it, without git.

Where a ref is a file with its value, git's rules are few (``lockfile.h``, ``refs/files-backend.c``): whoever
moves it makes ``REF.lock``, which nobody can while there is one; compares; writes the new value there; and
renames it. So everybody else's git sees it as a move of git's. A value that comes or goes has more to it
(names in each other's way, ``packed-refs``), as has a symbolic ref or one with a reflog, and who finds a lock
waits for it: all of that is left to git, which also says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stratum_git.git.blank_files import BlankFiles
from stratum_git.model.ids import Oid, RefName


def move(
    common_dir: Path,
    ref: RefName,
    new: Oid,
    old: Oid,
    first: Callable[[int], None],
    *,
    blanks: BlankFiles | None = None,
) -> bool:
    """Moves *ref* from *old* to *new*; returns whether it did: git has to do it else, and nothing moved.

    *first* is done before the ref moves, and given the open file with the value, which it is to put on the
    disk; *new* is an object of the repository then. What it raises, the caller gets.
    """
    place = f"{common_dir}/{ref}"
    if any(os.path.lexists(f"{common_dir}/{name}") for name in ("reftable", f"logs/{ref}")):
        return False
    try:
        handle = (blanks or BlankFiles()).make(f"{place}.lock", 0o666)
    except OSError:
        return False
    try:
        is_written = _is_at(place, old) and _is_written(handle, new)
        if is_written:
            first(handle)
            os.rename(f"{place}.lock", place)  # noqa: PTH104 - texts, since somebody waits
    except BaseException:
        _drop(place)
        raise
    finally:
        os.close(handle)
    if not is_written:
        _drop(place)
    return is_written


def _is_at(place: str, old: Oid) -> bool:
    """Returns whether a file has this value and nothing else; a symbolic ref has another."""
    with suppress(OSError):
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.read(handle, len(old) + 2) == f"{old}\n".encode()
        finally:
            os.close(handle)
    return False


def _is_written(handle: int, new: Oid) -> bool:
    value = f"{new}\n".encode()
    with suppress(OSError):
        return os.write(handle, value) == len(value)
    return False


def _drop(place: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(f"{place}.lock")  # noqa: PTH108 - a text
