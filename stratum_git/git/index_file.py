"""Indexes as files: how one differs from another, and tiny ones made here for a git to fill in.

Only version 2 is read, which git writes unless it must write a later one or is told to.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from stratum_git.git.index import ASSUMED, LONG, PLAIN, SIGNATURE, STAT
from stratum_git.git.tree_reader import Entry
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass

HEADER = 12
STAGE = 0x30
EXTENSION = 8
"""Bytes of an extension's name and length."""
TREES = b"TREE"
PIECE = 1 << 16
LEAST = 256
KEPT = 8
APART = "an entry in conflict, or hidden from git"
HASHES = {20: "sha1", 32: "sha256"}


class UnreadIndex(Exception):  # noqa: N818 - reads as what is the matter
    """An index of which cannot be told here what is in it: git has to."""


@dataclass(frozen=True, slots=True)
class Known:
    """Where the entries of an index begin and the last one ends."""

    starts: array[int]
    end: int


def _known_index(path: Path, width: int) -> Known:
    """Returns what there is to know of an index that stays as it is; raises UnreadIndex or OSError."""
    facts = path.stat()
    return _known(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns), width)


def noted_tree(path: Path, width: int) -> Oid | None:
    """Returns the tree that git noted for all entries of an index that stays as it is; ``None`` for none.

    Of the entries none is looked at: what follows them is found from its end. Raises UnreadIndex or OSError.
    """
    facts = path.stat()
    return _noted_at_end(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns), width)


def changed_entries(old: Path, new: Path, width: int) -> dict[str, Entry | None]:
    """Returns the entries of *new* that *old* has not, ``None`` for those that only *old* has.

    *width* are the bytes of an object's id. Raises UnreadIndex, and OSError when there is no file.
    """
    if is_same_index(old, new, width):
        return {}
    known, data, later = _known_index(old, width), old.read_bytes(), new.read_bytes()
    if any(later[-width:]) and _digest(later[:-width], width) != later[-width:]:
        raise UnreadIndex(f"{new} is damaged")
    try:
        return dict(_Walk(data, known, later, width).changes())
    except (IndexError, ValueError) as error:
        raise UnreadIndex(f"{new} is no index") from error


def is_same_index(old: Path, new: Path, width: int) -> bool:
    """Returns whether two indexes are one file, or one is a copy of the other."""
    one, two = old.stat(), new.stat()
    if (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino):
        return True
    if one.st_size != two.st_size:
        return False
    sums = [_checksum(path, width) for path in (old, new)]
    # Git can be told to write no checksum.
    return sums[0] == sums[1] and any(sums[0])


def write_tiny(path: Path, entries: Mapping[str, Entry], width: int) -> None:
    """Writes an index with *entries* and no times: whatever git looks at in it, it has to read again."""
    rows = sorted((os.fsencode(name), entry) for name, entry in entries.items())
    data = b"".join(
        (
            SIGNATURE,
            PLAIN.to_bytes(4, "big"),
            len(rows).to_bytes(4, "big"),
            *(_row(name, mode, oid) for name, (mode, oid) in rows),
        )
    )
    path.write_bytes(data + _digest(data, width))


def read_tiny(path: Path, width: int) -> dict[str, Entry]:
    """Returns the entries of a small index; raises UnreadIndex for one with conflicts or a later version."""
    data = path.read_bytes()
    try:
        rows = [_entry(data, at, width) for at in _starts(data, width)[:-1]]
    except (IndexError, ValueError) as error:
        raise UnreadIndex(f"{path} is no index") from error
    return {os.fsdecode(name): entry for name, entry in rows}


@lru_cache(maxsize=KEPT)
def _noted_at_end(path: Path, sign: tuple[int, int, int], width: int) -> Oid | None:
    del sign
    data = path.read_bytes()
    if data[:4] != SIGNATURE or int.from_bytes(data[4:8], "big") != PLAIN:
        raise UnreadIndex("an index of a later version")
    at = data.rfind(TREES)
    while at >= HEADER:
        # It is a name in an entry, or in what was noted, if that does not lead to the very end.
        with suppress(UnreadIndex, IndexError, ValueError):
            return _noted_tree(data, at, width)
        at = data.rfind(TREES, 0, at)
    return None


@lru_cache(maxsize=KEPT)
def _known(path: Path, sign: tuple[int, int, int], width: int) -> Known:
    del sign
    data = path.read_bytes()
    try:
        starts = _starts(data, width)
        list(_extensions(data, starts[-1], width))
        return Known(starts, starts[-1])
    except (IndexError, ValueError) as error:
        raise UnreadIndex(f"{path} is no index") from error


def _starts(data: bytes, width: int) -> array[int]:
    """Returns where each entry begins, and where the last one ends."""
    if data[:4] != SIGNATURE or int.from_bytes(data[4:8], "big") != PLAIN:
        raise UnreadIndex("an index of a later version")
    count, at = int.from_bytes(data[8:12], "big"), HEADER
    found, fixed = array("L"), STAT + width
    for _ in range(count):
        found.append(at)
        flags = data[at + fixed]
        if flags & (ASSUMED | STAGE):
            raise UnreadIndex(APART)
        length = (flags & 0x0F) << 8 | data[at + fixed + 1]
        if length == LONG:
            length = data.index(b"\0", at + fixed + 2) - at - fixed - 2
        at += (fixed + length + 10) & ~7
    found.append(at)
    if at > len(data) - width:
        raise UnreadIndex("an index that was cut off")
    return found


def _entry(data: bytes, at: int, width: int) -> tuple[bytes, Entry]:
    """Returns the name, mode and object of an entry."""
    flags = at + STAT + width
    if data[flags] & (ASSUMED | STAGE):
        raise UnreadIndex(APART)
    mode = f"{int.from_bytes(data[at + 24 : at + 28], 'big'):06o}"
    name = data[flags + 2 : data.index(b"\0", flags + 2)]
    return name, (mode, Oid(data[at + STAT : flags].hex()))


def _size(data: bytes, at: int, width: int) -> int:
    start = at + STAT + width + 2
    return (data.index(b"\0", start) - at + 8) & ~7


def _extensions(data: bytes, at: int, width: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields names and contents of what follows the entries; raises UnreadIndex for what git must know."""
    while at < len(data) - width:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + EXTENSION], "big")
        if not name[:1].isupper():
            raise UnreadIndex("an index that is split, or sparse")
        yield name, data[at + EXTENSION : at + EXTENSION + size]
        at += EXTENSION + size
    if at != len(data) - width:
        raise UnreadIndex("an index that was cut off")


def _noted_tree(data: bytes, at: int, width: int) -> Oid | None:
    """Returns the tree that git noted for all of the entries, when it holds."""
    noted = dict(_extensions(data, at, width)).get(TREES, b"")
    # Its name, which is empty, then how many entries it has, and how many trees below it.
    count, _, rest = noted[1:].partition(b" ")
    if count != b"%d" % int.from_bytes(data[8:HEADER], "big"):
        return None
    start = rest.index(b"\n") + 1
    return Oid(rest[start : start + width].hex())


def _digest(data: bytes, width: int) -> bytes:
    return hashlib.new(HASHES[width], data, usedforsecurity=False).digest()


def _checksum(path: Path, width: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-width, os.SEEK_END)
        return file.read(width)


def _row(name: bytes, mode: str, oid: Oid) -> bytes:
    head = b"\0" * 24 + int(mode, 8).to_bytes(4, "big") + b"\0" * 12 + bytes.fromhex(oid)
    size = len(head) + 2 + len(name)
    return head + min(len(name), LONG).to_bytes(2, "big") + name + b"\0" * (8 - size % 8)


@dataclass
class _Walk:
    """Goes through two indexes at once: bytes that are the same are compared as such, the rest by entry."""

    old: bytes
    known: Known
    new: bytes
    width: int

    def changes(self) -> Iterator[tuple[str, Entry | None]]:
        """Yields what differs."""
        old, new, starts, width = self.old, self.new, self.known.starts, self.width
        if new[:4] != SIGNATURE or int.from_bytes(new[4:8], "big") != PLAIN:
            raise UnreadIndex("an index of a later version")
        left, last = int.from_bytes(new[8:12], "big"), len(starts) - 1
        i, at = 0, HEADER
        while True:
            same = bisect_right(starts, starts[i] + self._alike(starts[i], at), i) - 1
            # No more than there are: what follows the entries may be alike as well.
            same = min(same, last, i + left)
            i, at, left = same, at + starts[same] - starts[i], left - (same - i)
            if i == last or not left:
                break
            (name, was), (other, now) = _entry(old, starts[i], width), _entry(new, at, width)
            if name <= other:
                i += 1
            if other <= name:
                at, left = at + _size(new, at, width), left - 1
            if name == other:
                if was != now:
                    yield os.fsdecode(name), now
            else:
                yield (os.fsdecode(name), None) if name < other else (os.fsdecode(other), now)
        for start in starts[i:last]:
            yield os.fsdecode(_entry(old, start, width)[0]), None
        for _ in range(left):
            name, now = _entry(new, at, width)
            at += _size(new, at, width)
            yield os.fsdecode(name), now
        list(_extensions(new, at, width))

    def _alike(self, a: int, b: int) -> int:
        """Returns how many bytes are the same from here on."""
        old, new, begun, step = self.old, self.new, a, LEAST
        end = min(self.known.end - a, len(new) - self.width - b) + a
        while a < end:
            size = min(step, end - a)
            if old[a : a + size] == new[b : b + size]:
                a, b, step = a + size, b + size, min(2 * step, PIECE)
            elif size == 1:
                break
            else:
                step = size // 2
                end = a + size
        return a - begun
