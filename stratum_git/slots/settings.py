"""A word for how files are checked out now: where it is another one, the same commit may look different."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.base_checkout import settings_digest, settings_files
from stratum_git.git.repository import Repository
from stratum_git.git.settings import FileSign, file_sign


@dataclass(slots=True)
class Settings:
    """The settings of a repository that decide how files are checked out, those outside of it included."""

    repo: Repository
    _files: tuple[Path, ...] = ()
    _signs: tuple[FileSign | None, ...] = ()
    _digest: str = ""

    def digest(self) -> str:
        """Returns the word; the settings are only read again when a file of theirs changed."""
        if not self._files or tuple(map(file_sign, self._files)) != self._signs:
            self._files = settings_files(self.repo)
            self._signs, self._digest = tuple(map(file_sign, self._files)), settings_digest(self.repo)
        return self._digest
