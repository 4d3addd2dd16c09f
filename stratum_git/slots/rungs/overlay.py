"""A worktree laid over a base that others share: made in milliseconds, whatever the number of files.

A slot has a folder of its own below ``layers``, by its name: ``upper`` has what changed and its ``.git``,
``work-*`` is the kernel's, ``laid.json`` says over what it is laid, and is written before it is mounted. All
of the work is in ``upper``: whatever becomes of the mount, it is laid over the same base again.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.base_checkout import write_out
from stratum_git.git.layers import Layer
from stratum_git.git.torn_files import restore_torn
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import discard
from stratum_git.model.changing import replace
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field
from stratum_git.slots.bases import Base, Bases, this_boot
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.materialising import apply_upper, has_moved, sees_all_marks
from stratum_git.slots.mounts import is_laid_over, lay_over, let_go, mount_of, take_off
from stratum_git.slots.occupancy import Occupied, forget, is_bare, read_record, try_lock
from stratum_git.slots.registry import Registry
from stratum_git.slots.rungs.base import Declined
from stratum_git.slots.scrub import scrub
from stratum_git.slots.slot import Slot
from stratum_git.slots.spares import Spares
from stratum_git.slots.trash import delete

LAID = "laid.json"
WHOLE = "whole"
"""In a slot's folder, once its files are ordinary ones and no mount."""
GONE = {errno.ENOENT, errno.ESTALE}
TRIES = 3
AT_ONCE = 4
"""Threads that delete what slots left; beyond them it is deleted before the next slot goes."""


@dataclass(frozen=True, slots=True)
class Laid:
    """Over what a slot is laid: the key of a base, those below it, and its commit.

    ``boot`` is the boot of the machine in which it was mounted. ``is_private``: with the marks of a user's
    own namespace. ``is_kept``: it had other tenants before.
    """

    base: str
    below: tuple[str, ...]
    commit: Oid
    boot: str
    is_private: bool
    is_kept: bool


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
    deleting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE))
    _mounts: dict[str, int] = field(default_factory=dict)
    _spares: Spares = field(default_factory=Spares)

    def keeps(self, slot: Slot) -> bool:
        """Returns whether ignored files are to stay: else a new slot is quicker than a clean one."""
        return bool(slot.keep_ignored)

    def make(self, place: Path, base: Oid) -> None:
        """Mounts a new layer over the base of the commit; makes that base when it is the first to want it."""
        try:
            for _ in range(TRIES):
                if self._is_laid(place, self.bases.ensure(base)):
                    self.bases.thin_out(self._in_use)
                    return
        except (HostError, OSError) as error:
            reason = error.message if isinstance(error, HostError) else str(error)
            self.discard(place)
            raise Declined(f"the overlay of {place.name} cannot be made: {reason}") from error
        raise Declined(f"the base of {base} goes away again and again")

    def layer(self, place: Path) -> Layer | None:
        """Returns the upper directory, if all that is in it is of this tenant."""
        laid = self._laid(place)
        if laid is None or laid.is_kept or (self._home(place) / WHOLE).exists():
            return None
        return Layer(self._home(place) / "upper", self.folders.bases / laid.base / "index", laid.commit)

    def wake(self, place: Path, record: Occupied) -> None:
        """Lays the slot over its base again, where nothing is mounted or something else."""
        home = self._home(place)
        upper = home / "upper"
        if not upper.is_dir() or self._is_as_mounted(place) or is_laid_over(place, upper):
            return
        if (home / WHOLE).exists():
            self._settle(place, home)
            return
        take_off(place)
        self._clear_way(place, upper)
        laid = self._laid(place)
        commit = record.base if laid is None else laid.commit
        base = (self.bases.named(laid.base) if laid is not None else None) or self.bases.ensure(commit)
        self._note(home, base, laid)
        try:
            self._check_seen(laid)
            self._mount(place, home, base, by_user=self.is_private if laid is None else laid.is_private)
        except OSError as error:
            self._check_readable(place, laid, error)
            self._materialise(place, home, commit)
        if laid is None or laid.boot != this_boot():
            with suppress(OSError):
                restore_torn(self.bases.repo, place)

    def is_gone(self, place: Path) -> bool:
        """Returns whether the slot is certainly mounted for nobody, and no ordinary files."""
        laid, whole = self._laid(place), self._home(place) / WHOLE
        if place.is_mount():
            return False
        if whole.exists():
            return (whole / "tree").exists()
        # Where others do not see our mounts, we may not see theirs.
        return not self.is_private or laid is None or laid.boot != this_boot()

    def clear(self, slot: Slot, folders: Collection[str]) -> None:
        """Makes the worktree exactly its base again; its layer is no list of changes any more."""
        scrub(slot.path, slot.base, folders, slot.keep_ignored, self.folders.trash, self.trees)
        laid, home = self._laid(slot.path), self._home(slot.path)
        base = None if laid is None else self.bases.named(laid.base)
        if laid is None or base is None:
            raise HostError(f"it cannot be told what {slot.path} is laid over")
        self._note(home, base, replace(laid, is_kept=True))

    def discard(self, place: Path) -> None:
        """Takes the mount away, then renames what changed into the trash; a thread deletes it there.

        Where many do that already it is deleted here: slots are not given up faster than they go.
        """
        handle = let_go(place)
        self._mounts.pop(place.name, None)
        gone = self.folders.trash / f"{place.name}-{secrets.token_hex(6)}"
        try:
            with suppress(FileNotFoundError):
                self._home(place).rename(gone)
            try:
                place.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                discard(place, self.folders.trash)
        finally:
            self._delete(handle, gone)

    def prepare(self) -> None:
        """Copies an index for the next slot."""
        self._spares.fill(self.registry.repo)

    def close(self) -> None:
        """Deletes what was made ready."""
        self._spares.close()

    def sweep(self, known: Collection[str]) -> None:
        """Throws away layers of slots that are gone, and bases that none needs."""
        for home in self.folders.layers.iterdir():
            place = self.folders.slots / home.name
            lock = None if home.name in known else try_lock(place)
            if lock is None:
                continue
            # It may have come since it was looked which there are. Work without a record is a person's.
            if read_record(place) is None and is_bare(home / "upper"):
                self.discard(place)
                forget(place)
            lock.release()
        self.bases.sweep(self._in_use)

    def _delete(self, handle: int | None, gone: Path) -> None:
        """Does what takes time after a slot was given back."""
        if self.deleting.acquire(blocking=False):
            # Seldom more than a few files. The process ends when they are gone.
            with suppress(RuntimeError):
                threading.Thread(target=_finish, args=(handle, gone, self.deleting), name="discard").start()
                return
            self.deleting.release()
        _finish(handle, gone, None)

    def _in_use(self) -> frozenset[str]:
        """Returns the keys of all bases that a slot is laid over, or is about to be."""
        names = [home.name for home in self.folders.layers.iterdir()]
        found = [self._laid(self.folders.slots / name) for name in names]
        return frozenset(key for laid in found if laid is not None for key in (laid.base, *laid.below))

    def _home(self, place: Path) -> Path:
        return self.folders.layers / place.name

    def _is_laid(self, place: Path, base: Base) -> bool:
        """Lays a new slot over a base; returns whether that was there. Else nothing is left of the slot."""
        home = self._home(place)
        try:
            home.mkdir(mode=0o700)
            (home / "upper").mkdir(mode=0o700)
            # Before it is looked at: whoever throws bases away sees it, or we see that it is gone.
            self._note(home, base)
            ahead = self._spares.take(base.index)
            self.registry.add_apart(place, home / "upper", base.commit, base.index, ahead)
            place.mkdir(mode=0o700)
            self._mount(place, home, base, by_user=self.is_private)
        except OSError as error:
            if error.errno not in GONE or base.index.exists():
                raise
            self.bases.forget(base)
            self.discard(place)
            self.registry.drop(place)
            return False
        return True

    def _mount(self, place: Path, home: Path, base: Base, *, by_user: bool) -> None:
        # New each time: a layer that was not waited for is refused with the old one.
        work = home / f"work-{secrets.token_hex(3)}"
        work.mkdir(mode=0o700)
        lay_over(base.lowers, home / "upper", work, place, by_user=by_user)
        self._mounts[place.name] = mount_of(place)

    def _is_as_mounted(self, place: Path) -> bool:
        """Returns whether one still sees the mount that this process made."""
        number = self._mounts.get(place.name, 0)
        return number != 0 and mount_of(place) == number

    def _check_seen(self, laid: Laid | None) -> None:
        """Raises OSError where a slot that was mounted for everybody would be mounted for us alone."""
        was_seen = sees_all_marks() if laid is None else not laid.is_private and laid.boot != this_boot()
        if self.is_private and was_seen:
            raise OSError(errno.EXDEV, "what is mounted here nobody else sees")

    def _check_readable(self, place: Path, laid: Laid | None, error: OSError) -> None:
        """Raises HostError where it cannot be told which folders of a slot were made anew."""
        if (laid is None or not laid.is_private) and not sees_all_marks():
            what = f"the slot {place} cannot be mounted: {error.strerror}"
            raise HostError(what, hint="resume the flow as root, where overlays may be mounted") from error

    def _materialise(self, place: Path, home: Path, commit: Oid) -> None:
        """Makes ordinary files of a slot; the last rename says that they are all there."""
        making = home / "making"
        if making.exists():
            discard(making, self.folders.trash)
        making.mkdir(mode=0o700)
        write_out(self.bases.repo, commit, making, os.cpu_count() or 1)
        pristine = making / "pristine"
        if has_moved(home / "upper"):
            # Folders that were moved are named, and lie in the base under their old names alone.
            pristine.mkdir()
            write_out(self.bases.repo, commit, pristine, os.cpu_count() or 1)
        apply_upper(home / "upper", making / "tree", pristine / "tree")
        making.rename(home / WHOLE)
        self._settle(place, home)

    def _settle(self, place: Path, home: Path) -> None:
        if (home / WHOLE / "tree").exists():
            place.rmdir()
            (home / WHOLE / "tree").rename(place)

    def _note(self, home: Path, base: Base, was: Laid | None = None) -> None:
        row = {
            "base": base.key,
            "below": base.below,
            "commit": base.commit,
            "boot": this_boot(),
            "private": self.is_private if was is None else was.is_private,
            "kept": was is not None and was.is_kept,
        }
        fresh = home / "laid.new"
        fresh.write_text(json.dumps(row), encoding="ascii")
        fresh.replace(home / LAID)

    def _laid(self, place: Path) -> Laid | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            row = json.loads((self._home(place) / LAID).read_bytes())
            below, boot = tuple(map(str, row["below"])), str(row["boot"])
            flags = bool(row.get("private")), bool(row.get("kept"))
            return Laid(str(row["base"]), below, Oid(str(row["commit"])), boot, *flags)
        return None

    def _clear_way(self, place: Path, upper: Path) -> None:
        """Keeps what lies where the mount was, as part of the work."""
        with suppress(FileNotFoundError):
            if place.is_symlink():
                place.unlink()
            elif not place.is_dir() or any(place.iterdir()):
                place.rename(upper / f"replaced-{secrets.token_hex(4)}")
        place.mkdir(mode=0o700, exist_ok=True)


def _finish(handle: int | None, gone: Path, held: threading.Semaphore | None) -> None:
    try:
        if handle is not None:
            os.close(handle)
        with suppress(OSError):
            delete(gone)
    finally:
        if held is not None:
            held.release()
