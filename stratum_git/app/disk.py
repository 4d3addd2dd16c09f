"""The files of the checkout, for expressions: the client works there, and commits when it likes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.diff import paths_since
from stratum_git.git.repository import Repository, UnknownRevision, resolve

LIMIT = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DiskFiles:
    """Files of the checkout; paths are relative to ``cwd``, which is within it. Nothing else is there."""

    repo: Repository
    cwd: Path

    @property
    def root(self) -> Path:
        """Returns the top of the checkout."""
        return self.repo.root

    def exists(self, path: str) -> bool:
        """Returns whether *path* is a regular file within the root."""
        return self._found(path) is not None

    def text(self, path: str) -> str | None:
        """Returns the text of a file; ``None`` when it is missing, too large or not UTF-8."""
        found = self._found(path)
        try:
            if found is None or found.stat().st_size > LIMIT:
                return None
            return found.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def changed(self, base: str) -> tuple[str, ...]:
        """Returns the files that differ from the commit called *base*; none where there is no such commit."""
        try:
            return paths_since(self.repo, resolve(self.repo, base))
        except UnknownRevision:
            return ()

    def _found(self, path: str) -> Path | None:
        try:
            place = (self.cwd / path).resolve()
            return place if place.is_relative_to(self.root.resolve()) and place.is_file() else None
        except (OSError, ValueError, RuntimeError):
            return None
