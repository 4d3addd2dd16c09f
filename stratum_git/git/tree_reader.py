"""Reads trees, many of them with one git, and tells how two differ without starting another."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self, TypeAlias

from stratum_git.errors import HostError
from stratum_git.git.commits import Commit, parse
from stratum_git.git.diff import FOLDER, Change
from stratum_git.git.process import Conversation
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid

Entry: TypeAlias = tuple[str, Oid]
"""A mode of six digits, and an object."""
Entries: TypeAlias = Mapping[str, Entry]

NOTHING: Entries = {}
NAMES, UNDECODED = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
REMEMBERED = 50_000
"""Entries of trees that are kept, some ten megabytes. A run looks at the same few trees again and again: the
base's, and those on the way to a change; of the rest each is seen once or twice."""

ASKED = 500
"""Objects that are asked for at once: their names are fewer bytes than a pipe holds, so that nobody waits."""
COMMITS = 2000
"""Commits that are kept: those of a landing are asked for a few times each."""

SMALL = 64 * 1024
"""Bytes of a commit that is kept."""


class MissingObject(HostError):  # noqa: N818 - reads as what is the matter
    """An object that cannot be read: it is not there, or only where a partial clone is from."""


class TreeReader:
    """Reads the trees of a repository. Safe for several threads; to be closed.

    *heal* has git see what is missed and whoever reads has written; it says whether there was anything.
    """

    def __init__(self, repo: Repository, heal: Callable[[], int] = lambda: 0) -> None:
        self._repo = repo
        self._heal = heal
        self._lock = threading.Lock()
        self._git: Conversation | None = None
        self._known: OrderedDict[Oid, Entries] = OrderedDict()
        self._kept = 0
        self._commits: OrderedDict[Oid, Commit] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the git, if there is one. The reader can be used again."""
        with self._lock:
            git, self._git = self._git, None
        if git is not None:
            git.close()

    def root(self, commit: Oid) -> Oid:
        """Returns the tree of a commit."""
        return self.commit(commit).tree

    def commit(self, oid: Oid) -> Commit:
        """Returns a commit."""
        with self._lock:
            return self._commits.get(oid) or self._parsed_commit(oid, self._read(oid))

    def _parsed_commit(self, oid: Oid, data: bytes) -> Commit:
        found = parse(oid, data)
        if len(data) <= SMALL:
            self._commits[oid] = found
            while len(self._commits) > COMMITS:
                self._commits.popitem(last=False)
        return found

    def entries(self, tree: Oid) -> Entries:
        """Returns what is in a tree, not in those below it."""
        with self._lock:
            found = self._known.get(tree)
            if found is None:
                found = _parsed(self._read(tree), len(tree) // 2)
                self._remember(tree, found)
            else:
                self._known.move_to_end(tree)
        return found

    def fetch_commits(self, oids: Iterable[Oid]) -> None:
        """Reads commits that are going to be asked for, many at a time; what cannot be read is left out."""
        with self._lock:
            wanted = [oid for oid in dict.fromkeys(oids) if oid not in self._commits]
            for oid, data in self._read_many(wanted[:COMMITS]):
                self._parsed_commit(oid, data)

    def fetch(self, trees: Iterable[Oid]) -> None:
        """Does the same with trees."""
        with self._lock:
            wanted = [oid for oid in dict.fromkeys(trees) if oid not in self._known]
            for oid, data in self._read_many(wanted):
                self._remember(oid, _parsed(data, len(oid) // 2))

    def data(self, oid: Oid) -> bytes:
        """Returns what is in an object; raises MissingObject."""
        with self._lock:
            return self._read(oid)

    def remember(self, tree: Oid, entries: Entries) -> None:
        """Takes in what is in a tree that was just written."""
        with self._lock:
            if tree not in self._known:
                self._remember(tree, entries)

    def remember_commit(self, oid: Oid, data: bytes) -> None:
        """Takes in a commit that was just written."""
        with self._lock:
            self._parsed_commit(oid, data)

    def _remember(self, tree: Oid, entries: Entries) -> None:
        self._known[tree] = entries
        self._kept += len(entries) + 1
        while self._kept > REMEMBERED and len(self._known) > 1:
            _, old = self._known.popitem(last=False)
            self._kept -= len(old) + 1

    def _read_many(self, oids: Sequence[Oid]) -> Iterator[tuple[Oid, bytes]]:
        """Yields what can be read. Many are asked for at once: to wait takes longer than to read."""
        for start in range(0, len(oids), ASKED):
            some = oids[start : start + ASKED]
            self._git = self._git or self._repo.git.talk("cat-file", "--batch")
            if not self._git.send("".join(f"{oid}\n" for oid in some).encode("ascii")):
                return
            for oid in some:
                head = self._git.line().split()
                if head[1:] == [b"missing"]:
                    continue
                if len(head) != 3 or not head[2].isdigit():
                    # Whoever asks for it alone is told what the matter is.
                    git, self._git = self._git, None
                    git.close()
                    return
                yield oid, self._git.read(int(head[2]) + 1)[:-1]

    def _read(self, oid: Oid) -> bytes:
        self._git = self._git or self._repo.git.talk("cat-file", "--batch")
        head = self._git.ask_line(oid.encode("ascii") + b"\n").split()
        if head[1:] == [b"missing"] and self._heal():
            head = self._git.ask_line(oid.encode("ascii") + b"\n").split()
        if len(head) != 3 or not head[2].isdigit():
            git, self._git = self._git, None
            said = git.close().stderr.decode("utf-8", "replace").strip()
            raise MissingObject(
                f"the object {oid} cannot be read: {said or 'it is missing'}", hint="see `git fsck`"
            )
        size = int(head[2])
        return self._git.read(size + 1)[:size]


def differences(trees: TreeReader, old: Oid, new: Oid, place: str = "") -> Iterator[Change]:
    """Yields what ``git diff-tree -t --no-renames`` tells of two trees, in its order, folders included."""
    if old == new:
        return
    before = NOTHING if set(old) == {"0"} else trees.entries(old)
    after = NOTHING if set(new) == {"0"} else trees.entries(new)
    yield from entry_differences(trees, before, after, place)


def entry_differences(
    trees: TreeReader, before: Entries, after: Entries, place: str = ""
) -> Iterator[Change]:
    """Yields what is different of entries, and in the folders among them."""
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    sides = [(name, side) for name in changed for side in _sides(before.get(name), after.get(name))]
    width = next((len(entry[1]) for side in (before, after) for entry in side.values()), 0)
    zero = Oid("0" * width)
    for name, (was, now) in sorted(sides, key=_order):
        mode, entry = was or ("000000", zero)
        new_mode, new_entry = now or ("000000", zero)
        path = f"{place}{name}"
        yield Change(path, _status(was, now), mode, new_mode, entry, new_entry)
        if FOLDER in {mode, new_mode}:
            yield from differences(trees, entry, new_entry, f"{path}/")


def fetch_differences(trees: TreeReader, pairs: Iterable[tuple[Oid, Oid]]) -> None:
    """Reads what :func:`differences` will look at of each pair of trees, all that are as deep at once."""
    left = {pair for pair in pairs if pair[0] != pair[1]}
    while left:
        trees.fetch(tree for pair in left for tree in pair)
        left = {inner for old, new in left for inner in _folder_pairs(trees, old, new)}


def _folder_pairs(trees: TreeReader, old: Oid, new: Oid) -> Iterator[tuple[Oid, Oid]]:
    """Yields the folders that differ and are on both sides."""
    try:
        before, after = trees.entries(old), trees.entries(new)
    except MissingObject:
        # Who needs it will say so.
        return
    for name, entry in after.items():
        was = before.get(name)
        if was is not None and was != entry and was[0] == entry[0] == FOLDER:
            yield was[1], entry[1]


def changes_of(trees: TreeReader, old: Oid, new: Oid) -> tuple[Change, ...] | None:
    """Returns every file in which two commits differ, ``None`` where that cannot be read without a remote."""
    try:
        found = differences(trees, trees.root(old), trees.root(new))
        return tuple(change for change in found if not change.is_folder)
    except MissingObject:
        return None


def _sides(was: Entry | None, now: Entry | None) -> tuple[tuple[Entry | None, Entry | None], ...]:
    """Returns a change as it is told: a folder that became a file is one less and one more."""
    if was is not None and now is not None and (was[0] == FOLDER) is not (now[0] == FOLDER):
        return ((was, None), (None, now))
    return ((was, now),)


def _order(side: tuple[str, tuple[Entry | None, Entry | None]]) -> bytes:
    name, (was, now) = side
    mode = (was or now or ("", ""))[0]
    return os.fsencode(name) + (b"/" if mode == FOLDER else b"")


def _status(was: Entry | None, now: Entry | None) -> str:
    if was is None or now is None:
        return "A" if was is None else "D"
    return "M" if was[0][:3] == now[0][:3] else "T"


def _parsed(data: bytes, width: int) -> Entries:
    found: dict[str, Entry] = {}
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        mode = data[at:space].decode("ascii").rjust(6, "0")
        at = end + 1 + width
        # As `os.fsdecode` does it, which takes longer than all the rest here.
        found[str(data[space + 1 : end], NAMES, UNDECODED)] = (mode, Oid(data[end + 1 : at].hex()))
    return found
