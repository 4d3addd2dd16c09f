"""Puts moves of refs on the disk: values before they have their names, then the directories of the names.

Git flushes one value after the other, and by itself. So they are flushed here, once they are prepared: git
has written each to a lock then, which becomes the ref at the commit. The folder of the pack that they will
speak of is flushed right after: a disk with a journal has written that one with the values.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from stratum_git.git.flushing import flush
from stratum_git.model.ids import Oid, RefName

BRANCHES = ("refs/stratum/", "refs/heads/")
KNOWN = 64
"""Directories that are held open."""


class Move(Protocol):
    """What is told of a move of a ref."""

    @property
    def ref(self) -> RefName: ...  # noqa: D102

    @property
    def new(self) -> Oid | None: ...  # noqa: D102


def are_files(common_dir: Path, updates: Sequence[Move]) -> bool:
    """Returns whether :func:`flush_prepared` can flush what git writes for *updates*: values in locks."""
    return (
        all(update.ref.startswith(BRANCHES) for update in updates)
        and not (common_dir / "reftable").exists()
        and not (common_dir / "packed-refs").is_symlink()
    )


def flush_prepared(common_dir: Path, updates: Sequence[Move]) -> bool:
    """Flushes what git has prepared; returns whether all of the values were found where they should be."""
    locks = {common_dir / f"{update.ref}.lock": update.new for update in updates if update.new is not None}
    for path, new in locks.items():
        try:
            if path.read_bytes() != f"{new}\n".encode():
                # A ref that only speaks of another one: its value lies in that one's lock.
                return False
        except OSError:
            return False
    # There when a ref goes that was packed.
    flush([*locks, common_dir / "packed-refs.new"])
    return True


class RefFolders:
    """The directories of refs, and which of them have a name that is on the disk. To be closed.

    Safe for several threads.
    """

    def __init__(self, common_dir: Path) -> None:
        self._common_dir = common_dir
        # While a directory is open, no other one has its number: so it is known again.
        self._known: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def packed(self) -> tuple[int, int]:
        """Returns what ``packed-refs`` is now: a ref that goes may go from there."""
        with suppress(OSError):
            now = (self._common_dir / "packed-refs").stat()
            return now.st_ino, now.st_mtime_ns
        return 0, 0

    def flush(self, updates: Iterable[Move], packed: tuple[int, int]) -> None:
        """Flushes the directories in which *updates* made or removed names.

        *packed* is what :meth:`packed` said before.
        """
        wanted = {} if packed == self.packed() else {str(self._common_dir): None}
        fresh: dict[str, int] = {}
        try:
            with self._lock:
                for update in updates:
                    self._look(update, wanted, fresh)
            flush(wanted)
        except BaseException:
            for handle in fresh.values():
                os.close(handle)
            raise
        with self._lock:
            for path, handle in fresh.items():
                self._forget(path)
                self._known[path] = handle
            while len(self._known) > KNOWN:
                self._forget(next(iter(self._known)))

    def close(self) -> None:
        """Closes what is open."""
        with self._lock:
            for path in tuple(self._known):
                self._forget(path)

    def _look(self, update: Move, wanted: dict[str, None], fresh: dict[str, int]) -> None:
        above = str(self._common_dir)
        for name in update.ref.split("/")[:-1]:
            # A text: to make a path of it for each of them takes longer than to look.
            here = f"{above}/{name}"
            if here not in fresh and not self._is_known(here):
                # Its name is in the one above. Opened before that is flushed: what is opened is what has it.
                wanted[above] = None
                try:
                    fresh[here] = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
                except OSError:
                    # Git removes those that are empty; what is below it is gone as well.
                    return
            above = here
        wanted[above] = None

    def _is_known(self, path: str) -> bool:
        handle = self._known.get(path)
        if handle is None:
            return False
        with suppress(OSError):
            there, held = os.stat(path), os.fstat(handle)  # noqa: PTH116 - a text
            if (there.st_ino, there.st_dev) == (held.st_ino, held.st_dev):
                self._known.move_to_end(path)
                return True
        return False

    def _forget(self, path: str) -> None:
        handle = self._known.pop(path, None)
        if handle is not None:
            os.close(handle)
