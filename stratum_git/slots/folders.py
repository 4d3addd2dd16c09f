"""Where things lie on disk. All of it can be made again; what must not be lost is in the repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from stratum_git.errors import BugError, HostError, UserError
from stratum_git.git.repository import Repository

PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
OWN = "-step"


@dataclass(frozen=True, slots=True)
class StateFolders:
    """The folders of one repository, below ``root``."""

    root: Path

    @property
    def slots(self) -> Path:
        """Returns the folder of worktrees and clones."""
        return _made(self.root / "slots")

    @property
    def trash(self) -> Path:
        """Returns the folder of what waits to be deleted."""
        return _made(self.root / "trash")

    @property
    def locks(self) -> Path:
        """Returns the folder of lock files."""
        return _made(self.root / "locks")

    def attempt(self, flow: str, step: str, task: str | None, number: int) -> Path:
        """Returns an attempt's own folder: prompt, result, logs."""
        path = self.attempt_path(flow, step, task, number)
        return _made(path)

    def attempt_path(self, flow: str, step: str, task: str | None, number: int) -> Path:
        """Returns where an attempt's own folder is, without making it."""
        parts = (flow, step, OWN if task is None else task, str(number))
        for part in parts:
            if not PART.fullmatch(part) or ".." in part:
                raise BugError(f"{part!r} cannot be the name of a folder")
        return self.root.joinpath("attempts", *parts)


def state_folders(repo: Repository, base: Path) -> StateFolders:
    """Returns the folders of *repo* below *base*; raises UserError when they would lie inside a checkout."""
    root = (base.expanduser().absolute() / repo.key).resolve()
    if root.is_relative_to(repo.root.resolve()) or root.is_relative_to(repo.common_dir.resolve()):
        hint = "name a folder outside of it: slots.root in .stratum/config.yaml, or XDG_STATE_HOME"
        raise UserError(f"slots cannot lie inside of the repository: {root}", hint=hint)
    return StateFolders(root)


def _made(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise HostError(f"the folder {path} cannot be made: {error.strerror}") from error
    return path
