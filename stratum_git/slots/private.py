"""Tries whether slots can be mounted in a namespace of this process's own, by mounting something there."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from stratum_git.git.worktree import discard
from stratum_git.slots import trials
from stratum_git.slots.building import Possible
from stratum_git.slots.folders import StateFolders
from stratum_git.spawn.namespace import hindrance, may_mount


def sees_mounts(folders: StateFolders) -> bool:
    """Returns whether this process may mount slots where it is: as root on the host, or where it went."""
    # Root in a container may have the right, and no file system that lets him use it.
    return may_mount() and not Possible(folders).obstacles().get("overlay")


def why_not(folders: StateFolders) -> str:
    """Returns why slots cannot be mounted in a namespace here; empty when they can be.

    Only for a process without other threads: a child of it tries.
    """
    place = Path(tempfile.mkdtemp(dir=folders.probes))
    try:
        return hindrance(partial(trials.overlay, place, by_user=True))
    finally:
        # The kernel leaves folders in it that nobody may look into: deleting them is for later.
        discard(place, folders.trash)
