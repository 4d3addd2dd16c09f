"""Makes a commit of whatever lies in a slot: staged, unstaged, untracked, half merged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import Git
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid

STATUS = (
    "status", "--porcelain=v2", "-z", "--branch", "--no-renames", "--untracked-files=normal",
    "--ignore-submodules=none", "--no-ahead-behind",
)  # fmt: skip

STATES = (
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
)


@dataclass(frozen=True, slots=True)
class Captured:
    """What a slot holds: ``head`` is its HEAD, ``result`` the commit with everything, HEAD if that was all.

    ``unfinished`` names a merge, rebase or the like that was under way. ``embedded`` are git repositories
    made inside of the slot: git records only their HEAD, not their files.
    """

    head: Oid
    result: Oid
    dirty: bool
    unfinished: str | None = None
    embedded: tuple[str, ...] = ()


def capture(
    slot: Path, *, base: Oid, writer: ObjectWriter, message: str, author: Signature, committer: Signature
) -> Captured:
    """Returns the work in *slot* as a commit. Commits of the agent stay as they are, below it.

    One git process when there is nothing uncommitted, three otherwise.
    """
    head, changes = _status(slot)
    head = head or base
    unfinished = _unfinished(slot)
    if not changes:
        return Captured(head, head, dirty=False, unfinished=unfinished)
    git = Git(slot)
    git.run(
        "add",
        "-A",
        "--ignore-errors",
        ok=(0, 1),
        config=("core.safecrlf=false", "advice.addEmbeddedRepo=false"),
    )
    tree = Oid(git.line("write-tree"))
    result = writer.commit(tree, (head,), message, author, committer)
    return Captured(head, result, dirty=True, unfinished=unfinished, embedded=_embedded(slot, changes))


def _status(slot: Path) -> tuple[Oid | None, tuple[str, ...]]:
    head, changes = None, []
    for record in Git(slot).run(*STATUS).stdout.split(b"\0"):
        line = os.fsdecode(record)
        if line.startswith("# branch.oid "):
            oid = line.removeprefix("# branch.oid ")
            head = None if oid == "(initial)" else Oid(oid)
        elif line and not line.startswith("#"):
            changes.append(line)
    return head, tuple(changes)


def _unfinished(slot: Path) -> str | None:
    folder = git_dir_of(slot)
    return next((word for name, word in STATES if (folder / name).exists()), None)


def _embedded(slot: Path, changes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns untracked folders that are repositories themselves. A registered submodule is none of them."""
    folders = (line[2:] for line in changes if line.startswith("? ") and line.endswith("/"))
    return tuple(folder for folder in folders if any((slot / folder).rglob(".git")))
