"""Merges for tests: as ``git merge`` makes them in a checkout, and as this program makes them beside it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.git.labels import Labels
from stratum_git.git.merge import Merged, merge
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.repository import open_repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

PLAIN, RUNS, LINK, MODULE = "100644", "100755", "120000", "160000"

File: TypeAlias = tuple[str, bytes]
"""A mode and what is in the file; of a submodule its commit."""
Files: TypeAlias = Mapping[str, File]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a merge: the tree, with markers in it where it conflicts, and the stages of the index."""

    clean: bool
    tree: str
    stages: frozenset[tuple[str, str, int, str]]


def import_sides(scratch: ScratchRepo, base: Files, ours: Files, theirs: Files, *more: Files) -> None:
    """Makes the branches ``base``, ``ours``, ``theirs`` and, of *more*, ``elsewhere``, with git itself."""
    told: list[bytes] = []
    for name, files in zip(
        ("base", "ours", "theirs", "elsewhere"), (base, ours, theirs, *more), strict=False
    ):
        told.append(f"reset refs/heads/{name}\ncommit refs/heads/{name}\nmark :{len(told) + 1}\n".encode())
        told.append(b"committer T <t@x> 1700000000 +0000\ndata <<E\n" + name.encode() + b"\nE\n")
        told.append(b"from refs/heads/base\ndeleteall\n" if name != "base" else b"deleteall\n")
        for path, (mode, data) in files.items():
            quoted = path.encode("utf-8", "surrogateescape")
            if mode == MODULE:
                told.append(b"M 160000 " + data + b" " + quoted + b"\n")
            else:
                told.append(b"M %b inline %b\ndata %d\n%b\n" % (mode.encode(), quoted, len(data), data))
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force"], cwd=scratch.path, input=b"".join(told), check=True
    )


def merged_in_a_checkout(scratch: ScratchRepo) -> Answer:
    """Returns what ``git merge`` makes of ``theirs`` in a checkout of ``ours``, which is left as it was."""
    scratch.git("checkout", "-q", "-f", "--detach", "ours")
    done = subprocess.run(
        ["git", "merge", "--no-ff", "--no-edit", "theirs"],
        cwd=scratch.path,
        capture_output=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise AssertionError(done)
    tree = scratch.git("rev-parse", "AUTO_MERGE" if done.returncode else "HEAD^{tree}")
    # Where files meet by renames, git 2.39 says that they conflict, and commits the markers all the same.
    is_clean = b"CONFLICT" not in done.stdout
    stages = scratch.git("ls-files", "-u", "-z") if done.returncode else ""
    scratch.git("reset", "-q", "--hard", "ours")
    scratch.git("clean", "-ffdxq")
    return Answer(is_clean, tree, frozenset(_stage(row) for row in stages.split("\0") if row))


def merged_in_memory(scratch: ScratchRepo, *, shortcut: bool) -> Answer:
    """Returns what this program makes of the same three trees."""
    repo = open_repository(scratch.path)
    writer = ObjectWriter(repo, durable=False)
    names = ("base", "ours", "theirs")
    base, ours, theirs = (Oid(scratch.git("rev-parse", f"{name}^{{tree}}")) for name in names)
    labels = Labels("HEAD", "theirs", scratch.git("rev-parse", "--short", "base"))
    with TreeReader(repo) as trees:
        merger = TreeMerger(trees, writer) if shortcut else None
        found = merge(repo, writer, base=base, ours=ours, theirs=theirs, merger=merger, labels=labels)
    if isinstance(found, Merged):
        return Answer(True, found.tree, frozenset())
    return Answer(False, found.tree, frozenset((s.mode, s.oid, s.stage, s.path) for s in found.stages))


def _stage(row: str) -> tuple[str, str, int, str]:
    facts, _, path = row.partition("\t")
    mode, oid, stage = facts.split(" ")
    return (mode, oid, int(stage), path)
