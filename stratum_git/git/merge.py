"""Merges in memory: three trees in, one tree out, no checkout touched.

``git merge-tree`` of 2.39 finds the merge base by itself and cannot be told one. So the three trees are
given to it as three small commits of our own, two on top of the third: then there is nothing to find.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid

NOBODY = Signature("stratum-git", "stratum-git@localhost", 0.0)
"""Fixed, so that merging the same trees again makes the same objects."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One side of a conflicted path: 1 is the base, 2 ours, 3 theirs."""

    path: str
    mode: str
    oid: Oid
    stage: int


@dataclass(frozen=True, slots=True)
class Merged:
    """The tree of a clean merge."""

    tree: Oid


@dataclass(frozen=True, slots=True)
class Conflicted:
    """The tree of a merge with conflict markers in it, and what conflicts."""

    tree: Oid
    paths: tuple[str, ...]
    stages: tuple[Stage, ...]
    messages: str


Outcome: TypeAlias = Merged | Conflicted


def merge(repo: Repository, writer: ObjectWriter, *, base: Oid, ours: Oid, theirs: Oid) -> Outcome:
    """Merges the change from tree *base* to tree *theirs* into tree *ours*.

    Takes at most one git process, none when one side is the base or both are the same.
    """
    if ours in (base, theirs):
        return Merged(theirs)
    if theirs == base:
        return Merged(ours)
    root = writer.commit(base, (), "base\n", NOBODY, NOBODY)
    left = writer.commit(ours, (root,), "ours\n", NOBODY, NOBODY)
    right = writer.commit(theirs, (root,), "theirs\n", NOBODY, NOBODY)
    done = repo.git.run("merge-tree", "--write-tree", "-z", "--messages", left, right, ok=(0, 1))
    head, _, rest = done.stdout.partition(b"\0")
    tree = Oid(head.decode())
    return Merged(tree) if done.code == 0 else _conflicted(tree, rest, (f"~{left}", f"~{right}"))


def _conflicted(tree: Oid, rest: bytes, sides: tuple[str, str]) -> Conflicted:
    listing, _, messages = rest.partition(b"\0\0")
    stages = tuple(_stage(row) for row in listing.split(b"\0") if row)
    sentences = [os.fsdecode(text) for text in messages.split(b"\0") if b"CONFLICT" in text]
    # Where a file and a folder meet, git names the file after its side, which is a commit nobody knows.
    names = (stage.path.removesuffix(sides[0]).removesuffix(sides[1]) for stage in stages)
    paths = tuple(dict.fromkeys(names))
    return Conflicted(tree, paths, stages, "\n".join(text.strip() for text in sentences))


def _stage(row: bytes) -> Stage:
    facts, _, path = row.partition(b"\t")
    mode, oid, stage = facts.decode().split(" ")
    return Stage(os.fsdecode(path), mode, Oid(oid), int(stage))
