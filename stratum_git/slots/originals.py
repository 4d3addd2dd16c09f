"""Checkouts that slots are copied from, by means that share the blocks of files. Nobody works in them.

There are few of them: one is made when none is near enough to the commit that is wanted, and git changes in
the copy what differs. One is made beside the others and renamed to its place when it is on the disk.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.base_checkout import write_out
from stratum_git.git.diff import changed_paths
from stratum_git.git.flushing import flush
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.git.worktree import discard
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.queueing import lock_within
from stratum_git.slots.settings import Settings

FACTS = "original.json"
FEW = 3
"""Originals that stay."""
FAR = 2_000
"""Changed paths from which on a commit gets an original of its own."""
PATIENCE = 3600.0


@dataclass(frozen=True, slots=True)
class Original:
    """An original: ``tree`` has the files, ``index`` is git's of them."""

    place: Path
    commit: Oid

    @property
    def tree(self) -> Path:
        """Returns the folder with the files."""
        return self.place / "tree"

    @property
    def index(self) -> Path:
        """Returns the index of the files."""
        return self.place / "index"


@dataclass(frozen=True, slots=True)
class Originals:
    """The originals of one kind: *made* makes the empty folder for the files. Safe for several processes."""

    repo: Repository
    folders: StateFolders
    kind: str
    made: Callable[[Path], None]
    trees: TreeReader | None = None
    settings: Settings | None = None
    _seen: dict[tuple[Oid, str], Original] = field(default_factory=dict)
    _settings: Settings = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_settings", self.settings or Settings(self.repo))

    def near(self, commit: Oid) -> Original:
        """Returns the original at *commit*, or one that is near; it is made when there is none."""
        digest = self._settings.digest()
        found = self._seen.get((commit, digest)) or self._nearest(commit, digest)
        if found is None or not found.index.exists():
            with self._making():
                found = self._nearest(commit, digest) or self._make(commit, digest)
        self._seen[commit, digest] = found
        with suppress(OSError):
            os.utime(found.place / FACTS)
        return found

    def sweep(self) -> None:
        """Throws away what was half made, and all but those that were used last."""
        folder = self.folders.originals
        with suppress(HostError), self._making(patience=0):
            known = sorted(self._all(""), key=lambda one: -(one.place / FACTS).stat().st_mtime)
            stay = {one.place for one in known[:FEW]}
            for path in folder.glob(f"{self.kind}-*"):
                if path.is_dir() and path not in stay:
                    discard(path, self.folders.trash)

    def _nearest(self, commit: Oid, digest: str) -> Original | None:
        found: list[tuple[int, float, Original]] = []
        for one in self._all(digest):
            with suppress(OSError):
                found.append((self._far(one.commit, commit), -(one.place / FACTS).stat().st_mtime, one))
        far, _, best = min(found, key=lambda row: row[:2], default=(FAR, 0.0, None))
        return best if far < FAR else None

    def _all(self, digest: str) -> Iterator[Original]:
        for path in self.folders.originals.glob(f"{self.kind}-*-{digest or '*'}"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                row = json.loads((path / FACTS).read_bytes())
                yield Original(path, Oid(str(row["commit"])))

    def _far(self, one: Oid, other: Oid) -> int:
        """Returns how many paths differ, attributes counting as all: they may change files that did not."""
        if one == other:
            return 0
        try:
            if self.trees is None:
                changes = iter(changed_paths(self.repo, one, other))
            else:
                changes = differences(self.trees, self.trees.root(one), self.trees.root(other))
            paths = [change.path for change in islice(changes, FAR)]
        except HostError:
            return FAR
        return FAR if any(path.rpartition("/")[2] == ".gitattributes" for path in paths) else len(paths)

    def _make(self, commit: Oid, digest: str) -> Original:
        place = self.folders.originals / f"{self.kind}-{commit}-{digest}"
        fresh = self.folders.originals / f"{self.kind}-new-{secrets.token_hex(6)}"
        if place.exists():
            discard(place, self.folders.trash)
        fresh.mkdir(mode=0o700)
        try:
            self.made(fresh / "tree")
            (fresh / "tree").chmod(0o700)
            write_out(self.repo, commit, fresh, os.cpu_count() or 1)
            # After a power cut nobody asks whether its files are whole.
            _sync(fresh)
            (fresh / FACTS).write_text(json.dumps({"commit": commit}), encoding="ascii")
            flush([fresh / FACTS, fresh])
            fresh.rename(place)
        except BaseException:
            discard(fresh, self.folders.trash)
            raise
        return Original(place, commit)

    @contextmanager
    def _making(self, patience: float = PATIENCE) -> Iterator[None]:
        name = self.folders.locks / f"originals-{self.kind}.lock"
        lock = lock_within(name, patience)
        if lock is None:
            raise HostError(f"{name} was not free within {patience:g} s")
        try:
            yield
        finally:
            lock.release()


def _sync(folder: Path) -> None:
    """Waits until the disk has all that was written to a file system; raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(handle)
