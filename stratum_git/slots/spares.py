"""Indexes for the next slots, copied when nobody waits: that of a hundred thousand files takes milliseconds.

They lie where the repository's entries for worktrees are made, held by this process; when it is killed, who
deletes half-made entries deletes them. Each is a copy of its own, as one made on the spot.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeAlias

from stratum_git.git.registration import copied_ahead, needs_git, workshop
from stratum_git.git.repository import Repository
from stratum_git.model.values import dataclass, field

MOST = 2
"""Copies that wait."""
OFTEN = 2
"""Slots that were taken at a commit in a row, until there is likely to be another one."""


Sign: TypeAlias = tuple[Path, int, int]


def sign_of(index: Path) -> Sign:
    """Returns a value that is another one when something else lies there; raises OSError."""
    facts = index.stat()
    return index, facts.st_ino, facts.st_mtime_ns


@dataclass(slots=True)
class Spares:
    """Copies of one index, the one that was wanted last. Safe for several threads; to be closed."""

    _sign: Sign | None = None
    _wanted: int = 0
    _ready: list[Path] = field(default_factory=list)
    _held: ExitStack | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def take(self, index: Path) -> Path | None:
        """Returns a copy of *index*, which is the caller's now; ``None`` where none was made ahead.

        It has the time at which it is taken, as one that is made then: git reads all files that were written
        in the second of their index, or later.
        """
        sign = sign_of(index)
        with self._turn:
            if sign != self._sign:
                self._forget()
                self._sign, self._wanted = sign, 0
            self._wanted += 1
            copy = self._ready.pop() if self._ready else None
        if copy is not None:
            with suppress(FileNotFoundError):
                os.utime(copy)
        return copy

    def fill(self, repo: Repository) -> None:
        """Makes a copy of what was wanted last, if that is likely to be wanted again. Raises OSError."""
        with self._turn:
            sign = self._sign
            if sign is None or self._wanted < OFTEN or len(self._ready) >= MOST or needs_git(repo):
                return
            if self._held is None:
                held = ExitStack()
                held.enter_context(workshop(repo))
                self._held = held
        copy = copied_ahead(repo, sign[0])
        with self._turn:
            if sign == self._sign == sign_of(sign[0]) and self._held is not None:
                self._ready.append(copy)
                return
        copy.unlink(missing_ok=True)

    def close(self) -> None:
        """Deletes what was not taken."""
        with self._turn:
            self._forget()
            self._sign = None
            if self._held is not None:
                self._held.close()
                self._held = None

    def _forget(self) -> None:
        for copy in self._ready:
            copy.unlink(missing_ok=True)
        self._ready.clear()
