"""Where a command was given: the directory, and the environment.

Verbs that only look load this and no more; what a run needs is in ``workshop.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stratum_git.app.home import state_home
from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a command was given: the directory, and the environment."""

    cwd: Path
    environment: Mapping[str, str]

    def repository(self) -> Repository:
        """Returns the repository around the directory."""
        return open_repository(self.cwd)

    def state_home(self) -> Path:
        """Returns the user's folder for state."""
        return Path(state_home(self.environment))
