"""Lets a user's checkout follow a branch that moved, without losing a byte of what is uncommitted there.

Never a stash, never a hard reset. ``read-tree -m -u OLD NEW`` updates exactly the files that differ between
the two commits and refuses when one of them has uncommitted changes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from typing import TypeAlias

from stratum_git.git.diff import changed_paths
from stratum_git.git.process import Done, Git
from stratum_git.git.registration import checked_out
from stratum_git.git.repository import Repository
from stratum_git.git.snapshot import STATES
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid, RefName


@dataclass(frozen=True, slots=True)
class Synced:
    """The checkout is at the new commit; what was uncommitted in other files still is."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The checkout is as it was."""

    reason: str
    paths: tuple[str, ...] = ()


PAUSE, PAUSES = 0.02, 100
"""Seconds, and how many times: who has the index for longer than two seconds holds it, or died."""

Answer: TypeAlias = Synced | Refused


def checkouts_of(repo: Repository, branch: RefName) -> tuple[Path, ...]:
    """Returns the worktrees that have *branch* checked out."""
    return tuple(place for place, on in checked_out(repo).items() if on == branch and place.is_dir())


def obstacle(repo: Repository, checkout: Path, old: Oid, new: Oid) -> Refused | None:
    """Returns what keeps *checkout* from following a move from *old* to *new*: unfinished work, or dirt."""
    folder = git_dir_of(checkout)
    unfinished = next((word for name, word in STATES if (folder / name).exists()), None)
    if unfinished is not None:
        return Refused(f"a {unfinished} is under way in {checkout}")
    if not _is_free(folder / "index.lock"):
        return Refused(f"another git is at work in {checkout}: {folder / 'index.lock'} exists")
    changed = {PurePosixPath(change.path) for change in changed_paths(repo, old, new)}
    above = {parent for path in changed for parent in path.parents}
    dirt = tuple(path for path in _dirt(checkout) if _touches(PurePosixPath(path), changed, above))
    if dirt:
        return Refused(f"uncommitted changes in {checkout} would be overwritten", dirt)
    return None


def sync(checkout: Path, old: Oid, new: Oid) -> Answer:
    """Moves index and files of *checkout* from *old* to *new*. Doing it again changes nothing."""
    git = Git(checkout)
    precious = _ignored_in_the_way(checkout, old, new)
    if precious:
        return Refused(f"ignored files in {checkout} would be overwritten", precious)
    done = _read_tree(git, old, new)
    if done.code == 0:
        return Synced()
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return Refused(said[0].removeprefix("error: ") if said else "git refused", tuple(said[1:]))


def _read_tree(git: Git, old: Oid, new: Oid) -> Done:
    """Moves index and files; a `git status` of the user's, in an editor perhaps, is waited for."""
    for _ in range(PAUSES):
        done = _read_tree_once(git, old, new)
        if done.code == 0 or not re.search(rb"index\.lock': File exists", done.stderr):
            return done
        Event().wait(PAUSE)
    return _read_tree_once(git, old, new)


def _read_tree_once(git: Git, old: Oid, new: Oid) -> Done:
    git.run("update-index", "-q", "--refresh", ok=(0, 1, 128))
    return git.run("read-tree", "-m", "-u", old, new, ok=(0, 1, 128))


def _is_free(lock: Path) -> bool:
    """Returns whether nobody has a lock, or whoever had it let go of it while he was waited for."""
    for _ in range(PAUSES):
        if not lock.exists():
            return True
        Event().wait(PAUSE)
    return False


def _dirt(checkout: Path, codes: str = "") -> tuple[str, ...]:
    """Returns the paths that are not as in HEAD, those with these two letters if any are given."""
    asked = ("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all")
    out = Git(checkout).run(*asked, "--ignored=matching", env={"GIT_OPTIONAL_LOCKS": "0"}).stdout
    rows = (os.fsdecode(row) for row in out.split(b"\0") if row)
    return tuple(row[3:] for row in rows if row.startswith(codes))


def _ignored_in_the_way(checkout: Path, old: Oid, new: Oid) -> tuple[str, ...]:
    """Returns ignored files where new ones come: read-tree minds untracked files, and overwrites ignored."""
    asked = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", old, new)
    names = (os.fsdecode(name) for name in Git(checkout).run(*asked).stdout.split(b"\0") if name)
    added = {PurePosixPath(name) for name in names}
    if not any(_is_taken(checkout, path) for path in added):
        return ()
    above = {parent for path in added for parent in path.parents}
    return tuple(path for path in _dirt(checkout, "!! ") if _touches(PurePosixPath(path), added, above))


def _is_taken(checkout: Path, path: PurePosixPath) -> bool:
    if os.path.lexists(checkout / path):
        return True
    return any(os.path.lexists(checkout / p) and not (checkout / p).is_dir() for p in path.parents)


def _touches(dirty: PurePosixPath, changed: set[PurePosixPath], above: set[PurePosixPath]) -> bool:
    """Returns whether a dirty path is a changed one, or a file where a folder is wanted, or the reverse."""
    return dirty in changed or dirty in above or any(parent in changed for parent in dirty.parents)
