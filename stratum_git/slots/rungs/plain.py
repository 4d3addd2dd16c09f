"""A worktree of its own, with a copy of every file: works everywhere, and takes as long as a checkout."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.layers import Layer
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import check_out, discard
from stratum_git.model.ids import Oid
from stratum_git.slots.occupancy import Occupied
from stratum_git.slots.registry import Registry
from stratum_git.slots.scrub import scrub
from stratum_git.slots.slot import Slot


@dataclass(frozen=True, slots=True)
class Cold:
    """A worktree that git checks out. ``trees`` saves looking for dirt in small checkouts."""

    registry: Registry
    trash: Path
    trees: TreeReader | None = None
    name: str = "cold"
    is_mount: bool = False
    is_private: bool = False

    def keeps(self, slot: Slot) -> bool:
        """Returns ``True``: to clean it takes less than to make another."""
        del slot
        return True

    def make(self, place: Path, base: Oid) -> None:
        """Registers the worktree, then checks it out."""
        self.registry.add(place, base)
        check_out(place, base, None)

    def layer(self, place: Path) -> Layer | None:
        """Returns ``None``: all files lie together."""
        del place
        return None

    def wake(self, place: Path, record: Occupied) -> None:
        """Does nothing: the files are there."""

    def clear(self, slot: Slot, folders: Collection[str]) -> None:
        """Makes the worktree exactly its base again."""
        scrub(slot.path, slot.base, folders, slot.keep_ignored, self.trash, self.trees)

    def discard(self, place: Path) -> None:
        """Renames the worktree into the trash."""
        discard(place, self.trash)

    def sweep(self, known: Collection[str]) -> None:
        """Does nothing: there is nothing but the worktree."""
