"""The checkouts that slots are laid over: one for a commit, shared by all slots at it, changed by nobody.

A base is a whole checkout, or a layer over another base that has only what differs. Each has the index that a
worktree at its commit starts with. A base is made beside the others and renamed to its place, so a half-made
one has another name. Whoever wants to throw one away renames it first and looks then who uses it
(:meth:`Bases.sweep`); whoever lays a slot over one says so first (``Laid``), and mounts then.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from stratum_git.agents.identity import own_identity
from stratum_git.errors import HostError
from stratum_git.git.base_checkout import (
    UnlikeItsBase,
    settings_digest,
    settings_files,
    write_difference,
    write_out,
)
from stratum_git.git.diff import Change, changed_paths
from stratum_git.git.registration import copy_whole
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.git.worktree import discard
from stratum_git.model.ids import Oid
from stratum_git.slots.folders import StateFolders

FACTS = "base.json"
DEEPEST = 4
"""Layers of a base, the checkout included: each is looked through for a file that is not there."""
MOST = 5_000
"""Changed paths from which on a commit gets a checkout of its own."""
PATIENCE = 3600.0
"""Seconds that are spent waiting for somebody else who makes the same base."""
SETTLED = 2
"""Seconds after which a file's time is of another second than that of an index, by any clock."""
RECENT = 3
"""Bases that were used last are looked at, when one is wanted for another commit."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base that is there. ``below`` are the keys of what it is laid over, the nearest first.

    ``finished`` is a second (since the epoch) at which all of its files had been written, ``boot`` the boot
    of the machine in which that was. ``flushed``: they are on the disk.
    """

    place: Path
    commit: Oid
    below: tuple[str, ...]
    finished: int
    boot: str
    flushed: bool = False

    @property
    def key(self) -> str:
        """Returns its name."""
        return self.place.name

    @property
    def index(self) -> Path:
        """Returns the index that a worktree laid over it starts with."""
        return self.place / "index"

    @property
    def lowers(self) -> tuple[Path, ...]:
        """Returns the trees that make it, the uppermost first."""
        return tuple(self.place.with_name(key) / "tree" for key in (self.key, *self.below))


@dataclass
class Bases:
    """The bases of one repository. Safe for several threads and processes."""

    repo: Repository
    folders: StateFolders
    trees: TreeReader | None = None
    _known: dict[str, Base] = field(default_factory=dict)
    _settings: tuple[object, tuple[Path, ...], str] = ((), (), "")
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def ensure(self, commit: Oid) -> Base:
        """Returns the base of *commit*, made if there is none; raises HostError when it cannot be."""
        key = f"{commit}-{self._digest()}"
        base = self._ready(key)
        if base is None:
            with self._making(key):
                base = self._ready(key) or self._made(key, commit)
        return self._settled(base)

    def named(self, key: str) -> Base | None:
        """Returns a base by its name; ``None`` when it is not there any more, or not to be trusted."""
        return self._ready(key)

    def forget(self, base: Base) -> None:
        """Looks at the disk again when *base* is wanted: it was not there as it should be."""
        self._known.pop(base.key, None)

    def _digest(self) -> str:
        """Returns a word for the settings of now, which are only read again when a file of theirs changed."""
        sign, files, digest = self._settings
        if not files or _sign(files) != sign:
            files = settings_files(self.repo)
            sign, digest = _sign(files), settings_digest(self.repo)
            self._settings = (sign, files, digest)
        return digest

    def _ready(self, key: str) -> Base | None:
        base = self._known.get(key) or self._read(key)
        if base is None or not (base.flushed or base.boot == _boot()):
            # A power cut may have torn its files: nobody waited for the disk yet.
            return None
        for other in base.below:
            if not (self.folders.bases / other / FACTS).exists():
                return None
        self._known[key] = base
        with suppress(OSError):
            os.utime(base.place / FACTS)
            return base
        self._known.pop(key)
        return None

    def _read(self, key: str) -> Base | None:
        place = self.folders.bases / key
        try:
            row = json.loads((place / FACTS).read_bytes())
            below = tuple(str(name) for name in row["below"])
            facts = Oid(str(row["commit"])), below, int(row["finished"]), str(row["boot"])
            return Base(place, *facts, flushed=bool(row["flushed"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _made(self, key: str, commit: Oid) -> Base:
        place = self.folders.bases / key
        if place.exists():
            # Of another boot, and never flushed.
            discard(place, self.folders.trash)
        fresh = self.folders.bases / f"new-{secrets.token_hex(6)}"
        fresh.mkdir(mode=0o700)
        try:
            below = self._written(commit, key, fresh)
            # The clock of the file system, which gave the files their times.
            finished = int((fresh / "index").stat().st_mtime) + 1
            base = Base(place, commit, below, finished, _boot())
            _note(fresh, base)
            fresh.rename(place)
        except BaseException:
            discard(fresh, self.folders.trash)
            raise
        self._known[key] = base
        threading.Thread(target=self._flush, args=(base,), daemon=True, name="flush-base").start()
        return base

    def _written(self, commit: Oid, key: str, fresh: Path) -> tuple[str, ...]:
        """Writes a base, as a layer over the nearest where there is one; returns what it is over."""
        near = self._nearest(commit, key.partition("-")[2])
        if near is not None:
            old, changes = near
            with suppress(UnlikeItsBase):
                write_difference(self.repo, (old.commit, old.index), commit, changes, fresh)
                return (old.key, *old.below)
        write_out(self.repo, commit, fresh, os.cpu_count() or 1)
        return ()

    def _nearest(self, commit: Oid, digest: str) -> tuple[Base, tuple[Change, ...]] | None:
        """Returns, of the bases used last, the one with the fewest changes to *commit*, and these."""
        found: list[tuple[int, Base | None, tuple[Change, ...]]] = []
        for base in self._recent(digest)[:RECENT]:
            with suppress(HostError):
                changes = self._changes(base.commit, commit)
                found.append((len(changes), base, changes))
        count, old, changes = min(found, key=lambda row: row[0], default=(MOST + 1, None, ()))
        return None if old is None or count > MOST else (old, changes)

    def _changes(self, old: Oid, new: Oid) -> tuple[Change, ...]:
        if self.trees is None:
            return tuple(changed_paths(self.repo, old, new, folders=True))
        return tuple(differences(self.trees, self.trees.root(old), self.trees.root(new)))

    def _recent(self, digest: str) -> list[Base]:
        """Returns the bases made with the same settings that another layer may lie over, used last first."""
        rows = []
        for path in self.folders.bases.glob(f"*-{digest}"):
            base = self._known.get(path.name) or self._read(path.name)
            if base is not None and len(base.below) + 1 < DEEPEST and (base.flushed or base.boot == _boot()):
                with suppress(OSError):
                    rows.append(((path / FACTS).stat().st_mtime_ns, base))
        return [base for _, base in sorted(rows, key=lambda row: row[0], reverse=True)]

    def _settled(self, base: Base) -> Base:
        """Gives the index of *base* a time after those of all files, once that is true.

        Git reads each file of which the index was written in the same second. As long as it is that second a
        file may really change and look the same; later none can.
        """
        with suppress(FileNotFoundError):
            # That file was touched when the base was looked for.
            now = (base.place / FACTS).stat().st_mtime
            if base.index.stat().st_mtime < base.finished + 1 and now >= base.finished + SETTLED:
                fresh = base.place / f"index-{secrets.token_hex(4)}"
                copy_whole(base.index, fresh)
                fresh.replace(base.index)
        return base

    def _flush(self, base: Base) -> None:
        """Waits until the disk has a base, and says so in its facts."""
        with suppress(OSError):
            handle = os.open(base.place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if ctypes.CDLL(None, use_errno=True).syncfs(handle) == 0:
                    _note(base.place, replace(base, flushed=True))
            finally:
                os.close(handle)

    @contextmanager
    def _making(self, key: str) -> Iterator[None]:
        lock = FileLock(
            self.folders.bases / f"{key}.lock", thread_local=False, poll_interval=0.02, mode=0o600
        )
        # One at a time in this process: the second commit may become a layer over the first one.
        with self._turn:
            try:
                lock.acquire(timeout=PATIENCE)
            except Timeout as error:
                raise HostError(f"somebody has been making {lock.lock_file} for an hour") from error
            try:
                yield
            finally:
                lock.release()


def _note(place: Path, base: Base) -> None:
    row = asdict(base)
    row.pop("place")
    fresh = place / f"base-{secrets.token_hex(4)}.new"
    with fresh.open("w") as file:
        json.dump(row, file)
        file.flush()
        if base.flushed:
            os.fsync(file.fileno())
    fresh.replace(place / FACTS)


def _boot() -> str:
    return own_identity().boot_id


def _sign(files: tuple[Path, ...]) -> object:
    """Returns a value that is another one when a file was written to."""
    found: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            facts = path.stat()
            found.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
        except OSError:
            found.append(None)
    return tuple(found)
