"""Checkouts that no worktree is registered for: slots are laid over them, and nobody works in them.

Git makes them, in a git directory of its own that shares the repository's objects and settings, so filters,
attributes, line ends and submodules come out as in any new worktree. What there is is a tree of files,
without a ``.git``, and the index that git wrote of it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from stratum_git.errors import HostError
from stratum_git.git.diff import Change
from stratum_git.git.index_file import UnreadIndex, write_tiny
from stratum_git.git.index_splice import Old, rows_of, spliced
from stratum_git.git.mini_index import FILES, attributes_above
from stratum_git.git.process import Git
from stratum_git.git.registration import copy_whole
from stratum_git.git.repository import Repository
from stratum_git.git.tree_edit import entry_at
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid

PLAIN = (
    # A slot gets every file, whatever the user's own checkout leaves out.
    "core.sparseCheckout=false",
    # The index is copied, and its end compared: it is one file, of the version that is read here, with a sum.
    "core.splitIndex=false", "index.sparse=false", "index.version=2", "index.skipHash=false",
    "core.untrackedCache=false",
)  # fmt: skip
ATTRIBUTES = ".gitattributes"
NOTHING = "000000"
FOLDER = "040000"
WHITEOUT = stat.S_IFCHR


class UnlikeItsBase(HostError):  # noqa: N818 - reads as what is the matter
    """A commit differs from another one in more than its changed files: it takes a checkout of its own."""


def write_out(repo: Repository, commit: Oid, place: Path, workers: int) -> None:
    """Makes the files of *commit* at ``place/tree``, and their index at ``place/index``."""
    with _git_dir(repo, commit, place) as folder:
        git, config = Git(place / "tree"), (*PLAIN, f"checkout.workers={workers}")
        git.run("checkout", "-q", "-f", "--no-recurse-submodules", "--detach", commit, config=config)
        (folder / "index").rename(place / "index")


def write_difference(
    repo: Repository,
    old: tuple[Oid, Path],
    commit: Oid,
    changes: Sequence[Change],
    place: Path,
    trees: TreeReader | None = None,
) -> None:
    """Makes at ``place/tree`` what an overlay needs to turn a checkout into one of *commit*; and the index.

    *old* are the commit and the index of that checkout, *changes* how *commit* differs from it, folders
    included. What is gone is a whiteout. With *trees* only what differs is written by git, where it is sure
    what the index is. Raises UnlikeItsBase when files may differ that did not change.
    """
    if any(PurePosixPath(change.path).name == ATTRIBUTES for change in changes):
        raise UnlikeItsBase(f"{commit} has other attributes than {old[0]}")
    with _git_dir(repo, commit, place) as folder:
        tree = place / "tree"
        if trees is None or not _is_written(folder, tree, old, commit, changes, trees):
            copy_whole(old[1], folder / "index")
            Git(tree).run("read-tree", "-i", "-m", old[0], commit, config=PLAIN)
            _write_files(tree, [c.path for c in changes if c.new_mode not in {NOTHING, FOLDER}])
        for path in _gone(changes):
            whiteout(tree / path)
        (folder / "index").rename(place / "index")


def _is_written(
    folder: Path, tree: Path, old: tuple[Oid, Path], commit: Oid, changes: Sequence[Change], trees: TreeReader
) -> bool:
    """Has git write what differs, with an index of that alone, and puts what that says into the whole one.

    Returns whether that can be done; if not, all that was written is to be written over.
    """
    root, index = trees.root(commit), folder / "index"
    fresh = {c.path: (c.new_mode, c.new) for c in changes if c.new_mode not in {NOTHING, FOLDER}}
    if not all(mode in FILES for mode, _ in fresh.values()):
        return False
    attributes = attributes_above(fresh, lambda path: entry_at(trees, root, path))
    write_tiny(index, {**attributes, **fresh}, len(root) // 2)
    _write_files(tree, list(fresh))
    before = Old(old[1].read_bytes(), trees.root(old[0]))
    try:
        rows = rows_of(index.read_bytes(), before.width)
        index.write_bytes(spliced(before, root, changes, rows, trees))
    except UnreadIndex:
        return False
    return True


def _write_files(tree: Path, paths: Sequence[str]) -> None:
    if paths:
        names = b"\0".join(map(os.fsencode, paths))
        Git(tree).run("checkout-index", "-f", "-u", "-q", "-z", "--stdin", stdin=names, config=PLAIN)


def whiteout(path: Path) -> None:
    """Makes what an overlay takes for a file that was deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, WHITEOUT, os.makedev(0, 0))


def _gone(changes: Sequence[Change]) -> Iterator[str]:
    """Yields the highest of the paths that *changes* leave nothing at."""
    there = {change.path for change in changes if change.new_mode != NOTHING}
    above = ""
    for change in changes:
        if change.new_mode != NOTHING or (above and change.path.startswith(f"{above}/")):
            continue
        # What takes the place of a folder hides all that was in it.
        above = change.path if change.old_mode == FOLDER else ""
        if change.path not in there:
            yield change.path


@contextmanager
def _git_dir(repo: Repository, commit: Oid, place: Path) -> Iterator[Path]:
    """Gives a git directory for ``place/tree``, made, that is gone at the end."""
    folder, marker = place / "git", place / "tree/.git"
    folder.mkdir()
    (place / "tree").mkdir(mode=0o700, exist_ok=True)
    (folder / "HEAD").write_bytes(commit.encode() + b"\n")
    (folder / "commondir").write_bytes(os.fsencode(repo.common_dir.resolve()) + b"\n")
    (folder / "gitdir").write_bytes(os.fsencode(marker.resolve()) + b"\n")
    marker.write_bytes(b"gitdir: " + os.fsencode(folder.resolve()) + b"\n")
    yield folder
    marker.unlink()
    shutil.rmtree(folder)
