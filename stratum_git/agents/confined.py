"""Files of one directory, and no others: what a model asks for is read and written nowhere else.

A path is walked from the directory's descriptor, a name at a time, and a symbolic link on it is refused:
what is checked is what is opened, whoever renames things meanwhile. ``.git`` is git's, and neither read nor
written.
"""

from __future__ import annotations

import os
import posixpath
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LARGEST = 16 * 1024 * 1024
"""Bytes of a file that is read or written."""


class NotAllowed(Exception):  # noqa: N818 - reads as what it is, and goes no further than to the model
    """What was asked for is outside of the directory, or not to be touched, or not there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a folder: its path from the top, and whether it is a folder, a file or something else."""

    path: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Confined:
    """The files below ``root``."""

    root: Path

    def read(self, path: str) -> bytes:
        """Returns the content of a file."""
        *folders, name = self._parts(path)
        with self._folder(folders) as folder:
            return _read_at(folder, name, path)

    def write(self, path: str, data: bytes) -> None:
        """Puts a file in place as a whole; makes the folders on its way, and keeps its mode."""
        if len(data) > LARGEST:
            raise NotAllowed(f"{path} would have more than {LARGEST} bytes")
        *folders, name = self._parts(path)
        with self._folder(folders, make=True) as folder:
            mode = _mode_at(folder, name, path)
            beside = f".{secrets.token_hex(8)}.new"
            made = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
            try:
                with os.fdopen(made, "wb") as file:
                    file.write(data)
                    if mode is not None:
                        os.fchmod(file.fileno(), mode)
                os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(beside, dir_fd=folder)
                raise

    def entries(self, path: str) -> list[Entry]:
        """Returns what is in a folder, by name; ``.git`` is left out."""
        parts = self._parts(path) if path not in {"", "."} else []
        with self._folder(parts) as folder:
            return [_entry_at(folder, name, "/".join((*parts, name))) for name in _names(folder)]

    def walk(self, path: str = ".") -> Iterator[Entry]:
        """Yields all files below a folder, by name, links and special files left out."""
        todo = self.entries(path)[::-1]
        while todo:
            entry = todo.pop()
            if entry.kind == "folder":
                try:
                    todo += self.entries(entry.path)[::-1]
                except (OSError, NotAllowed):
                    continue
            elif entry.kind == "file":
                yield entry

    def _parts(self, path: str) -> list[str]:
        """Returns the names on the way to *path*."""
        text = path.removeprefix(f"{self.root}/") if path != str(self.root) else "."
        clean = posixpath.normpath(text)
        parts = clean.split("/")
        if "\0" in text or posixpath.isabs(clean) or parts[0] == ".." or clean == ".":
            raise NotAllowed(f"{path} is not a file below {self.root}: name it from there")
        if any(part.lower() == ".git" for part in parts):
            raise NotAllowed(f"{path} is git's own: have git do what is to be done there")
        return parts

    @contextmanager
    def _folder(self, parts: list[str], *, make: bool = False) -> Iterator[int]:
        """Opens a folder below the root, from one to the next."""
        at = os.open(self.root, FOLDER)
        try:
            for number, part in enumerate(parts):
                if make and not _is_there(at, part):
                    os.mkdir(part, dir_fd=at)
                below = _opened(at, part, "/".join(parts[: number + 1]))
                os.close(at)
                at = below
            yield at
        finally:
            os.close(at)


def _opened(folder: int, name: str, path: str) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except FileNotFoundError:
        raise NotAllowed(f"there is no {path}") from None
    except OSError as error:
        _refuse_link(folder, name, path)
        raise NotAllowed(f"{path} is not a folder") from error


def _read_at(folder: int, name: str, path: str) -> bytes:
    try:
        # A pipe would be waited for without end, were it not for O_NONBLOCK.
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise NotAllowed(f"there is no {path}") from None
    except OSError as error:
        _refuse_link(folder, name, path)
        raise NotAllowed(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotAllowed(f"{path} is not a file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise NotAllowed(f"{path} has more than {LARGEST} bytes")
    return data


def _mode_at(folder: int, name: str, path: str) -> int | None:
    """Returns the mode of a file that is to be replaced; refuses whatever else is there."""
    if not _is_there(folder, name):
        return None
    _refuse_link(folder, name, path)
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode):
        raise NotAllowed(f"{path} is not a file")
    return stat.S_IMODE(mode)


def _refuse_link(folder: int, name: str, path: str) -> None:
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        return
    raise NotAllowed(f"{path} is a symbolic link to {target}: name what it leads to, if that is in here")


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _names(folder: int) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.lower() != ".git")


def _entry_at(folder: int, name: str, path: str) -> Entry:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return Entry(path, "gone", 0)
    if stat.S_ISDIR(found.st_mode):
        return Entry(path, "folder", 0)
    if stat.S_ISLNK(found.st_mode):
        return Entry(path, "link", 0)
    return Entry(path, "file" if stat.S_ISREG(found.st_mode) else "special", found.st_size)
