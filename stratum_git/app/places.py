"""Where the slots and logs of a repository lie, by the user's settings."""

from __future__ import annotations

from stratum_git.app.config import Config
from stratum_git.app.surroundings import Surroundings
from stratum_git.git.repository import Repository
from stratum_git.slots.folders import StateFolders, check_root, state_folders


def folders_of(around: Surroundings, repo: Repository, config: Config) -> StateFolders:
    """Returns the folders of *repo*: below ``slots.root`` of its settings, else the user's state folder."""
    if config.slots_root is None:
        return state_folders(repo, around.state_home() / "stratum-git")
    check_root(config.slots_root)
    return state_folders(repo, config.slots_root)
