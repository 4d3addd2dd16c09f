"""Tries whether slots can be mounted in a namespace of this process's own, by mounting something there."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from stratum_git.slots import trials
from stratum_git.slots.building import Possible
from stratum_git.slots.folders import StateFolders
from stratum_git.spawn.namespace import hindrance, may_mount


def sees_mounts(folders: StateFolders) -> bool:
    """Returns whether this process may mount slots where it is: as root on the host, or where it went."""
    # Root in a container may have the right, and no file system that lets him use it.
    return may_mount() and not Possible(folders).obstacles().get("overlay")


def why_not(folders: StateFolders) -> str:
    """Returns why slots cannot be mounted in a namespace here; empty when they can be. It leaves nothing.

    Only for a process without other threads: a child of it tries.
    """
    found = (folders.root / "probes", folders.root, *folders.root.parents)
    above = next(path for path in found if path.is_dir())
    try:
        place = Path(tempfile.mkdtemp(prefix=".stratum-git-", dir=above))
    except OSError as error:
        return f"no folder can be made in {above}: {error.strerror}"
    try:
        return hindrance(partial(trials.overlay, place, by_user=True))
    finally:
        _remove(place)


def _remove(top: Path) -> None:
    """Deletes what was tried, with folders of the kernel's that nobody may look into."""
    for root, names, _ in os.walk(top):
        for name in names:
            Path(root, name).chmod(0o700)
    shutil.rmtree(top, ignore_errors=True)
