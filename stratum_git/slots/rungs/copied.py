"""Worktrees copied from an original, whose blocks they share: as a snapshot, or a reflink of each file.

A snapshot takes no longer for many files, and waits for the disk once. Reflinks save writing what is in files
alone: making a file costs more than writing a small one, so they pay where files are large.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Collection
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.layers import Layer
from stratum_git.git.stat_data import UnknownIndex, entries, matched
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import check_out, discard, git_dir_of
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass
from stratum_git.slots import btrfs
from stratum_git.slots.occupancy import Occupied
from stratum_git.slots.originals import Original, Originals
from stratum_git.slots.reflinks import clone_files
from stratum_git.slots.registry import Registry
from stratum_git.slots.rungs.base import Declined
from stratum_git.slots.scrub import scrub
from stratum_git.slots.slot import Slot

LARGE = 128 * 1024
"""Bytes of a file, on the average, from which on to share its blocks takes less than to write it."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What both have in common: an original, a copy of it, and its index."""

    registry: Registry
    trash: Path
    originals: Originals
    trees: TreeReader | None = None
    is_private: bool = False
    is_mount: bool = False

    def make(self, place: Path, base: Oid) -> None:
        """Copies the original that is nearest, registers the copy, and lets git change what differs."""
        try:
            original = self.originals.near(base)
            self._copy(original, place)
            if original.commit != base:
                check_out(place, base, None)
        except (HostError, OSError, UnknownIndex) as error:
            self.discard(place)
            self.registry.drop(place)
            reason = error.message if isinstance(error, HostError) else str(error)
            raise Declined(f"{place.name} cannot be copied: {reason}") from error

    def _copy(self, original: Original, place: Path) -> None:
        raise NotImplementedError

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
        """Throws away originals that were not used for long."""
        del known
        self.originals.sweep()


@dataclass(frozen=True, slots=True)
class Snapshot(Copied):
    """Worktrees that are subvolumes of btrfs."""

    name: str = "snapshot"

    def keeps(self, slot: Slot) -> bool:
        """Returns whether ignored files are to stay: else a new slot is quicker than a clean one."""
        return bool(slot.keep_ignored)

    def _copy(self, original: Original, place: Path) -> None:
        apart = _apart(place)
        apart.mkdir(mode=0o700)
        # Where git registers it, it wants an empty folder.
        self.registry.add_apart(place, apart, original.commit, original.index)
        btrfs.snapshot(original.tree, place)
        # Nothing is renamed into another subvolume.
        (place / ".git").write_bytes((apart / ".git").read_bytes())
        shutil.rmtree(apart)

    def discard(self, place: Path) -> None:
        """Renames the worktree into the trash, and what was half made."""
        discard(place, self.trash)
        discard(_apart(place), self.trash)


@dataclass(frozen=True, slots=True)
class Reflink(Copied):
    """Worktrees whose files share their blocks with others."""

    name: str = "reflink"

    def keeps(self, slot: Slot) -> bool:
        """Returns ``True``: to clean it takes less than to make another."""
        del slot
        return True

    def pays(self) -> bool:
        """Returns whether files are large here, as far as the index of the user's checkout tells."""
        repo = self.registry.repo
        try:
            sizes = [one.size for one in entries((repo.git_dir / "index").read_bytes(), len(repo.zero) // 2)]
        except (OSError, ValueError):
            return False
        return sum(sizes) > LARGE * len(sizes)

    def _copy(self, original: Original, place: Path) -> None:
        index, width = original.index.read_bytes(), len(original.commit) // 2
        place.mkdir(mode=0o700)
        self.registry.add_apart(place, place, original.commit, original.index)
        clone_files(original.tree, place, index, width)
        # Of what was made now, and not of what it was copied from.
        fitting = git_dir_of(place) / "index.new"
        fitting.write_bytes(matched(index, width, place))
        fitting.replace(fitting.with_name("index"))


def _apart(place: Path) -> Path:
    return place.with_name(f"{place.name}.apart")


def refused(error: OSError) -> str:
    """Returns why a file system does not do what it was asked for."""
    if error.errno in {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
        return "the file system of the slots has no such thing"
    return f"the file system of the slots refuses it: {error.strerror}"
