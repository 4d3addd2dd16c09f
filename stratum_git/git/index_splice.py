"""Makes the index of a commit out of that of another one, by what differs: the rest is copied as it is.

Git would read and write all of it, several times, and compute its checksum more slowly than a library. Only
an index is taken that git wrote of a whole commit, with nothing in it but entries and the trees noted for
them. What comes of it is what ``git read-tree -m`` makes, to the byte: ``tests/git/test_index_splice.py``.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence

from stratum_git.git.diff import FOLDER, Change
from stratum_git.git.index_file import HASHES, HEADER, TREES, UnreadIndex
from stratum_git.git.stat_data import UnknownIndex, entries
from stratum_git.git.tree_reader import Entries, TreeReader
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field

STAT = 40
"""Bytes of an entry before the id of its object."""
LONG = 0xFFF
PLAIN = b"DIRC\0\0\0\2"
NOTHING = "000000"
GITLINK = "160000"
UNLIKE = "an index that is not that of its commit"


@dataclass(frozen=True, slots=True)
class Old:
    """An index, and the tree that it is of."""

    data: bytes
    tree: Oid

    @property
    def width(self) -> int:
        """Returns the bytes of an object's id."""
        return len(self.tree) // 2


def spliced(
    old: Old, new: Oid, changes: Sequence[Change], rows: Mapping[str, bytes], trees: TreeReader
) -> bytes:
    """Returns the index of the tree *new*, which differs from that of *old* in *changes*, folders included.

    *rows* are the entries of all files that are new or changed, as bytes. Raises UnreadIndex where git has to
    do it.
    """
    if not old.data.startswith(PLAIN):
        raise UnreadIndex("an index of a later version")
    parts, at, count = [b""], HEADER, int.from_bytes(old.data[8:HEADER], "big")
    for start, end, row in _edits(old, changes, rows, trees):
        parts += (old.data[at:start], row)
        at, count = end, count + bool(row) - (end > start)
    last = _place(old, *_last(trees, old.tree), backwards=True)[1]
    noted = _only_trees(old, last)
    after = _Noted(noted, old.width, trees).made_anew(old.tree, new, _touched(changes))
    parts += (old.data[at:last], TREES, len(after).to_bytes(4, "big"), after)
    parts[0] = PLAIN + count.to_bytes(4, "big")
    data = b"".join(parts)
    return data + hashlib.new(HASHES[old.width], data, usedforsecurity=False).digest()


def rows_of(data: bytes, width: int) -> dict[str, bytes]:
    """Returns the entries of a small index, as bytes."""
    try:
        found = [(entry.at, entry.path) for entry in entries(data, width)]
    except (UnknownIndex, ValueError, IndexError, struct.error) as error:
        raise UnreadIndex("no index of version 2") from error
    return {os.fsdecode(path): data[at : at + size_of(path, width)] for at, path in found}


def _edits(
    old: Old, changes: Sequence[Change], rows: Mapping[str, bytes], trees: TreeReader
) -> Iterator[tuple[int, int, bytes]]:
    """Yields from where to where something else is to stand, and what."""
    at = HEADER
    files = (change for change in changes if FOLDER not in {change.old_mode, change.new_mode})
    for change in sorted(files, key=lambda change: os.fsencode(change.path)):
        if GITLINK in {change.old_mode, change.new_mode}:
            raise UnreadIndex("a link to another repository")
        row = b"" if change.new_mode == NOTHING else rows[change.path]
        if change.old_mode == NOTHING:
            following = _following(trees, old.tree, change.path)
            if following is None:
                at = end = _place(old, *_last(trees, old.tree), backwards=True)[1]
            else:
                at = end = _place(old, *following, start=at)[0]
        else:
            at, end = _place(old, change.path, change.old, start=at)
        yield at, end, row
        at = end


def _place(old: Old, path: str, oid: Oid, *, start: int = HEADER, backwards: bool = False) -> tuple[int, int]:
    """Returns where an entry begins and ends."""
    name = os.fsencode(path)
    sought = bytes.fromhex(oid) + min(len(name), LONG).to_bytes(2, "big") + name + b"\0"
    found = old.data.rfind(sought) if backwards else old.data.find(sought, start + STAT)
    begin = found - STAT
    if found < 0 or (begin - HEADER) % 8:
        raise UnreadIndex(UNLIKE)
    return begin, begin + size_of(name, old.width)


def size_of(name: bytes, width: int) -> int:
    """Returns how long an entry is."""
    return (STAT + width + 2 + len(name) + 8) & ~7


def _in_order(inside: Entries) -> list[tuple[bytes, str]]:
    """Returns the names in a folder as an index has them, those of folders with a slash."""
    return sorted((os.fsencode(name) + b"/" * (mode == FOLDER), name) for name, (mode, _) in inside.items())


def _following(trees: TreeReader, tree: Oid, path: str) -> tuple[str, Oid] | None:
    """Returns the first file of a tree after *path*, which is not in it."""
    *above, name = path.split("/")
    levels, inside = list[tuple[str, Entries, bytes]](), trees.entries(tree)
    place = ""
    for part in above:
        levels.append((place, inside, os.fsencode(part) + b"/"))
        mode, inner = inside.get(part, (NOTHING, tree))
        if mode != FOLDER:
            break
        place, inside = f"{place}{part}/", trees.entries(inner)
    else:
        levels.append((place, inside, os.fsencode(name)))
    for at, there, key in reversed(levels):
        later = next((other for order, other in _in_order(there) if order > key), None)
        if later is not None:
            mode, oid = there[later]
            return _end_of(trees, f"{at}{later}", mode, oid, 0)
    return None


def _last(trees: TreeReader, tree: Oid) -> tuple[str, Oid]:
    """Returns the last file of a tree."""
    return _end_of(trees, "", FOLDER, tree, -1)


def _end_of(trees: TreeReader, path: str, mode: str, oid: Oid, which: int) -> tuple[str, Oid]:
    while mode == FOLDER:
        inside = trees.entries(oid)
        if not inside:
            raise UnreadIndex("a folder with nothing in it")
        name = _in_order(inside)[which][1]
        mode, oid = inside[name]
        path = f"{path}/{name}" if path else name
    return path, oid


def _only_trees(old: Old, at: int) -> bytes:
    """Returns what is noted of trees; raises UnreadIndex where there is anything else after the entries."""
    end = at + 8 + int.from_bytes(old.data[at + 4 : at + 8], "big")
    if old.data[at : at + 4] != TREES or end != len(old.data) - old.width:
        raise UnreadIndex("an index with more than entries and trees")
    return old.data[at + 8 : end]


def _touched(changes: Sequence[Change]) -> frozenset[str]:
    """Returns the folders that are in both and differ."""
    return frozenset(
        {"", *(change.path for change in changes if change.old_mode == change.new_mode == FOLDER)}
    )


@dataclass(frozen=True, slots=True)
class _Node:
    """What is noted of a folder: how many entries it has, and from where to where that stands."""

    count: int
    start: int
    end: int


@dataclass(slots=True)
class _Noted:
    """The trees that git noted for the entries of an index, each with those in it after it."""

    data: bytes
    width: int
    trees: TreeReader
    nodes: dict[str, _Node] = field(default_factory=dict)

    def made_anew(self, old: Oid, new: Oid, touched: frozenset[str]) -> bytes:
        """Returns the same for the tree *new*, which differs from *old* in the folders *touched*."""
        self._read(old, touched)
        return self._changed("", b"", new, touched)[0]

    def _read(self, old: Oid, touched: frozenset[str]) -> None:
        """Finds the folders in those that are touched."""
        pattern = rb"([^\0]*)\0(\d+) (\d+)\n(.{%d})" % self.width
        found = list(re.finditer(pattern, self.data, re.DOTALL))
        joined = found and found[0].start() == 0 and found[-1].end() == len(self.data)
        whole = sum(match.end() - match.start() for match in found) == len(self.data)
        if not joined or not whole or found[0][4] != bytes.fromhex(old):
            raise UnreadIndex(UNLIKE)
        try:
            if self._walk(found, 0, "", touched, wanted=True) != len(found):
                raise UnreadIndex(UNLIKE)
        except IndexError as error:
            raise UnreadIndex(UNLIKE) from error

    def _walk(
        self, found: list[re.Match[bytes]], at: int, path: str, touched: frozenset[str], *, wanted: bool
    ) -> int:
        """Notes where a folder and those in it are; returns the number of the one after them."""
        match, is_open = found[at], wanted and path in touched
        after = at + 1
        if is_open:
            for _ in range(int(match[3])):
                name = os.fsdecode(found[after][1])
                after = self._walk(found, after, f"{path}/{name}" if path else name, touched, wanted=True)
        else:
            left = int(match[3])
            while left:
                left += int(found[after][3]) - 1
                after += 1
        if wanted:
            self.nodes[path] = _Node(int(match[2]), match.start(), found[after - 1].end())
        return after

    def _changed(self, path: str, name: bytes, tree: Oid, touched: frozenset[str]) -> tuple[bytes, int]:
        """Returns what is noted of a folder now, and how many entries it has."""
        known = self.nodes.get(path)
        if known is not None and path not in touched:
            return self.data[known.start : known.end], known.count
        inside = self.trees.entries(tree)
        inner, count = list[bytes](), sum(mode != FOLDER for mode, _ in inside.values())
        folders = [(os.fsencode(each), each) for each, (mode, _) in inside.items() if mode == FOLDER]
        # As git keeps them: the shorter ones first.
        for encoded, each in sorted(folders, key=lambda row: (len(row[0]), row[0])):
            below = f"{path}/{each}" if path else each
            noted, more = self._changed(below, encoded, inside[each][1], touched)
            inner.append(noted)
            count += more
        head = b"%b\0%d %d\n%b" % (name, count, len(inner), bytes.fromhex(tree))
        return b"".join((head, *inner)), count
