"""Puts loose objects into packs: those that runs make, results above all, and no others.

Git counts loose objects at each command of the user's, and from 6,700 on it packs the repository in his way.
So what a run has made goes into packs of ours before, by exact names: nobody looks for it. A file goes when
what was in it is on the disk in a pack that every git leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stratum_git.errors import StratumError
from stratum_git.git.compaction import alone, background, packed_by_git
from stratum_git.git.flushing import flush
from stratum_git.git.memory import Memory
from stratum_git.git.repository import Repository

MANY = 2000
"""Objects that are put away in the middle of a run."""
FEW = 64
"""Objects of a run that are worth a process at its end."""
LEVELS = ((300, 2), (MANY, 3))
"""The level of a pack of less than so many objects: with others of that size it becomes a larger one."""


def stow(repo: Repository, files: Sequence[Path]) -> list[Path]:
    """Packs the objects in *files*, which are loose ones, and deletes these; returns which are gone."""
    with alone(repo, wait=True):
        there = [path for path in files if path.is_file()]
        if not there:
            return []
        level = next((level for most, level in LEVELS if len(there) < most), LEVELS[-1][1] + 1)
        made = packed_by_git(repo, [f"{path.parent.name}{path.name}" for path in there], level)
        flush([made.parent])
        for path in there:
            path.unlink(missing_ok=True)
        return there


def stow_soon(repo: Repository, memory: Memory, *, at_last: bool = False) -> None:
    """Does so in the background when there are many; or, *at_last*, now, when it is worth it."""
    if memory.loose < (FEW if at_last else MANY) or repo.shared_permissions:
        return
    begun = background(_stow, repo, memory)
    if at_last:
        begun()


def _stow(repo: Repository, memory: Memory) -> None:
    files = memory.take_loose()
    with suppress(StratumError, OSError):
        # What cannot be packed stays as it is: in files of their own objects are as safe.
        memory.forget(stow(repo, files))
