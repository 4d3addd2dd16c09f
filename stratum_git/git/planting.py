"""Puts a conflict into a worktree as a merge would have left it, but for the merge that is not finished.

The files of the conflict lie there with their markers, and the index has the three sides of each path, so
that `git status`, `git diff`, `git mergetool` and `git checkout --ours` do what whoever resolves it expects.
There is no MERGE_HEAD: what is made of it is a change from the commit that the worktree is at, and no merge.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from stratum_git.git.merge import Stage
from stratum_git.git.process import Git
from stratum_git.model.ids import Oid

SHOWN = 16_000
"""Bytes of a difference that are shown; the rest can be had in the worktree."""


def plant(slot: Path, tree: Oid, stages: Iterable[Stage]) -> None:
    """Makes the clean worktree *slot* the tree of a conflict, with *stages* in its index."""
    git = Git(slot)
    # It may have been made sparse: every file of the conflict is to be there.
    git.run("read-tree", "--reset", "-u", tree, config=("core.sparseCheckout=false",))
    staged = tuple(stages)
    zero = "0" * len(tree)
    gone = (f"0 {zero} 0\t{path}" for path in dict.fromkeys(stage.path for stage in staged))
    rows = (*gone, *(f"{one.mode} {one.oid} {one.stage}\t{one.path}" for one in staged))
    if staged:
        stdin = b"".join(os.fsencode(row) + b"\0" for row in rows)
        git.run("update-index", "-z", "--index-info", stdin=stdin)


def unmerged(slot: Path) -> frozenset[str]:
    """Returns the paths of a worktree that its index has several sides of."""
    rows = Git(slot).run("ls-files", "-u", "-z", ok=(0, 128)).stdout.split(b"\0")
    return frozenset(os.fsdecode(row.partition(b"\t")[2]) for row in rows if row)


def hunks(slot: Path) -> str:
    """Returns how the unmerged files of a worktree differ from both sides, as ``git diff`` has it."""
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--diff-filter=U")
    out = Git(slot).run("diff", "--cc", *plain, ok=(0, 1, 128)).stdout
    shown = out[:SHOWN].decode("utf-8", "replace")
    return shown if len(out) <= SHOWN else shown.rpartition("\n")[0] + "\n(cut off; see `git diff`)"
