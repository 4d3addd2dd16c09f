"""Packs as git has them, made in process: a file of objects, each whole, and an index of where each one is.

One pack is two files to flush, however many objects it has; as loose objects they are a file and a directory
each. Nothing here is delta-compressed: git does that when it packs them again.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.model.values import dataclass

KINDS = {b"commit": 1, b"tree": 2, b"blob": 3, b"tag": 4}
MAGIC = b"PACK" + struct.pack(">I", 2)
INDEX_MAGIC = b"\xfftOc" + struct.pack(">I", 2)
HEAD = 12
"""Bytes of a pack before its first object."""
SMALL, WINDOW, ROOM = 4096, 12, 5
"""Bytes of an object that is compressed with so little memory (bits of the window, and zlib's own measure).
To clear what zlib takes by itself is most of the work on a small one, and what comes out is as short."""
LARGEST = 2**31 - 1
"""Bytes of a pack whose index has no room for larger offsets."""


class NotOurPackError(HostError):
    """A pack that is not as this module makes them."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack and its index, as files have them."""

    pack: bytes
    index: bytes


def entry(kind: bytes, data: bytes) -> bytes:
    """Returns an object as a pack has it."""
    left, first = len(data) >> 4, (KINDS[kind] << 4) | (len(data) & 15)
    head = bytearray([first | (0x80 if left else 0)])
    while left:
        head.append((left & 127) | (0x80 if left > 127 else 0))
        left >>= 7
    return bytes(head) + _compressed(data)


def content(row: bytes) -> bytes:
    """Returns what is in an object that :func:`entry` made."""
    at = next(n for n, byte in enumerate(row) if not byte & 0x80) + 1
    return zlib.decompress(row[at:])


def _compressed(data: bytes) -> bytes:
    if len(data) > SMALL:
        return zlib.compress(data, 1)
    work = zlib.compressobj(1, zlib.DEFLATED, WINDOW, ROOM)
    return work.compress(data) + work.flush()


def packed(entries: Mapping[str, bytes], object_format: str) -> Packed:
    """Returns a pack of *entries*, by the names of their objects."""
    body = b"".join((MAGIC, struct.pack(">I", len(entries)), *entries.values()))
    if len(body) > LARGEST:
        raise NotOurPackError(f"{len(entries)} objects are too much for one pack")
    pack = body + _digest(body, object_format)
    offsets, at = {}, HEAD
    for oid, row in entries.items():
        offsets[oid] = at
        at += len(row)
    return Packed(pack, _index(entries, offsets, pack[len(body) :], object_format))


def entries_of(pack: bytes, index: bytes, object_format: str) -> Iterator[tuple[str, bytes]]:
    """Yields the objects of a pack as :func:`packed` made it; raises NotOurPackError if it is torn."""
    size = hashlib.new(object_format).digest_size
    if pack[:8] != MAGIC or index[:8] != INDEX_MAGIC or _digest(pack[:-size], object_format) != pack[-size:]:
        raise NotOurPackError("a pack of events is damaged")
    (many,) = struct.unpack_from(">I", pack, 8)
    names = 8 + 1024
    places = names + many * (size + 4)
    if len(index) != places + many * 4 + 2 * size or index[-2 * size : -size] != pack[-size:]:
        raise NotOurPackError("the index of a pack of events is damaged")
    offsets = struct.unpack_from(f">{many}I", index, places)
    order = sorted(range(many), key=offsets.__getitem__)
    ends = [*(offsets[n] for n in order[1:]), len(pack) - size]
    for number, end in zip(order, ends, strict=True):
        at = names + number * size
        yield index[at : at + size].hex(), pack[offsets[number] : end]


def names_of(index: bytes, object_format: str) -> list[str]:
    """Returns the names of the objects in a pack, by its index, in the order in which they lie in it."""
    size = hashlib.new(object_format).digest_size
    (many,) = struct.unpack_from(">I", index, 8 + 1020)
    names = 8 + 1024
    places = names + many * (size + 4)
    if index[:8] != INDEX_MAGIC or len(index) < places + many * 4 + 2 * size:
        raise NotOurPackError("the index of a pack of events is damaged")
    offsets = struct.unpack_from(f">{many}I", index, places)
    order = sorted(range(many), key=offsets.__getitem__)
    return [index[names + n * size : names + (n + 1) * size].hex() for n in order]


def packs_in_index(folder: Path) -> set[str] | None:
    """Returns the indexes of packs that the multi-pack-index in *folder* speaks of; ``None``: maybe all."""
    if (folder / "multi-pack-index.d").exists():
        return None
    try:
        with (folder / "multi-pack-index").open("rb") as file:
            head = file.read(HEAD)
            table = file.read((head[6] + 1) * HEAD)
            rows = [struct.unpack_from(">4sQ", table, at) for at in range(0, len(table), HEAD)]
            (number,) = (n for n, row in enumerate(rows) if row[0] == b"PNAM")
            file.seek(rows[number][1])
            names = file.read(rows[number + 1][1] - rows[number][1])
    except FileNotFoundError:
        return set()
    except (ValueError, IndexError, struct.error):
        return None
    return {os.fsdecode(name) for name in names.split(b"\0") if name}


def _index(
    entries: Mapping[str, bytes], offsets: Mapping[str, int], trailer: bytes, object_format: str
) -> bytes:
    names = sorted(entries)
    raw = [bytes.fromhex(name) for name in names]
    counts = [0] * 256
    for oid in raw:
        counts[oid[0]] += 1
    body = b"".join(
        (
            INDEX_MAGIC,
            struct.pack(">256I", *_sums(counts)),
            *raw,
            struct.pack(f">{len(names)}I", *(zlib.crc32(entries[name]) for name in names)),
            struct.pack(f">{len(names)}I", *(offsets[name] for name in names)),
            trailer,
        )
    )
    return body + _digest(body, object_format)


def _sums(counts: Iterable[int]) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total


def _digest(data: bytes, object_format: str) -> bytes:
    return hashlib.new(object_format, data, usedforsecurity=False).digest()
