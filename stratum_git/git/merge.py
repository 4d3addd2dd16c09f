"""Merges in memory: three trees in, one tree out, no checkout touched.

``git merge-tree`` of 2.39 finds the merge base by itself and cannot be told one. So the three trees are
given to it as three small commits of our own, two on top of the third: then there is nothing to find.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.git.attributes import run_with_attributes
from stratum_git.git.labels import USUAL, Labels, Renaming
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from stratum_git.model.messages import Mend

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
    """The tree of a clean merge. ``mends`` says of which files git alone could not tell."""

    tree: Oid
    mends: tuple[Mend, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflicted:
    """The tree of a merge with conflict markers in it, and what conflicts.

    ``mends`` are of files that conflict no more, ``tried`` says what did not help, and why.
    """

    tree: Oid
    paths: tuple[str, ...]
    stages: tuple[Stage, ...]
    messages: str
    mends: tuple[Mend, ...] = ()
    tried: tuple[Mend, ...] = ()


@dataclass(frozen=True, slots=True)
class _Note:
    paths: tuple[str, ...]
    kind: str
    text: str

    @property
    def is_conflict(self) -> bool:
        """Returns whether it says that something conflicts."""
        return self.kind.startswith("CONFLICT")


Outcome: TypeAlias = Merged | Conflicted


def merge(
    repo: Repository,
    writer: ObjectWriter,
    *,
    base: Oid,
    ours: Oid,
    theirs: Oid,
    merger: TreeMerger | None = None,
    labels: tuple[str, str] | Labels = USUAL,
) -> Outcome:
    """Merges the change from tree *base* to tree *theirs* into tree *ours*.

    Takes at most one git process, none when one side is the base or both are the same, and none when
    *merger* can say what git would. A conflict's markers call the sides by *labels*: ours, then theirs.
    """
    if ours in (base, theirs):
        return Merged(theirs)
    if theirs == base:
        return Merged(ours)
    if merger is None:
        with TreeReader(repo, writer.heal) as trees:
            return _by_git(repo, TreeMerger(trees, writer), (base, ours, theirs), Labels(*labels))
    simple = merger.merge(base, ours, theirs)
    if simple is not None:
        return Merged(simple)
    return _by_git(repo, merger, (base, ours, theirs), Labels(*labels))


def _by_git(repo: Repository, merger: TreeMerger, trees: tuple[Oid, Oid, Oid], labels: Labels) -> Outcome:
    writer, (base, ours, theirs) = merger.writer, trees
    root = writer.commit(base, (), "base\n", NOBODY, NOBODY, passing=True)
    left = writer.commit(ours, (root,), "ours\n", NOBODY, NOBODY, passing=True)
    right = writer.commit(theirs, (root,), "theirs\n", NOBODY, NOBODY, passing=True)
    writer.reveal()
    asked = ("merge-tree", "--write-tree", "-z", "--messages", left, right)
    done = run_with_attributes(repo, merger.attributes, ours, *asked)
    head, _, rest = done.stdout.partition(b"\0")
    made = Oid(head.decode())
    naming = Renaming(merger.trees, writer, root, left, right, labels)
    # Git 2.39 takes files that meet by renames for merged, and commits them with their markers: it says so.
    is_clean = done.code == 0 and not any(note.is_conflict for note in _told(rest)[1])
    found = Merged(made) if is_clean else _conflicted(made, rest, naming)
    writer.owe(found.tree, base, ours, theirs)
    return found


def _conflicted(tree: Oid, rest: bytes, naming: Renaming) -> Conflicted:
    stages, said = _told(rest)
    notes = [note for note in said if note.is_conflict]
    # A conflict may have no stage of its own (a folder split by renames): then its message has the path.
    named = (path for note in notes for path in note.paths) if not stages else ()
    written = tuple(dict.fromkeys((*(stage.path for stage in stages), *named)))
    tree, names = naming.tree(tree, written)
    return Conflicted(
        tree,
        # Where a file and a folder meet, git names the file after its side.
        tuple(dict.fromkeys(naming.original(path) for path in written)),
        tuple(
            Stage(names.get(s.path, s.path), s.mode, naming.blob(s.oid) if _is_file(s) else s.oid, s.stage)
            for s in stages
        ),
        naming.text("\n".join(note.text for note in notes)),
    )


def _told(rest: bytes) -> tuple[tuple[Stage, ...], tuple[_Note, ...]]:
    """Reads what follows the tree: stages, an empty field, and then messages, to the end."""
    fields = rest.split(b"\0")
    end = fields.index(b"")
    return tuple(map(_stage, fields[:end])), tuple(_notes(fields[end + 1 :]))


def _is_file(stage: Stage) -> bool:
    return stage.mode.startswith("100")


def _notes(fields: list[bytes]) -> Iterator[_Note]:
    """Reads messages: how many paths, the paths, the kind, and the sentence for people.

    After them may come advice of several lines.
    """
    at = 0
    while at < len(fields) and fields[at].isdigit():
        count = int(fields[at])
        paths = tuple(os.fsdecode(path) for path in fields[at + 1 : at + 1 + count])
        kind, text = (os.fsdecode(field) for field in fields[at + 1 + count : at + 3 + count])
        yield _Note(paths, kind, text.strip())
        at += 3 + count


def _stage(row: bytes) -> Stage:
    facts, _, path = row.partition(b"\t")
    mode, oid, stage = facts.decode().split(" ")
    return Stage(os.fsdecode(path), mode, Oid(oid), int(stage))
