"""Many merges with one git: which of them conflict, and where. Nothing of them is kept.

The answers are those of ``git merge-tree``, as in ``merge.py``, which is for a merge whose tree is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.merge import NOBODY
from stratum_git.git.scratch import Scratch
from stratum_git.model.ids import Oid

TIMEOUT = 120.0
WORTH_TWO = 16
"""Merges from which two gits at once are quicker than one."""
FLEETING = ("core.looseCompression=0", "core.fsync=none")
"""What git writes here is read once, if at all."""


@dataclass(frozen=True, slots=True)
class Trees:
    """The change from tree ``base`` to tree ``theirs``, to be made to tree ``ours``."""

    base: Oid
    ours: Oid
    theirs: Oid


@dataclass(frozen=True, slots=True)
class Answer:
    """The tree that a merge makes, and the paths that conflict, if any do."""

    tree: Oid
    paths: tuple[str, ...] = ()


def merge_many(scratch: Scratch, merges: Sequence[Trees], stores: tuple[Path, ...] = ()) -> list[Answer]:
    """Returns what becomes of each merge. Raises GitFailed where an object is missing.

    *stores* are further folders of objects that are read.
    """
    if not merges:
        return []
    sides = [_sides(scratch, one) for one in merges]
    middle = (len(sides) + 1) // 2 if len(sides) >= WORTH_TWO else len(sides)
    parts = [part for part in (sides[:middle], sides[middle:]) if part]
    with ThreadPoolExecutor(len(parts)) as gits:
        found = gits.map(lambda part: _asked(scratch, part, stores), parts)
        return [answer for part in found for answer in part]


def _asked(scratch: Scratch, sides: Sequence[tuple[Oid, Oid]], stores: tuple[Path, ...]) -> list[Answer]:
    stdin = "".join(f"{ours} {theirs}\n" for ours, theirs in sides).encode()
    asked = ("merge-tree", "--write-tree", "-z", "--messages", "--stdin")
    env = scratch.env_with(stores)
    run = scratch.repo.git.run
    fields = run(*asked, stdin=stdin, env=env, config=FLEETING, timeout=TIMEOUT).stdout.split(b"\0")
    found, at = [], 0
    for names in sides:
        answer, at = _read(fields, at, names)
        found.append(answer)
    return found


def _sides(scratch: Scratch, trees: Trees) -> tuple[Oid, Oid]:
    write = scratch.writer.commit
    root = write(trees.base, (), "base\n", NOBODY, NOBODY, passing=True)
    ours = write(trees.ours, (root,), "ours\n", NOBODY, NOBODY, passing=True)
    return ours, write(trees.theirs, (root,), "theirs\n", NOBODY, NOBODY, passing=True)


def _read(fields: list[bytes], at: int, sides: tuple[Oid, Oid]) -> tuple[Answer, int]:
    """Reads one answer: its status, the tree, stages, an empty field, messages, an empty field."""
    is_clean, tree, at = fields[at] == b"1", Oid(fields[at + 1].decode()), at + 2
    paths: list[str] = []
    while fields[at]:
        paths.append(os.fsdecode(fields[at].partition(b"\t")[2]))
        at += 1
    at += 1
    named: list[str] = []
    while fields[at]:
        count = int(fields[at])
        if fields[at + 1 + count].startswith(b"CONFLICT"):
            named += map(os.fsdecode, fields[at + 1 : at + 1 + count])
        at += 3 + count
    if is_clean and not named:
        return Answer(tree), at + 1
    # As in merge.py: a conflict may have no stage of its own, and a path may be named after its side.
    told = (path.removesuffix(f"~{sides[0]}").removesuffix(f"~{sides[1]}") for path in paths or named)
    return Answer(tree, tuple(dict.fromkeys(told))), at + 1
