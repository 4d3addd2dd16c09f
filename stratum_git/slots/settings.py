"""A word for how files are checked out now: where it is another one, the same commit may look different."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from stratum_git.git.base_checkout import settings_digest, settings_files
from stratum_git.git.repository import Repository

Sign: TypeAlias = tuple[tuple[int, int, int] | None, ...]


@dataclass(slots=True)
class Settings:
    """The settings of a repository that decide how files are checked out, those outside of it included."""

    repo: Repository
    _files: tuple[Path, ...] = ()
    _sign: Sign = ()
    _digest: str = ""

    def digest(self) -> str:
        """Returns the word; the settings are only read again when a file of theirs changed."""
        if not self._files or _sign(self._files) != self._sign:
            self._files = settings_files(self.repo)
            self._sign, self._digest = _sign(self._files), settings_digest(self.repo)
        return self._digest


def _sign(files: tuple[Path, ...]) -> Sign:
    """Returns a value that is another one when a file was written to."""
    found: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            facts = path.stat()
            found.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
        except OSError:
            found.append(None)
    return tuple(found)
