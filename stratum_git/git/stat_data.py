"""Gives an index what a copy of its files looks like on disk, so that git takes them for unchanged.

A copy has other inodes and other times of change. Where nothing else differs git would read every file to
find out that it is the same; here the index is told.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from stratum_git.model.values import dataclass

HEAD = struct.Struct(">4sII")
FACTS = struct.Struct(">10I")
"""Of an entry: ctime, its nanoseconds, mtime, its nanoseconds, device, inode, mode, owner, group, size."""
LONG_NAME = 0xFFF
EXTENDED = 0x4000


class UnknownIndex(ValueError):  # noqa: N818 - reads as what is the matter
    """An index of a form that is not read here."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an index: where its facts begin, its path, its mode, its size when it was checked out."""

    at: int
    path: bytes
    mode: int
    size: int


def file_count(index: Path) -> int:
    """Returns how many files an index has, of any version; 0 where that cannot be read."""
    try:
        with index.open("rb") as file:
            kind, _, count = HEAD.unpack(file.read(HEAD.size))
    except (OSError, struct.error):
        return 0
    return int(count) if kind == b"DIRC" else 0


def entries(data: bytes, width: int) -> Iterator[Entry]:
    """Yields the entries of an index of version 2; *width* are the bytes of an object id.

    Raises UnknownIndex.
    """
    kind, version, count = HEAD.unpack_from(data)
    if kind != b"DIRC" or version != 2:
        raise UnknownIndex(f"an index of version {version}")
    at = HEAD.size
    name = FACTS.size + width + 2
    for _ in range(count):
        facts = FACTS.unpack_from(data, at)
        flags = int.from_bytes(data[at + name - 2 : at + name], "big")
        length = flags & LONG_NAME
        if length == LONG_NAME:
            length = data.index(b"\0", at + name) - at - name
        yield Entry(at, data[at + name : at + name + length], facts[6], facts[9])
        at += (name + length + 8) & ~7


def matched(data: bytes, width: int, top: Path) -> bytes:
    """Returns an index that says of each file what it looks like below *top*; raises OSError."""
    found, root = bytearray(data), os.fsencode(top)
    for entry in entries(data, width):
        at = os.lstat(root + b"/" + entry.path)
        ctime, mtime = divmod(at.st_ctime_ns, 10**9), divmod(at.st_mtime_ns, 10**9)
        facts = (*ctime, *mtime, at.st_dev, at.st_ino)
        struct.pack_into(">6I", found, entry.at, *(number & 0xFFFFFFFF for number in facts))
    digest = hashlib.new("sha1" if width == 20 else "sha256", found[:-width], usedforsecurity=False)
    found[-width:] = digest.digest()
    return bytes(found)
