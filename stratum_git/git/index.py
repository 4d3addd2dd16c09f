"""What an index hides from git: files marked as not to be looked at, which an agent may have changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stratum_git.git.process import Git

SIGNATURE = b"DIRC"
PLAIN = 2
STAT = 40
"""Bytes of an entry before the object's id: times, device, inode, mode, owner, size."""
ASSUMED, LONG = 0x80, 0xFFF


class Marks:
    """Whether an index has marks that hide files, found out by a thread: git is at work meanwhile.

    *width* are the bytes of an object's id.
    """

    def __init__(self, index: Path, width: int) -> None:
        self._found: list[bool] = []
        self._thread = threading.Thread(target=self._look, args=(index, width), name="marks")
        self._thread.start()

    def may_hide(self) -> bool:
        """Returns whether it may have one; so may one that cannot be read."""
        self._thread.join()
        return self._found != [False]

    def _look(self, index: Path, width: int) -> None:
        with suppress(OSError):
            self._found.append(_may_hide(index, width))


def reveal(slot: Path, env: Mapping[str, str]) -> bool:
    """Lets git look again at every file of *slot* that is there and was hidden from it.

    What is hidden and not there stays so: a sparse checkout leaves files out on purpose. *env* is what makes
    git use the index that is meant. Returns whether there was such a file.
    """
    git = Git(slot)
    rows = git.run("ls-files", "-v", "-z", ok=(0, 128), env=env).stdout.split(b"\0")
    hidden = [row[2:] for row in rows if row[:1] == b"S" or row[:1].islower()]
    there = [name for name in hidden if os.path.lexists(slot / os.fsdecode(name))]
    if there:
        for mark in ("--no-assume-unchanged", "--no-skip-worktree"):
            git.run("update-index", mark, "-z", "--stdin", stdin=b"\0".join(there), env=env)
    return bool(there)


def _may_hide(index: Path, width: int) -> bool:
    """Returns whether an index has a mark that hides a file. Only one of version 2 is read here."""
    try:
        data = index.read_bytes()
    except FileNotFoundError:
        return False
    if data[:4] != SIGNATURE or int.from_bytes(data[4:8], "big") != PLAIN:
        # Of a later version, with other marks and other names; or none that git could read.
        return data[:4] == SIGNATURE
    at, end = 12, len(data)
    for _ in range(int.from_bytes(data[8:12], "big")):
        flags = at + STAT + width
        if flags + 2 > end or data[flags] & ASSUMED:
            return True
        length = (data[flags] & 0x0F) << 8 | data[flags + 1]
        if length == LONG:
            length = data.find(b"\0", flags + 2) - flags - 2
            if length < 0:
                return True
        at += (STAT + width + 2 + length + 8) & ~7
    return False
