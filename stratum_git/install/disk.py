"""Files of somebody else's: read with suspicion, written whole or not at all.

What a link leads to is written, not the link; a new file is on the disk before it is in place.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.files import TooLargeError, read_bounded
from stratum_git.install.refusing import Unusable

LIMIT = 32 * 1024 * 1024
"""Bytes of a file that is edited; a client's own has some hundred thousand."""
AGAIN = "the same command goes on where it stopped; `stratum-git uninstall` takes back what was done"
FRESH = ".stratum-new"
"""How the name of a file ends that is not yet in place; only who holds the lock makes one."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is: *place* is what *path* leads to, *data* is ``None`` where there is nothing."""

    path: Path
    place: Path
    data: bytes | None


def look(path: Path, bounds: Sequence[Path]) -> File:
    """Returns a file; raises Unusable for what is none, or leads out of *bounds*."""
    try:
        place = path.resolve()
        if not any(place.is_relative_to(bound.resolve()) for bound in bounds):
            raise Unusable(
                f"it is a link that leads out, to {place}", "put the file itself there, or edit it by hand"
            )
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _absent(path)
    except (OSError, RuntimeError) as error:
        raise _unreadable(error) from error
    if not stat.S_ISREG(found.st_mode):
        raise Unusable("it is no file", "move it away")
    try:
        data = read_bounded(place, LIMIT)
    except TooLargeError as error:
        raise Unusable(f"it is larger than {LIMIT} bytes", "edit it by hand") from error
    except OSError as error:
        raise _unreadable(error) from error
    for needed in (place, place.parent):
        if not os.access(needed, os.W_OK):
            raise Unusable(f"{needed} is write-protected", f"chmod u+w {needed}")
    return File(path, place, data)


def write(place: Path, data: bytes, *, executable: bool = False, secret: bool = False) -> None:
    """Puts *data* in the place of a file, which keeps its permissions and owner; raises HostError."""
    fresh = place.with_name(f".{place.name}{FRESH}")
    try:
        fresh.unlink(missing_ok=True)
        there = place.stat() if place.exists() else None
        mode = 0o600 if there or secret else 0o777 if executable else 0o666
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if there is not None:
                _take_after(place, fresh, there)
            os.fsync(file.fileno())
        fresh.replace(place)
        _flush(place.parent)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise HostError(f"{place} cannot be written: {error.strerror}", hint=AGAIN) from error


def remove(place: Path) -> None:
    """Deletes a file; raises HostError."""
    try:
        place.unlink(missing_ok=True)
        _flush(place.parent)
    except OSError as error:
        raise HostError(f"{place} cannot be deleted: {error.strerror}", hint=AGAIN) from error


def missing_folders(places: Iterable[Path]) -> list[Path]:
    """Returns the folders that have to be made for these files, outermost first."""
    return sorted({above for place in places for above in place.parents if not above.exists()})


def make_folders(folders: Iterable[Path]) -> None:
    """Makes folders, outermost first; raises HostError."""
    for folder in folders:
        try:
            folder.mkdir(exist_ok=True)
            _flush(folder.parent)
        except OSError as error:
            raise HostError(f"the folder {folder} cannot be made: {error.strerror}", hint=AGAIN) from error


def remove_empty(folders: Iterable[Path]) -> None:
    """Deletes those of *folders* that are empty, innermost first, and what was left in them unfinished."""
    for folder in sorted(set(folders), reverse=True):
        with suppress(OSError):
            for left in folder.glob(f".*{FRESH}"):
                left.unlink()
            folder.rmdir()


def _absent(path: Path) -> File:
    if path.is_symlink():
        raise Unusable("it is a link to nothing", "delete the link, or make what it leads to")
    for above in path.parents:
        if above.exists():
            if not above.is_dir():
                raise Unusable(f"{above} is no folder", "move it away")
            if not os.access(above, os.W_OK):
                raise Unusable(f"{above} cannot be written to", f"chmod u+w {above}")
            break
        if above.is_symlink():
            raise Unusable(f"{above} is a link to nothing", "delete the link, or make what it leads to")
    return File(path, path.resolve(), None)


def _take_after(place: Path, fresh: Path, there: os.stat_result) -> None:
    """Gives a new file the permissions, the owner and the attributes of the one before, but not its times."""
    with suppress(PermissionError):
        if (there.st_uid, there.st_gid) != (fresh.stat().st_uid, fresh.stat().st_gid):
            os.chown(fresh, there.st_uid, there.st_gid)
    shutil.copystat(place, fresh)
    os.utime(fresh)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unreadable(error: BaseException) -> Unusable:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unusable(f"it cannot be read: {why}", "see its permissions")
