"""A word for how files are checked out now: where it is another one, the same commit may look different."""

from __future__ import annotations

from stratum_git.git.checkout_settings import CheckoutSettings, checkout_settings
from stratum_git.git.repository import Repository
from stratum_git.model.values import dataclass


@dataclass(slots=True)
class Settings:
    """The settings of a repository that decide how files are checked out, those outside of it included.

    Bases and originals have the word in their names, and slots in their records.
    """

    repo: Repository
    _last: CheckoutSettings | None = None

    def digest(self) -> str:
        """Returns the word; the settings are only read again when a file of theirs changed."""
        last = self._last
        if last is None or not last.is_current:
            last = self._last = checkout_settings(self.repo)
        return last.digest
