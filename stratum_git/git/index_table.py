"""Reads of an index, in process, what it says of a few paths: git would print all of it.

Versions 2, 3 and 4 are read, as ``gitformat-index`` has them. What is not sure to be told right (a split or a
sparse index, an extension that nobody here knows and that has to be known) is not told at all.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum_git.model.ids import Oid

SIGNATURE = b"DIRC"
VERSIONS = frozenset({2, 3, 4})
SQUEEZED = 4
"""From this version on, a name is told by how it differs from the one before it."""
STAT = struct.Struct(">10I")
ASSUMED, EXTENDED, STAGE, LONG = 0x8000, 0x4000, 0x3000, 0x0FFF
LARGE = (EXTENDED | LONG) >> 8
"""Bits of the first byte of flags: there are more of them, or the name has more than 255 bytes."""
LEFT_OUT, INTENDED = 0x4000, 0x2000
MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Stat:
    """What the file system said of a file, with 32 bits for each; times in seconds and nanoseconds."""

    ctime: tuple[int, int]
    mtime: tuple[int, int]
    inode: int
    owner: tuple[int, int]
    size: int


@dataclass(frozen=True, slots=True)
class Row:
    """An entry: ``is_plain`` when it has no stage and no mark of any kind."""

    mode: str
    oid: Oid
    stat: Stat
    is_plain: bool
    is_assumed: bool


class Names(Sequence[bytes]):
    """The names in an index, in its order, read when they are asked for: most never are."""

    def __init__(self, data: bytes, offsets: Sequence[int], head: int) -> None:
        self._data = data
        self.offsets = offsets
        self._head = head

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, number: int) -> bytes:  # type: ignore[override]  # no slices
        at = self.offsets[number] + self._head
        start = at + (4 if self._data[at] & 0x40 else 2)
        return self._data[start : self._data.index(b"\0", start)]


@dataclass(frozen=True, slots=True)
class Table:
    """What was asked for of an index that was written at ``written``, in nanoseconds."""

    rows: Mapping[bytes, Row]
    names: Sequence[bytes]
    written: int

    def has_below(self, folder: bytes) -> bool:
        """Returns whether the index has anything in *folder*."""
        at = bisect_left(self.names, folder + b"/")
        return at < len(self.names) and self.names[at].startswith(folder + b"/")


def table_of(index: Path, width: int, wanted: Iterable[bytes]) -> Table | None:
    """Returns the rows of *wanted* in an index, ``None`` where it takes git to read it.

    *width* are the bytes of an object's id.
    """
    try:
        written = index.stat().st_mtime_ns
        data = index.read_bytes()
        version, count = struct.unpack_from(">II", data, 4)
        if data[:4] != SIGNATURE or version not in VERSIONS:
            return None
        read = _squeezed if version == SQUEEZED else _plain
        offsets, names, end = read(data, count, STAT.size + width)
        if not _is_whole(data, end, width):
            return None
        found = {name: _row(data, offsets[at], width) for name, at in _found(names, wanted)}
    except (OSError, IndexError, struct.error, ValueError):
        return None
    return Table(found, names, written)


def _found(names: Sequence[bytes], wanted: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yields those of *wanted* that are among *names*, with their place: git keeps them in order."""
    for name in wanted:
        at = bisect_left(names, name)
        if at < len(names) and names[at] == name:
            yield name, at


def _plain(data: bytes, count: int, head: int) -> tuple[Sequence[int], Sequence[bytes], int]:
    """Returns where each entry begins, the names, and where the entries end."""
    offsets: list[int] = []
    add, at, second, short = offsets.append, 12, head + 1, head + 2 + 8
    for _ in range(count):
        add(at)
        # How long a name is stands before it; entries are padded to eight bytes, with one at least.
        if not data[at + head] & LARGE:
            at += (short + data[at + second]) & ~7
            continue
        flags = data[at + head] << 8 | data[at + second]
        size = head + (4 if flags & EXTENDED else 2)
        length = flags & LONG
        if length == LONG:
            length = data.index(b"\0", at + size) - at - size
        at += (size + length + 8) & ~7
    return offsets, Names(data, offsets, head), at


def _squeezed(data: bytes, count: int, head: int) -> tuple[Sequence[int], Sequence[bytes], int]:
    """Does the same where each name is told by how it differs from the one before it."""
    offsets, names, name, at = [], [], b"", 12
    for _ in range(count):
        offsets.append(at)
        start, less = _number(data, at + head + (4 if data[at + head] & 0x40 else 2))
        end = data.index(b"\0", start)
        name = name[: len(name) - less] + data[start:end]
        names.append(name)
        at = end + 1
    return offsets, names, at


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Reads a number of variable length, as offsets in packs are written."""
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = ((value + 1) << 7) | (data[at] & 0x7F)
    return at + 1, value


def _is_whole(data: bytes, at: int, width: int) -> bool:
    """Returns whether what follows the entries changes nothing of them: extensions that may be ignored."""
    end = len(data) - width
    while at < end:
        if not data[at : at + 1].isupper():
            return False
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "big")
    return at == end


def _row(data: bytes, at: int, width: int) -> Row:
    fields = STAT.unpack_from(data, at)
    flags = int.from_bytes(data[at + STAT.size + width : at + STAT.size + width + 2], "big")
    oid = Oid(data[at + STAT.size : at + STAT.size + width].hex())
    stat = Stat((fields[0], fields[1]), (fields[2], fields[3]), fields[5], (fields[7], fields[8]), fields[9])
    return Row(f"{fields[6]:06o}", oid, stat, not flags & (ASSUMED | EXTENDED | STAGE), bool(flags & ASSUMED))
