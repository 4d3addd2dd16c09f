"""What a slot holds at this moment, committed or not, while somebody is at work in it.

Nothing of the slot is touched: neither its index nor its HEAD, and no lock of its git is taken. An index of
our own stands beside it, copied once from the slot's: git's marks in it save reading a file that did not
change since the last look. A file that changes or vanishes while it is read is no error, the next look
tells. What is read goes into a scratch store and never into the repository.

It is a look and no capture: of files that are large, or very many, it tells only that they changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.git.diff import Change
from stratum_git.git.glimpse import Glimpse, Seen
from stratum_git.git.layers import Layer
from stratum_git.git.process import Git, GitFailed
from stratum_git.git.scratch import Scratch
from stratum_git.git.tree_edit import entry_at
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid

STATUS = (
    "status", "--porcelain=v2", "-z", "--no-renames", "--ignore-submodules=dirty", "--no-ahead-behind",
)  # fmt: skip
CONFIG = (
    "core.excludesFile=/dev/null",
    "core.safecrlf=false",
    "core.splitIndex=false",
    # Folders whose time did not change are not listed again. Git does it for all files only when configured.
    "core.untrackedCache=true",
    "status.showUntrackedFiles=all",
)
TIMEOUT = 60.0
LARGE = 2 * 1024 * 1024
"""Bytes of a file beyond which it is not read."""
MANY = 5000
"""Changed files in one look beyond which they are not read."""
FATAL = 128
PLAIN = "100644"
ABSENT = "000000"

Changes = Mapping[str, Change]
"""By their paths."""
IsSecret = Callable[[bytes], bool]
Mark = tuple[int, int, int, int]


@dataclass
class Peeker:
    """Looks again and again into one slot that started from commit ``base``. For one thread at a time.

    ``index`` is a file of ours, not there yet. Files for which ``is_secret`` holds are left out, as they
    will be of the result. ``clone`` says that the slot has a store of objects of its own, ``layer`` where its
    changes lie: then nothing else is looked at.
    """

    slot: Path
    base: Oid
    scratch: Scratch
    trees: TreeReader
    index: Path
    clone: bool = False
    is_secret: IsSecret | None = None
    layer: Layer | None = None
    read: int = 0
    """Files read so far, for whoever wants to know what a look cost."""
    _changes: Changes | None = None
    _added: Changes = field(default_factory=dict)
    _left: dict[str, Mark] = field(default_factory=dict)
    _glimpse: Glimpse | None = None
    _seen: Seen | None = None

    def __post_init__(self) -> None:
        """Sees whether there is a quick way."""
        if self.layer is not None and self.layer.commit == self.base:
            self._glimpse = Glimpse(self.slot, self.layer, self.scratch.repo, self.trees, self.scratch)

    def look(self) -> Changes:
        """Returns what differs from the base; the very same object when that is what it was before.

        One git when nothing changed, three otherwise; with a layer none, and two at most. Raises HostError or
        OSError when there is nothing to be seen: the slot is gone, or is being made into something else.
        """
        seen = None if self._glimpse is None else self._glimpse.look(self._sorted_out)
        if seen is not None:
            return self._told(seen)
        is_blurred, self._seen = self._seen is not None, None
        if not self.index.exists():
            shutil.copy2(git_dir_of(self.slot) / "index", self.index)
        names = self._listed()
        wanted, left = self._sorted_out(names)
        if (wanted and self._take_in(wanted)) or self._changes is None or is_blurred:
            self._added = self._recorded()
        elif left == self._left:
            return self._changes
        self._left = left
        return self._kept(self._added, left)

    def _told(self, seen: Seen) -> Changes:
        if seen is self._seen and self._changes is not None:
            return self._changes
        self.read += seen.read
        self._seen = seen
        return self._kept(seen.changes, seen.left)

    def _kept(self, changes: Changes, left: Mapping[str, Mark]) -> Changes:
        """Returns the changes, as the very same object when they are what they were."""
        found = {**changes, **{path: self._stub(path, mark) for path, mark in left.items()}}
        if self._changes is None or found != self._changes:
            self._changes = dict(sorted(found.items()))
        return self._changes

    @property
    def stores(self) -> tuple[Path, ...]:
        """Returns where objects of the slot lie that are in no other store."""
        return (git_dir_of(self.slot) / "objects",) if self.clone else ()

    def _git(self, *args: str, stdin: bytes = b"", stores: tuple[Path, ...] = ()) -> bytes:
        env = {**self.scratch.env_with(stores), "GIT_INDEX_FILE": str(self.index)}
        return Git(self.slot).run(*args, stdin=stdin, config=CONFIG, env=env, timeout=TIMEOUT).stdout

    def _listed(self) -> list[str]:
        """Returns the paths at which the slot is not what our index says."""
        found = []
        for record in self._git(*STATUS, stores=self.stores).split(b"\0"):
            line = os.fsdecode(record)
            kind = line[:2]
            if kind == "? ":
                found.append(line[2:])
            elif kind == "u ":
                found.append(line.split(" ", 10)[10])
            elif kind == "1 " and (line[3] != "." or line[2] == "D"):
                # Only in HEAD: it is ignored, and was committed all the same.
                path = line.split(" ", 8)[8]
                found += [path] if line[3] != "." or os.path.lexists(self.slot / path) else []
        # A repository inside of the slot is a folder here. Git records its HEAD alone, if anything.
        return sorted(path for path in found if not path.endswith("/"))

    def _sorted_out(self, names: list[str]) -> tuple[list[str], dict[str, Mark]]:
        """Returns what is to be read, and of what only that it changed is told."""
        wanted: list[str] = []
        left: dict[str, Mark] = {}
        for path in names:
            try:
                seen = (self.slot / path).lstat()
            except OSError:
                wanted.append(path)
                continue
            mark = (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ino)
            is_plain = stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode) or stat.S_ISDIR(seen.st_mode)
            if not is_plain or seen.st_size > LARGE or len(wanted) >= MANY:
                left[path] = mark
            elif self.is_secret is None or not self._is_tainted(path, self.is_secret):
                wanted.append(path)
        return wanted, left

    def _is_tainted(self, path: str, is_secret: IsSecret) -> bool:
        if is_secret(os.fsencode(path)):
            return True
        try:
            at = self.slot / path
            return is_secret(os.fsencode(at.readlink()) if at.is_symlink() else at.read_bytes())
        except OSError:
            return False

    def _take_in(self, paths: list[str]) -> bool:
        """Brings our index to what lies at *paths*; returns whether it changed."""
        stdin = b"\0".join(map(os.fsencode, paths)) + b"\0"
        asked = ("update-index", "--add", "--remove", "--replace", "-z", "--stdin")
        try:
            self._git(*asked, stdin=stdin)
        except GitFailed as error:
            if error.code != FATAL:
                raise
            if len(paths) == 1:
                # It cannot be read, now or at all: what the index says of it stands.
                return False
            middle = len(paths) // 2
            taken = [self._take_in(half) for half in (paths[:middle], paths[middle:])]
            return any(taken)
        self.read += len(paths)
        return True

    def _recorded(self) -> Changes:
        asked = ("diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev")
        out = self._git(*asked, "--ignore-submodules=none", self.base)
        fields = out.split(b"\0")
        rows = [
            _change(facts, os.fsdecode(path)) for facts, path in zip(fields[::2], fields[1::2], strict=False)
        ]
        return {change.path: change for change in rows}

    def _stub(self, path: str, mark: Mark) -> Change:
        """Returns a change to something that is like nothing else, and that nobody can merge."""
        facts = hashlib.sha256(repr((str(self.slot), path, mark)).encode("utf-8", "replace")).digest()
        old = entry_at(self.trees, self.trees.root(self.base), path)
        was = (ABSENT, Oid(self.scratch.repo.zero)) if old is None else old
        new = self.scratch.writer.blob(b"\0" + facts)
        return Change(path, "A" if old is None else "M", was[0], PLAIN, was[1], new)


def _change(facts: bytes, path: str) -> Change:
    old_mode, new_mode, old, new, status = facts.decode("ascii").lstrip(":").split(" ")
    return Change(path, status[0], old_mode, new_mode, Oid(old), Oid(new))
