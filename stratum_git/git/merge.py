"""Merges in memory: three trees in, one tree out, no checkout touched.

``git merge-tree`` of 2.39 finds the merge base by itself and cannot be told one. So the three trees are
given to it as three small commits of our own, two on top of the third: then there is nothing to find.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.git.attributes import run_with_attributes
from stratum_git.git.labels import USUAL, Labels, Renaming
from stratum_git.git.merge_session import Said
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
        with TreeReader(repo, writer.uncover) as trees:
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
    said = None if merger.session is None else merger.session.ask(ours, left, right)
    if said is None:
        said = _asked_alone(repo, merger, ours, left, right)
    naming = Renaming(merger.trees, writer, root, left, right, labels)
    # Git 2.39 takes files that meet by renames for merged, and commits them with their markers: it says so.
    is_clean = said.is_clean and not any(note.is_conflict for note in _notes(said.notes))
    found = Merged(said.tree) if is_clean else _conflicted(said, naming)
    writer.owe(found.tree, base, ours, theirs)
    return found


def _asked_alone(repo: Repository, merger: TreeMerger, tree: Oid, ours: Oid, theirs: Oid) -> Said:
    """Asks a git that merges nothing else."""
    asked = ("merge-tree", "--write-tree", "-z", "--messages", ours, theirs)
    done = run_with_attributes(repo, merger.attributes, tree, *asked)
    # Stages end at an empty field, after which come the messages, to the end.
    head, *fields = done.stdout.split(b"\0")
    end = fields.index(b"") if b"" in fields else len(fields)
    return Said(done.code == 0, Oid(head.decode()), tuple(fields[:end]), tuple(fields[end + 1 :]))


def _conflicted(said: Said, naming: Renaming) -> Conflicted:
    tree, stages = said.tree, tuple(_stage(row) for row in said.stages)
    notes = [note for note in _notes(said.notes) if note.is_conflict]
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


def _is_file(stage: Stage) -> bool:
    return stage.mode.startswith("100")


def _notes(fields: Sequence[bytes]) -> Iterator[_Note]:
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
