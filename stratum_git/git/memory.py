"""What was written last, so that it can be written again.

No ref has an object before the whole of an event is written, and ``git prune --expire=now``, which
``git gc --prune=now`` runs, deletes what no ref has, whoever is just about to name it. It looks what is
reached first, and deletes later: so even what a ref has by then may go. Whoever writes looks again later.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from stratum_git.model.values import dataclass, field
from stratum_git.spawn import outside

PRUNING = (b"prune", b"gc", b"maintenance")
PATIENCE = 10.0
"""Seconds to wait for a git that deletes objects before the last look."""
PAUSE = 0.02
KEPT = 512
"""Objects that are remembered after a ref had them."""
TURN = 16
"""Of those, how many a glance looks at: the next one at others."""
SMALL = 256 * 1024
LARGEST = 32 * 1024 * 1024
"""Bytes of them that are remembered, as they lie on the disk."""


@dataclass
class Memory:
    """Objects as files: those that no ref has yet, and the last ones that a ref has. For several threads."""

    _fresh: dict[Path, bytes] = field(default_factory=dict)
    _named: dict[Path, bytes] = field(default_factory=dict)
    _loose: dict[Path, None] = field(default_factory=dict)
    _turn: list[Path] = field(default_factory=list)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, path: Path, data: bytes, *, passing: bool = False) -> None:
        """Remembers an object; a *passing* one nobody needs for long."""
        with self._lock:
            self._fresh[path] = data
            if not passing:
                self._loose[path] = None

    def read(self, paths: Iterable[Path]) -> None:
        """Remembers objects that git wrote, but for packed and large ones."""
        every = list(paths)
        with self._lock:
            self._loose.update(dict.fromkeys(every))
        for path in every[:KEPT]:
            with suppress(OSError):
                if path not in self._fresh and path not in self._named and path.stat().st_size <= SMALL:
                    self.note(path, path.read_bytes())

    def settle(self) -> None:
        """Takes in that refs have what was noted: of that, only the last is remembered."""
        with self._lock:
            for path, data in self._fresh.items():
                self._size += len(data) - len(self._named.pop(path, b""))
                self._named[path] = data
            self._fresh = {}
            while self._named and (len(self._named) > KEPT or self._size > LARGEST):
                oldest = next(iter(self._named))
                self._size -= len(self._named.pop(oldest))

    @property
    def loose(self) -> int:
        """Returns how many objects were made that may be in files of their own."""
        return len(self._loose)

    def take_loose(self) -> list[Path]:
        """Returns these files, and forgets which they are."""
        with self._lock:
            taken, self._loose = list(self._loose), {}
        return taken

    def forget(self, paths: Iterable[Path]) -> None:
        """Forgets objects that nobody can take away any more."""
        with self._lock:
            for path in paths:
                self._loose.pop(path, None)
                self._fresh.pop(path, None)
                self._size -= len(self._named.pop(path, b""))

    def missing(self) -> dict[Path, bytes]:
        """Returns the objects whose files are not there: they may be in a pack by now."""
        with self._lock:
            known = {**self._named, **self._fresh}
        return {path: data for path, data in known.items() if not os.access(path, os.F_OK)}

    def glimpsed(self) -> dict[Path, bytes]:
        """Returns those of :meth:`missing` that no ref had until now, and some of the others, in turn."""
        with self._lock:
            self._turn = self._turn or [*self._named]
            some, self._turn = self._turn[:TURN], self._turn[TURN:]
            known = {path: self._named[path] for path in some if path in self._named} | self._fresh
        return {path: data for path, data in known.items() if not os.access(path, os.F_OK)}


def wait_for_pruning(place: Path) -> None:
    """Waits, for a while, until the gits below *place* that delete objects now are done. Linux tells that."""
    pause = threading.Event()
    busy = [entry for entry in Path("/proc").glob("[0-9]*") if _is_pruning(entry, place)]
    for _ in range(int(PATIENCE / PAUSE)):
        busy = [entry for entry in busy if _is_pruning(entry, place)]
        if not busy:
            return
        pause.wait(PAUSE)


def _is_pruning(entry: Path, place: Path) -> bool:
    with suppress(OSError):
        words = (entry / "cmdline").read_bytes().split(b"\0")
        is_git = Path(os.fsdecode(words[0])).name == "git" and any(word in PRUNING for word in words[1:])
        return is_git and Path(outside.link(int(entry.name), "cwd")).is_relative_to(place)
    return False
