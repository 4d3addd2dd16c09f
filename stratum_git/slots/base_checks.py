"""Looks whether a base is as git wrote it: whoever runs as the same user may have written in it."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from stratum_git.slots.materialising import is_whiteout

ENTRY = struct.Struct(">10I")
HEADER = 12
LONG = 0xFFF
WORD = 0xFFFFFFFF
GITLINK = 0o160000


def changed_in(tree: Path, index: Path, width: int, *, is_whole: bool) -> str | None:
    """Returns a path in *tree* that is not as the *index* of the base has it; ``None`` where there is none.

    *width* are the bytes of an object's id. *is_whole*: all of the index lies here, and not in a layer below.
    Looked at are times, sizes and inodes: nobody but the kernel sets when a file was changed last.
    """
    known = dict(_entries(index.read_bytes(), width))
    seen = 0
    for path, facts in _files(os.fsencode(tree), b""):
        if is_whiteout(facts):
            continue
        if known.get(path) != _facts(facts):
            return os.fsdecode(path)
        seen += 1
    if is_whole and seen < sum(row[-1] != GITLINK for row in known.values()):
        return "a file that is not there any more"
    return None


def _entries(data: bytes, width: int) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """Yields the paths of an index of version 2, and what it knows of the files."""
    at = HEADER
    for _ in range(int.from_bytes(data[8:HEADER], "big")):
        cs, cn, ms, mn, _, ino, mode, _, _, size = ENTRY.unpack_from(data, at)
        flags = at + ENTRY.size + width
        length = int.from_bytes(data[flags : flags + 2], "big") & LONG
        end = flags + 2 + length if length < LONG else data.index(b"\0", flags + 2)
        yield data[flags + 2 : end], (cs, cn, ms, mn, ino, size, GITLINK if mode == GITLINK else 0)
        at += (end - at + 8) & ~7


def _facts(facts: os.stat_result) -> tuple[int, ...]:
    changed, written = divmod(facts.st_ctime_ns, 10**9), divmod(facts.st_mtime_ns, 10**9)
    return (*changed, *written, facts.st_ino & WORD, facts.st_size & WORD, 0)


def _files(top: bytes, place: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    with os.scandir(top + b"/" + place) as rows:
        entries = list(rows)
    for entry in entries:
        path = place + entry.name
        facts = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(facts.st_mode):
            yield from _files(top, path + b"/")
        else:
            yield path, facts
