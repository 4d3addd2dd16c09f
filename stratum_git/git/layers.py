"""The upper directory of an overlay: what changed in a slot, and nothing else."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field

OPAQUE = frozenset({"trusted.overlay.opaque", "user.overlay.opaque"})
MOVED = frozenset({"trusted.overlay.redirect", "user.overlay.redirect"})
MARKER = ".git"
PATIENCE = 2000
"""Entries that are looked at in folders that nobody knows, before further ones are passed over."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Where the changes of a slot lie.

    ``upper`` is the overlay's upper directory. A deleted file is a character device 0/0 there, and a folder
    made anew has ``trusted.overlay.opaque``, or ``user.overlay.opaque``, set to ``y``. ``template`` is the
    index file that the slot's index was made from, ``commit`` what both were at.
    """

    upper: Path
    template: Path
    commit: Oid


class StrangeUpper(Exception):  # noqa: N818 - reads as what is the matter
    """An upper directory has something in it of which cannot be told what changed: git has to look."""


@dataclass(frozen=True, slots=True)
class Upper:
    """What lies in an upper directory, by paths from its top. The slot's own ``.git`` is left out.

    ``files`` are files and links with their facts, ``folders`` what lies in between, ``gone`` what is
    deleted, a whole folder as one. What was below an ``opaque`` folder is gone but for what is here.
    ``repositories`` are paths that end in ``.git``; what is below them is left out. ``passed`` are folders
    that were not looked into.
    """

    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    repositories: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    def hides(self, path: str) -> bool:
        """Returns whether what the layers below have at *path* is not to be seen in the slot."""
        if path in self.gone or path in self.files:
            return True
        end = path.rfind("/")
        while end > 0:
            above = path[:end]
            if above in self.gone or above in self.opaque or above in self.files:
                return True
            end = path.rfind("/", 0, end)
        return False


def scan(layer: Layer, slot: Path, is_known: Callable[[str], bool] | None = None) -> Upper:
    """Returns what lies in the upper directory of *slot*.

    Of folders for which *is_known* does not hold, only so many are looked into: there may be a hundred
    thousand files in what is ignored. A folder that was moved is there by its name alone: what is in it is
    found in the slot, and told as made anew. Raises StrangeUpper for pipes, sockets and devices, and for what
    may not be read.
    """
    found = Upper()
    scan_below(layer, slot, "", found, is_known)
    return found


def scan_below(
    layer: Layer, slot: Path, folder: str, found: Upper, is_known: Callable[[str], bool] | None = None
) -> None:
    """Adds to *found* what lies in a folder, such as one that was passed; raises StrangeUpper."""
    try:
        _Scan(found, str(layer.upper), str(slot), is_known).walk(folder)
    except OSError as error:
        raise StrangeUpper(str(error)) from error


@dataclass
class _Scan:
    found: Upper
    upper: str
    slot: str
    is_known: Callable[[str], bool] | None
    patience: int = PATIENCE

    def walk(self, folder: str) -> None:
        """Takes in what lies in a folder, empty for the top."""
        # A list of what is to do: folders may be nested deeper than calls can be.
        todo = [(folder, True, self.upper)]
        while todo:
            folder, known, top = todo.pop()
            for path, is_moved in self._entries(folder, top, known=known):
                is_known = known and (self.is_known is None or self.is_known(path))
                place = self.slot if is_moved else top
                # What is in a moved folder is not in the upper directory: it cannot be come back to.
                if is_known or self.patience > 0 or place == self.slot:
                    todo.append((path, is_known, place))
                else:
                    self.found.passed.append(path)

    def _entries(self, folder: str, top: str, *, known: bool) -> list[tuple[str, bool]]:
        """Notes what lies in a folder; returns the folders in it, and whether each was moved there."""
        folders = []
        with os.scandir(f"{top}/{folder}" if folder else top) as entries:
            for entry in entries:
                self.patience -= not known
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name == MARKER:
                    if folder:
                        self.found.repositories.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append((path, top == self.upper and self._is_moved(path, entry)))
                    self.found.folders.append(path)
                else:
                    self._note_file(path, entry)
        return folders

    def _is_moved(self, path: str, entry: os.DirEntry[str]) -> bool:
        """Notes what a folder hides of the layers below; returns whether it is there by its name alone."""
        is_moved = False
        for name in _marks(entry.path):
            if name in OPAQUE and os.getxattr(entry.path, name) != b"y":
                raise StrangeUpper(f"{path} is marked in an unknown way")
            if name in OPAQUE or name in MOVED:
                self.found.opaque.add(path)
            is_moved = is_moved or name in MOVED
        return is_moved

    def _note_file(self, path: str, entry: os.DirEntry[str]) -> None:
        facts = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
            self.found.files[path] = facts
        elif stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
            self.found.gone.add(path)
        else:
            raise StrangeUpper(f"{path} is no file, no link and no folder")


def _marks(path: str) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        # On a file system without such attributes nothing is marked.
        if error.errno != errno.ENOTSUP:
            raise
        return []
