"""Files of a checkout that a power cut left short, while its index says that they are as git wrote them.

Git flushes no file that it checks out. After a cut such a file may be empty or end early; its time is still
the one that git noted, because that is in the file system's journal. A file that somebody wrote to since has
another time: what is in it is his.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import git_dir_of

ENTRY = struct.Struct(">10I")
PLAIN = 2
LONG = 0xFFF
HEADER = 12


def restore_torn(repo: Repository, checkout: Path) -> tuple[str, ...]:
    """Writes the torn files of *checkout* again as its index has them; returns their names."""
    width = 20 if repo.object_format == "sha1" else 32
    index = git_dir_of(checkout) / "index"
    if not index.exists():
        # It was torn too. What HEAD has and is empty here cannot be told from what was emptied on purpose.
        Git(checkout).run("read-tree", "HEAD", ok=(0, 128))
    torn = [name for name in _shorter(checkout, index, width) if name]
    if torn:
        Git(checkout).run("checkout-index", "-f", "-u", "-q", "-z", "--stdin", stdin=b"\0".join(torn))
    return tuple(map(os.fsdecode, torn))


def _shorter(checkout: Path, index: Path, width: int) -> Iterator[bytes]:
    root = os.fsencode(checkout)
    with contextlib.suppress(FileNotFoundError):
        for name, seconds, nanoseconds, size in _entries(index.read_bytes(), width):
            with contextlib.suppress(OSError):
                facts = os.lstat(root + b"/" + name)
                known = (seconds, nanoseconds) == divmod(facts.st_mtime_ns, 10**9)
                # Without a time, the index was made anew: then an empty file is one that was torn.
                if (known and facts.st_size < size) or (seconds == 0 and facts.st_size == 0):
                    yield name


def _entries(data: bytes, width: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Gives name, time of change and size of what an index of version 2 has; of later ones nothing."""
    if data[:4] != b"DIRC" or int.from_bytes(data[4:8], "big") != PLAIN:
        return
    at = HEADER
    for _ in range(int.from_bytes(data[8:HEADER], "big")):
        fields = ENTRY.unpack_from(data, at)
        flags = at + ENTRY.size + width
        length = int.from_bytes(data[flags : flags + 2], "big") & LONG
        end = flags + 2 + length if length < LONG else data.index(b"\0", flags + 2)
        yield data[flags + 2 : end], fields[2], fields[3], fields[9]
        at += (end - at + 8) & ~7
