"""Puts the ladder of a repository together: every way to come to a slot, and which are possible here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from threading import Lock

from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.values import dataclass, field
from stratum_git.slots import btrfs, trials
from stratum_git.slots.bases import Bases
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import ORDER, Ladder, place_of_warm
from stratum_git.slots.originals import Originals
from stratum_git.slots.probing import Probed, Trial, probe
from stratum_git.slots.registry import registry_of
from stratum_git.slots.rungs.base import Rung
from stratum_git.slots.rungs.copied import Reflink, Snapshot
from stratum_git.slots.rungs.overlay import Overlay
from stratum_git.slots.rungs.plain import Cold
from stratum_git.slots.settings import Settings
from stratum_git.spawn.namespace import is_entered


@dataclass
class Possible:
    """Which ways are possible in a state folder; found out when it is first asked."""

    folders: StateFolders
    _found: Probed | None = None
    _turn: Lock = field(default_factory=Lock, repr=False)

    def obstacles(self) -> Mapping[str, str]:
        """Returns, for each way by name, why it is not possible, or nothing."""
        with self._turn:
            if self._found is None:
                self._found = probe(self.folders, trials_here())
            return self._found.obstacles


def trials_here() -> Mapping[str, Trial]:
    """Returns how each way is tried by this process; what is not among them works everywhere."""
    overlay = partial(trials.overlay, by_user=_is_private())
    return {"overlay": overlay, "snapshot": trials.snapshot, "reflink": trials.reflink}


def ladder_of(
    repo: Repository,
    folders: StateFolders,
    *,
    forced: str = "auto",
    trees: TreeReader | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Ladder:
    """Returns the ladder of *repo*.

    *forced* is the way that its settings name: what is above is left out. *tell* hears, in a line, why a way
    is not taken that should be.
    """
    registry, trash, settings = registry_of(repo, folders), folders.trash, Settings(repo)
    bases = Bases(repo, folders, trees, tell, settings)
    subvolumes = Originals(repo, folders, "subvolume", btrfs.create, trees, settings)
    reflink = Reflink(registry, trash, Originals(repo, folders, "files", Path.mkdir, trees, settings), trees)
    rungs: tuple[Rung, ...] = (
        Overlay(registry, folders, bases, is_private=_is_private(), trees=trees),
        Snapshot(registry, trash, subvolumes, trees),
        reflink,
        Cold(registry, trash, trees),
    )
    warm, first = place_of_warm(rungs, forced)
    possible = Possible(folders)

    def is_taken(rung: Rung) -> bool:
        why = possible.obstacles().get(rung.name, "")
        if why and rung.name == forced:
            tell(f"slots: the settings want {forced}, which is not possible: {why}")
        # What is slower than git is only done when somebody says so.
        return not why and (rung.name != reflink.name or forced == rung.name or reflink.pays())

    return Ladder(rungs, warm, is_taken, first, settings)


def chosen(obstacles: Mapping[str, str], forced: str, *, visible: bool) -> str:
    """Returns the way that a new slot is made, by name; *visible* for one that a client works in."""
    start = 0 if forced == "auto" else ORDER.index(next(way for way in ORDER if way == forced))
    for way in ORDER[start:]:
        hidden = visible and way == "overlay" and _is_private()
        if not hidden and not obstacles.get(way, ""):
            return way
    return ORDER[-1]


def _is_private() -> bool:
    """Returns whether what this process mounts is seen by nobody but what it starts."""
    return is_entered() or os.geteuid() != 0 or not _is_shared(os.getppid())


@cache
def _is_shared(parent: int) -> bool:
    """Returns whether the mounts of this process are those of whoever started it, or of the machine.

    A client starts the server, and is to see what that mounts for it.
    """
    for other in (parent, 1):
        with suppress(OSError):
            if Path("/proc/self/ns/mnt").samefile(f"/proc/{other}/ns/mnt"):
                return True
    return False
