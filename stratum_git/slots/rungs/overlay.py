"""A worktree laid over a base that others share: made in milliseconds, whatever the number of files.

A slot has a folder of its own below ``layers``, by its name: ``upper`` has what changed and its ``.git``,
``work-*`` is the kernel's, ``laid.json`` says over what it is laid, and is written before it is mounted. All
of the work is in ``upper``: whatever becomes of the mount, it is laid over the same base again.
"""

from __future__ import annotations

import errno
import json
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.layers import Layer
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import discard
from stratum_git.model.ids import Oid
from stratum_git.slots.bases import Base, Bases
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.mounts import is_laid_over, lay_over, take_off
from stratum_git.slots.occupancy import Occupied
from stratum_git.slots.registry import Registry
from stratum_git.slots.rungs.base import Declined
from stratum_git.slots.scrub import scrub
from stratum_git.slots.slot import Slot

LAID = "laid.json"
GONE = {errno.ENOENT, errno.ESTALE}
TRIES = 3


@dataclass(frozen=True, slots=True)
class Laid:
    """Over what a slot is laid: the key of a base, and its commit. ``is_kept``: it had other tenants."""

    base: str
    commit: Oid
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """Slots that are mounts. ``is_private``: in a namespace of this process, where its user is not root."""

    registry: Registry
    folders: StateFolders
    bases: Bases
    is_private: bool = False
    trees: TreeReader | None = None
    name: str = "overlay"
    is_mount: bool = True

    def keeps(self, slot: Slot) -> bool:
        """Returns whether ignored files are to stay: else a new slot is quicker than a clean one."""
        return bool(slot.keep_ignored)

    def make(self, place: Path, base: Oid) -> None:
        """Mounts a new layer over the base of the commit; makes that base when it is the first to want it."""
        home = self._home(place)
        try:
            self._lay(place, home, self.bases.ensure(base))
        except (HostError, OSError) as error:
            self.discard(place)
            reason = error.message if isinstance(error, HostError) else str(error)
            raise Declined(f"the overlay of {place.name} cannot be made: {reason}") from error

    def layer(self, place: Path) -> Layer | None:
        """Returns the upper directory, if all that is in it is of this tenant."""
        laid = self._laid(place)
        if laid is None or laid.is_kept:
            return None
        return Layer(self._home(place) / "upper", self.folders.bases / laid.base / "index", laid.commit)

    def wake(self, place: Path, record: Occupied) -> None:
        """Lays the slot over its base again, where nothing is mounted or something else."""
        home = self._home(place)
        upper = home / "upper"
        if not upper.is_dir() or is_laid_over(place, upper):
            return
        take_off(place)
        self._clear_way(place, upper)
        laid = self._laid(place)
        base = self.bases.named(laid.base) if laid is not None else None
        self._mount(place, home, base or self.bases.ensure(record.base))

    def clear(self, slot: Slot, folders: Collection[str]) -> None:
        """Makes the worktree exactly its base again; its layer is no list of changes any more."""
        scrub(slot.path, slot.base, folders, slot.keep_ignored, self.folders.trash, self.trees)
        home = self._home(slot.path)
        laid = json.loads((home / LAID).read_bytes())
        (home / LAID).write_text(json.dumps({**laid, "kept": True}), encoding="ascii")

    def discard(self, place: Path) -> None:
        """Takes the mount away, then renames what changed into the trash."""
        take_off(place)
        discard(self._home(place), self.folders.trash)
        try:
            place.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            discard(place, self.folders.trash)

    def sweep(self, known: Collection[str]) -> None:
        """Throws away layers of slots that are gone."""
        for home in self.folders.layers.iterdir():
            if home.name not in known:
                discard(home, self.folders.trash)

    def _home(self, place: Path) -> Path:
        return self.folders.layers / place.name

    def _lay(self, place: Path, home: Path, base: Base) -> None:
        home.mkdir(mode=0o700)
        (home / "upper").mkdir(mode=0o700)
        self._note(home, base)
        self.registry.add_apart(place, home / "upper", base.commit, base.index)
        place.mkdir(mode=0o700)
        self._mount(place, home, base)

    def _mount(self, place: Path, home: Path, base: Base) -> None:
        self._note(home, base)
        # New each time: a layer that was not waited for is refused with the old one.
        work = home / f"work-{secrets.token_hex(3)}"
        work.mkdir(mode=0o700)
        for _ in range(TRIES):
            try:
                lay_over(base.lowers, home / "upper", work, place, by_user=self.is_private)
            except OSError as error:
                if error.errno not in GONE:
                    raise
            else:
                return
            # Somebody who found it unused is throwing it away.
            self.bases.forget(base)
            base = self.bases.ensure(base.commit)
            self._note(home, base)
        raise HostError(f"the base of {base.commit} goes away again and again")

    def _note(self, home: Path, base: Base) -> None:
        row = {"base": base.key, "below": base.below, "commit": base.commit}
        (home / LAID).write_text(json.dumps(row), encoding="ascii")

    def _laid(self, place: Path) -> Laid | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            row = json.loads((self._home(place) / LAID).read_bytes())
            return Laid(str(row["base"]), Oid(str(row["commit"])), is_kept=bool(row.get("kept")))
        return None

    def _clear_way(self, place: Path, upper: Path) -> None:
        """Keeps what lies where the mount was, as part of the work."""
        with suppress(FileNotFoundError):
            if place.is_symlink():
                place.unlink()
            elif not place.is_dir() or any(place.iterdir()):
                place.rename(upper / f"replaced-{secrets.token_hex(4)}")
        place.mkdir(mode=0o700, exist_ok=True)
