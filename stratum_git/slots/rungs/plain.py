"""A worktree of its own, with a copy of every file: works everywhere, and takes as long as a checkout."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from threading import Lock

from stratum_git.git.layers import Layer
from stratum_git.git.stat_data import file_count
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import check_out, discard
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field
from stratum_git.slots.occupancy import Occupied
from stratum_git.slots.registry import Registry
from stratum_git.slots.scrub import scrub
from stratum_git.slots.slot import Slot

MANY = 10_000
"""Files from which on to write them in parallel is quicker, by a sixth with two processors."""
MOST = 8


@dataclass(frozen=True, slots=True)
class Cold:
    """A worktree that git checks out. ``trees`` saves looking for dirt in small checkouts."""

    registry: Registry
    trash: Path
    trees: TreeReader | None = None
    name: str = "cold"
    is_mount: bool = False
    is_private: bool = False
    _turn: Lock = field(default_factory=Lock, repr=False, compare=False)

    def keeps(self, slot: Slot) -> bool:
        """Returns ``True``: to clean it takes less than to make another."""
        del slot
        return True

    def make(self, place: Path, base: Oid) -> None:
        """Registers the worktree, then checks it out."""
        self.registry.add(place, base)
        # One at a time: several checkouts at once keep all processors busy by themselves.
        is_alone = self._turn.acquire(blocking=False)
        try:
            check_out(place, base, None, workers=self._workers() if is_alone else 0)
        finally:
            if is_alone:
                self._turn.release()

    def _workers(self) -> int:
        """Returns how many processes are worth their start, by the size of the user's own checkout."""
        cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, MOST)
        return cores if cores > 1 and file_count(self.registry.repo.git_dir / "index") >= MANY else 0

    def layer(self, place: Path) -> Layer | None:
        """Returns ``None``: all files lie together."""
        del place
        return None

    def wake(self, place: Path, record: Occupied) -> None:
        """Does nothing: the files are there."""

    def is_gone(self, place: Path) -> bool:
        """Returns that they are seen."""
        del place
        return False

    def clear(self, slot: Slot, folders: Collection[str]) -> None:
        """Makes the worktree exactly its base again."""
        scrub(slot.path, slot.base, folders, slot.keep_ignored, self.trash, self.trees)

    def discard(self, place: Path) -> None:
        """Renames the worktree into the trash."""
        discard(place, self.trash)

    def prepare(self) -> None:
        """Does nothing: there is nothing to make ready."""

    def close(self) -> None:
        """Does nothing: nothing was made ready."""

    def sweep(self, known: Collection[str]) -> None:
        """Does nothing: there is nothing but the worktree."""
