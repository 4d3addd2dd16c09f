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
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from stratum_git.agents.identity import own_identity
from stratum_git.errors import HostError
from stratum_git.git.base_checkout import (
    UnlikeItsBase,
    write_difference,
    write_out,
)
from stratum_git.git.diff import Change, changed_paths
from stratum_git.git.registration import copy_whole
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.git.worktree import discard
from stratum_git.model.changing import replace
from stratum_git.model.ids import Oid
from stratum_git.model.values import asdict, dataclass, field
from stratum_git.slots.base_checks import changed_in
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.queueing import lock_within
from stratum_git.slots.settings import Settings

FACTS = "base.json"
DEEPEST = 4
"""Layers of a base, the checkout included: each is looked through for a file that is not there."""
MOST = 5_000
"""Changed paths from which on a commit gets a checkout of its own."""
PATIENCE = 3600.0
"""Seconds that are spent waiting for somebody else who makes the same base."""
SETTLED = 2
"""Seconds after which a file's time is of another second than that of an index, by any clock."""
NEW, GONE = "new-", "gone-"
"""How names begin of bases that are being made, and of those that nobody is to find any more."""
KEY = re.compile(r"[0-9a-f]{40,64}-[0-9a-f]{12}")
SPARE = 4
"""Bases that are kept though no slot is laid over them: the next run begins where the last one ended."""
OFTEN = 8
"""Bases that are made until it is looked which nobody needs any more."""
TIGHT = 0.05
"""The part of the disk that is free, below which no base is kept for the next run."""
RECENT = 3
"""Bases that were used last are looked at, when one is wanted for another commit."""
FEW = 64
"""Changed paths up to which nobody looks for a nearer one: that takes longer."""

_One = TypeVar("_One")


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
    """The bases of one repository. Safe for several threads and processes.

    ``tell`` is told, in a line, of one that somebody wrote in.
    """

    repo: Repository
    folders: StateFolders
    trees: TreeReader | None = None
    tell: Callable[[str], None] = lambda _: None
    settings: Settings | None = None
    _known: dict[str, Base] = field(default_factory=dict)
    _made_since: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _settings: Settings = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._settings = self.settings or Settings(self.repo)

    def ensure(self, commit: Oid) -> Base:
        """Returns the base of *commit*, made if there is none; raises HostError when it cannot be."""
        key = f"{commit}-{self._settings.digest()}"
        base = self._ready(key)
        if base is None:
            with self._making():
                base = self._ready(key) or self._made(key, commit)
        return self._settled(base)

    def named(self, key: str) -> Base | None:
        """Returns a base by its name; ``None`` when it is not there any more, or not to be trusted."""
        return self._ready(key)

    def forget(self, base: Base) -> None:
        """Looks at the disk again when *base* is wanted: it was not there as it should be."""
        self._known.pop(base.key, None)

    def _ready(self, key: str) -> Base | None:
        base = self._known.get(key) or self._read(key)
        if base is None or not (base.flushed or base.boot == this_boot()):
            # A power cut may have torn its files: nobody waited for the disk yet.
            return None
        is_new = key not in self._known
        for other in base.below:
            if not (self.folders.bases / other / FACTS).exists():
                return None
        self._known[key] = base
        try:
            os.utime(base.place / FACTS)
        except OSError:
            self._known.pop(key, None)
            return None
        if is_new:
            # Somebody else made it, maybe days ago. Whoever works in it takes longer than this look.
            _aside(self._look_at, base)
        return base

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
            # Of another boot, and never flushed; or half thrown away.
            self._set_aside(key)
        fresh = self.folders.bases / f"{NEW}{secrets.token_hex(6)}"
        fresh.mkdir(mode=0o700)
        try:
            below = self._written(commit, key, fresh)
            # The clock of the file system, which gave the files their times.
            finished = int((fresh / "index").stat().st_mtime) + 1
            base = Base(place, commit, below, finished, this_boot())
            _note(fresh, base)
            fresh.rename(place)
        except BaseException:
            discard(fresh, self.folders.trash)
            raise
        self._known[key] = base
        self._made_since += 1
        _aside(self._flush, base)
        return base

    def _written(self, commit: Oid, key: str, fresh: Path) -> tuple[str, ...]:
        """Writes a base, as a layer over the nearest where there is one; returns what it is over."""
        near = self._nearest(commit, key.partition("-")[2])
        if near is not None:
            old, changes = near
            with suppress(UnlikeItsBase):
                write_difference(self.repo, (old.commit, old.index), commit, changes, fresh, self.trees)
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
                if len(changes) <= FEW:
                    break
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
            is_good = base is not None and (base.flushed or base.boot == this_boot())
            if base is not None and is_good and len(base.below) + 1 < DEEPEST:
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

    def sweep(self, in_use: Callable[[], frozenset[str]]) -> None:
        """Throws away bases that nobody needs: not *in_use*, which says keys, nor wanted lately."""
        lock = lock_within(self._lock_file, 0)
        if lock is None:
            # Somebody makes one; the next that tidies finds what is left.
            return
        try:
            used, spare = in_use(), set(self._spare())
            for path in self.folders.bases.iterdir():
                key = path.name.removeprefix(GONE).partition(" ")[0]
                if path.name.startswith(NEW) or (path.name.startswith(GONE) and key not in used):
                    discard(path, self.folders.trash)
                elif KEY.fullmatch(path.name) and key not in used | spare:
                    self._retire(path.name, in_use)
        finally:
            lock.release()

    def thin_out(self, in_use: Callable[[], frozenset[str]]) -> None:
        """Does what :meth:`sweep` does while others go on, and deletes what that leaves, where it is time.

        Each task that builds on others may have a base of its own, with an index of megabytes.
        """
        if self._made_since < OFTEN:
            return
        self._made_since = 0

        def work(_: Base | None) -> None:
            with suppress(OSError, HostError):
                self.sweep(in_use)
                for path in self.folders.trash.iterdir():
                    if path.name.startswith(GONE):
                        shutil.rmtree(path, ignore_errors=True)

        _aside(work, None)

    def check(self, base: Base) -> str | None:
        """Returns what somebody changed in a base, or in one below it; ``None`` when all is as it was."""
        width = 20 if self.repo.object_format == "sha1" else 32
        chain = [base, *filter(None, map(self._read, base.below))]
        for one in chain:
            found = changed_in(one.lowers[0], one.index, width, is_whole=not one.below)
            if found is not None:
                return f"{one.place}/tree: {found}"
        return None

    def _look_at(self, base: Base) -> None:
        with suppress(OSError, HostError):
            found = self.check(base)
            if found is not None and base.place.exists():
                self.spoil(base)
                self.tell(f"slots: somebody wrote in {found}; it is not used any more")

    def spoil(self, base: Base) -> None:
        """Sets a base aside, and those over it: nobody is laid over it any more. Who is, stays."""
        with self._making():
            for path in list(self.folders.bases.iterdir()):
                other = self._read(path.name) if KEY.fullmatch(path.name) else None
                if other is not None and base.key in {other.key, *other.below}:
                    self._set_aside(other.key)

    def _spare(self) -> Iterator[str]:
        """Yields the keys of the bases that were wanted last, and of those below them."""
        rows = []
        for path in self.folders.bases.iterdir():
            with suppress(OSError):
                if KEY.fullmatch(path.name):
                    rows.append(((path / FACTS).stat().st_mtime_ns, path.name))
        disk = os.statvfs(self.folders.bases)
        kept = SPARE if disk.f_bavail > disk.f_blocks * TIGHT else 0
        for _, key in sorted(rows, reverse=True)[:kept]:
            base = self._read(key)
            yield from () if base is None else (key, *base.below)

    def _retire(self, key: str, in_use: Callable[[], frozenset[str]]) -> None:
        """Throws a base away, unless somebody says at the last moment that he needs it.

        He says so before he mounts. Now it is not there: either he is seen here, or he sees that.
        """
        gone = self._set_aside(key)
        if key in in_use():
            gone.rename(self.folders.bases / key)
        else:
            discard(gone, self.folders.trash)

    def _set_aside(self, key: str) -> Path:
        """Gives a base another name, under which mounts go on and nobody finds it."""
        self._known.pop(key, None)
        gone = self.folders.bases / f"{GONE}{key} {secrets.token_hex(3)}"
        return (self.folders.bases / key).rename(gone)

    @contextmanager
    def _making(self) -> Iterator[None]:
        # One at a time: the second commit may become a layer over the first one.
        with self._turn:
            lock = lock_within(self._lock_file, PATIENCE)
            if lock is None:
                raise HostError(f"somebody has held {self._lock_file} for an hour")
            try:
                yield
            finally:
                lock.release()

    @property
    def _lock_file(self) -> Path:
        return self.folders.locks / "bases.lock"


def _aside(work: Callable[[_One], None], base: _One) -> None:
    """Does something while others go on. It may end with the process at any moment."""
    threading.Thread(target=work, args=(base,), daemon=True, name="base").start()


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


@cache
def this_boot() -> str:
    """Returns the boot of the machine that this process is of."""
    return own_identity().boot_id
