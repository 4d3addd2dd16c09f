"""Makes a worktree fit for its next tenant: nothing of the former one is left in it.

``git checkout -f`` and ``git clean`` miss some of it: files that were marked as not to be looked at, the
contents of submodules, the former tenant's reflog. What an agent put where all worktrees share it (the stash,
branches, configuration) is not a slot's to undo.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from stratum_git.git.diff import FOLDER
from stratum_git.git.process import Git
from stratum_git.git.programs import LINK
from stratum_git.git.tree_reader import Entries, TreeReader
from stratum_git.git.worktree import check_out, clean, discard, git_dir_of
from stratum_git.model.ids import Oid

OWN = frozenset({"HEAD", "commondir", "gitdir", "index", "locked", "logs", "refs", "reftable"})
"""What a worktree's own git directory is made of. The rest is of a merge, a rebase, a message, a fetch."""

TAINTS = ("config.worktree", "info/sparse-checkout", "modules")
"""Settings of one worktree alone, and submodules: made anew sooner than undone."""

HISTORY = ("logs", "refs/bisect", "refs/worktree", "refs/rewritten")
"""What git remembers of a worktree: `git checkout -` would lead to the former tenant's branch."""

GITLINK = "160000"
FEW = 64
"""Folders up to which it is quicker to look here than to start ``git clean``."""


def is_reusable(slot: Path) -> bool:
    """Returns whether a worktree can be made as good as new."""
    folder = git_dir_of(slot)
    return not any((folder / name).exists() for name in TAINTS)


def scrub(
    slot: Path,
    commit: Oid,
    folders: Collection[str],
    keep: tuple[str, ...],
    trash: Path,
    trees: TreeReader | None = None,
) -> None:
    """Makes the worktree *slot* exactly *commit*, detached; untracked files stay where *keep* matches.

    *folders* are those of the commit.
    """
    folder = git_dir_of(slot)
    for entry in folder.iterdir():
        if entry.name not in OWN and not entry.name.startswith("sharedindex."):
            _remove(entry)
    check_out(slot, commit, None)
    # Not by `.gitmodules`: there may be links to other repositories without it.
    if LINK in (folder / "index").read_bytes():
        _empty_submodules(slot, trash)
    if trees is None or len(folders) > FEW or not _is_pristine(slot, trees, trees.root(commit)):
        clean(slot, folders, keep)
    for name in HISTORY:
        _remove(folder / name)


def _is_pristine(folder: Path, trees: TreeReader, tree: Oid, *, top: bool = True) -> bool:
    """Returns whether there is nothing in *folder* but what *tree* has. Files are not compared."""
    entries = trees.entries(tree)
    with os.scandir(folder) as listing:
        return all(
            found.name == ".git" if top and found.name not in entries else _is_known(found, trees, entries)
            for found in listing
        )


def _is_known(found: os.DirEntry[str], trees: TreeReader, entries: Entries) -> bool:
    mode, oid = entries.get(found.name, (GITLINK, Oid("")))
    if mode != FOLDER:
        # What is in a submodule's folder, nobody here knows.
        return mode != GITLINK
    return found.is_dir(follow_symlinks=False) and _is_pristine(Path(found), trees, oid, top=False)


def _empty_submodules(slot: Path, trash: Path) -> None:
    rows = Git(slot).run("ls-files", "-s", "-z").stdout.split(b"\0")
    for row in rows:
        facts, _, name = os.fsdecode(row).partition("\t")
        path = slot / name
        if facts.startswith(GITLINK) and path.is_dir() and any(path.iterdir()):
            _put_away(path, trash)
            path.mkdir()


def _put_away(folder: Path, trash: Path) -> None:
    try:
        discard(folder, trash)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A slot that is a mount, or a subvolume: nothing can be renamed out of it.
        shutil.rmtree(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
