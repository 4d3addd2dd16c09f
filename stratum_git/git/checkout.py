"""Lets a user's checkout follow a branch that moved, without losing a byte of what is uncommitted there.

Never a stash, never a hard reset. ``read-tree -m -u OLD NEW`` updates exactly the files that differ between
the two commits and refuses when one of them has uncommitted changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from typing import TypeAlias

from stratum_git.errors import HostError
from stratum_git.git import stale_locks
from stratum_git.git.diff import Change, changed_paths, changes_in
from stratum_git.git.flushing import flush
from stratum_git.git.hidden import FORMATS, hidden_dirt, is_link_to, marks_of
from stratum_git.git.index_table import table_of
from stratum_git.git.process import Done, Git, GitFailed
from stratum_git.git.refs import tip_nowait
from stratum_git.git.registration import checked_out, place_of
from stratum_git.git.repository import Repository
from stratum_git.git.snapshot import STATES
from stratum_git.git.untouched import folders_above, is_untouched
from stratum_git.git.worktree import common_dir_of, git_dir_of
from stratum_git.model.ids import Oid, RefName

DURABLE = ("core.fsync=index",)
OBJECTION = re.compile(r"error: (Entry|Updating|Untracked|Working tree|Submodule) |Aborting")
"""How git says that something in the checkout is in the way."""
EMPTY = frozenset(
    hashlib.new(name, b"blob 0\0", usedforsecurity=False).hexdigest() for name in FORMATS.values()
)


@dataclass(frozen=True, slots=True)
class Synced:
    """The checkout is at the new commit; what was uncommitted in other files still is."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The checkout is as it was."""

    reason: str
    paths: tuple[str, ...] = ()


OURS = "refs/heads/stratum/"
LITERAL = {"GIT_LITERAL_PATHSPECS": "1"}
PAUSE, PAUSES = 0.02, 100
"""Seconds, and how many times: who has the index for longer than two seconds holds it, or died."""

Answer: TypeAlias = Synced | Refused


def checkouts_of(repo: Repository, branch: RefName) -> tuple[Path, ...]:
    """Returns the worktrees that have *branch* checked out."""
    return tuple(place for place, on in checked_out(repo).items() if on == branch and place.is_dir())


def rebased_in(repo: Repository, branch: RefName) -> tuple[Path, ...]:
    """Returns the worktrees that are in the middle of a rebase which will move *branch* at its end."""
    places = {repo.git_dir: repo.root, repo.common_dir: repo.common_dir.parent}
    for marker in (repo.common_dir / "worktrees").glob("*/gitdir"):
        place = place_of(marker)
        if place is not None and place.is_dir():
            places[marker.parent] = place
    return tuple(dict.fromkeys(place for folder, place in places.items() if branch in _rebased(folder)))


def _rebased(folder: Path) -> set[str]:
    names: set[str] = set()
    for name in ("rebase-merge/head-name", "rebase-apply/head-name", "rebase-merge/update-refs"):
        with contextlib.suppress(OSError):
            names |= set(os.fsdecode((folder / name).read_bytes()).split("\n"))
    return names


def checkouts_left(repo: Repository, branch: RefName, old: Oid, new: Oid) -> tuple[Path, ...]:
    """Returns the worktrees that are to follow *branch*, which has moved from *old* to *new*.

    Besides those that have it checked out: where somebody made, or switched to, another branch at *new* in
    the moment between, git kept the files of before. Who was at *new* all along is left alone; so are slots.
    """
    on = [(place, at) for place, at in checked_out(repo).items() if place.is_dir()]
    own = [place for place, at in on if at == branch]
    others = [place for place, at in on if not at.startswith(OURS) and tip_nowait(repo, at) == new]
    return (*own, *(place for place in others if place not in own and _is_behind(place, old, new)))


def _is_behind(checkout: Path, old: Oid, new: Oid) -> bool:
    """Returns whether a checkout has the files of *old* in its index, wherever those of *new* are others."""
    git = Git(checkout)
    # Not by comparing with the commit: of that git 2.39 dies where the index is sparse.
    rows = (os.fsdecode(row).partition("\t") for row in git.run("ls-files", "-s", "-z").stdout.split(b"\0"))
    index = {name: facts.split(" ")[1] for facts, _, name in rows if name}
    changes = changes_in(git, old, new)
    none = "0" * len(new)
    return bool(changes) and all(index.get(change.path, none) == change.old for change in changes)


def obstacle(
    repo: Repository, checkout: Path, old: Oid, new: Oid, changes: Sequence[Change] | None = None
) -> Refused | None:
    """Returns what keeps *checkout* from following a move from *old* to *new*: unfinished work, or dirt.

    *changes* is how these differ, where that is known.
    """
    folder = git_dir_of(checkout)
    unfinished = next((word for name, word in STATES if (folder / name).exists()), None)
    if unfinished is not None:
        return Refused(f"a {unfinished} is under way in {checkout}")
    lock = folder / "index.lock"
    if not stale_locks.clear(repo.common_dir, lock) and not _is_free(lock):
        return Refused(f"another git is at work in {checkout}, or was killed: {lock} exists")
    changes = changed_paths(repo, old, new) if changes is None else changes
    changed = {PurePosixPath(change.path) for change in changes}
    dirt = () if is_untouched(checkout, folder / "index", changes) else _dirt_at(checkout, changes)
    if dirt:
        return Refused(f"uncommitted changes in {checkout} would be overwritten", dirt)
    closed = _unwritable(checkout, changed)
    return Refused(f"{checkout} cannot be written to", closed) if closed else None


def _dirt_at(checkout: Path, changes: Sequence[Change]) -> tuple[str, ...]:
    """Returns what is uncommitted where something is to change. Git looks at every file for it."""
    changed = {PurePosixPath(change.path) for change in changes}
    above = {parent for path in changed for parent in path.parents}
    dirt = tuple(path for path in _dirt(checkout) if _touches(PurePosixPath(path), changed, above))
    return tuple(dict.fromkeys((*dirt, *hidden_dirt(checkout, [change.path for change in changes]))))


def _unwritable(checkout: Path, changed: set[PurePosixPath]) -> tuple[str, ...]:
    """Returns the folders in which something is to change and nothing can: of a disk for reading."""
    folders: set[PurePosixPath] = set()
    for parent in {path.parent for path in changed}:
        there = (p for p in (parent, *parent.parents) if (checkout / p).is_dir())
        folders |= {next(there, PurePosixPath())}
    return tuple(sorted(str(p) for p in folders if not os.access(checkout / p, os.W_OK | os.X_OK)))


@dataclass(frozen=True, slots=True)
class _Tree:
    """A checkout, and the index that git is to take for its own there."""

    checkout: Path
    index: Path | None = None

    def git(self, *words: str, stdin: bytes = b"", ok: tuple[int, ...] = (0,)) -> Done:
        """Runs git there. An index that a power cut left empty would be the user's to mend."""
        env = {} if self.index is None else {"GIT_INDEX_FILE": str(self.index)}
        return Git(self.checkout).run(*words, stdin=stdin, ok=ok, config=DURABLE, env={**LITERAL, **env})


def sync(
    checkout: Path, old: Oid, new: Oid, *, held: bool = False, changes: Sequence[Change] | None = None
) -> Answer:
    """Moves index and files of *checkout* from *old* to *new*, on the disk too. Doing it again does no harm.

    That goes for a first time that was cut off anywhere: what it had written already is no obstacle. When the
    caller has *held* the index's lock, git is given a copy, which then takes the index's place. *changes* is
    how the two differ, where that is known.
    """
    changes = changes_in(Git(checkout), old, new) if changes is None else changes
    precious = _ignored_in_the_way(checkout, changes)
    if precious:
        return Refused(f"ignored files in {checkout} would be overwritten", precious)
    if held:
        return _synced_aside(checkout, old, new, changes)
    lock = _index_lock(checkout)
    if not stale_locks.clear(common_dir_of(checkout), lock) and not _is_free(lock):
        raise HostError(f"another git holds {lock}", hint=f"when no git is running there, delete {lock}")
    with stale_locks.taking(common_dir_of(checkout), [lock]):
        return _followed(_Tree(checkout), old, new, changes)


def _synced_aside(checkout: Path, old: Oid, new: Oid, changes: Sequence[Change]) -> Answer:
    index = git_dir_of(checkout) / "index"
    copy = index.with_name("index-stratum")
    try:
        if index.exists():
            # With its times, by which git tells what may have changed since.
            shutil.copy2(index, copy)
        answer = _followed(_Tree(checkout, copy), old, new, changes)
        if isinstance(answer, Synced):
            copy.replace(index)
            flush([index.parent])
    finally:
        copy.unlink(missing_ok=True)
    return answer


def _followed(tree: _Tree, old: Oid, new: Oid, changes: Sequence[Change]) -> Answer:
    assumed = _assumed(tree, changes)
    refused = _moved(tree, old, new)
    removed = _take_back(tree.checkout, changes) if refused is not None else ()
    if removed:
        refused = _moved(tree, old, new)
        if refused is not None:
            _put_back(tree, new, removed)
    if refused is None:
        _assume_again(tree, assumed, changes)
        _flush_files(tree, changes)
    return refused or Synced()


def _assumed(tree: _Tree, changes: Sequence[Change]) -> list[str]:
    """Returns which of the files that differ are marked as unchanged, whatever is in them."""
    if not changes:
        return []
    names = {os.fsencode(change.path): change.path for change in changes}
    table = table_of(tree.index or git_dir_of(tree.checkout) / "index", len(changes[0].new) // 2, names)
    if table is None:
        return [name for name, mark in marks_of(tree.git, changes).items() if mark.islower()]
    return [names[name] for name, row in table.rows.items() if row.is_assumed]


def _assume_again(tree: _Tree, assumed: Sequence[str], changes: Sequence[Change]) -> None:
    """Marks files as unchanged that were so before: git forgets it of those that it writes."""
    there = marks_of(tree.git, changes, every=True) if assumed else {}
    stdin = b"".join(os.fsencode(name) + b"\0" for name in assumed if name in there)
    if stdin:
        tree.git("update-index", "--assume-unchanged", "-z", "--stdin", stdin=stdin)


def _moved(tree: _Tree, old: Oid, new: Oid) -> Refused | None:
    done = _read_tree(tree, old, new)
    if done.code:
        # What looks changed may only have been touched. To tell, git looks at every file there is.
        done = _read_tree(tree, old, new, refreshed=True)
    if done.code == 0:
        return None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if said and not any(OBJECTION.match(line) for line in said):
        # A full disk, a lock: that is to be tried again, and not to be noted.
        raise GitFailed(("read-tree",), done.code, done.stderr)
    return Refused(said[0].removeprefix("error: ") if said else "git refused", tuple(said[1:]))


def _read_tree(tree: _Tree, old: Oid, new: Oid, *, refreshed: bool = False) -> Done:
    """Moves index and files; a `git status` of the user's, in an editor perhaps, is waited for."""
    for _ in range(PAUSES):
        if refreshed:
            tree.git("update-index", "-q", "--refresh", ok=(0, 1, 128))
        done = tree.git("read-tree", "-m", "-u", old, new, ok=(0, 1, 128))
        if done.code == 0 or not re.search(rb"index\.lock': File exists", done.stderr):
            return done
        Event().wait(PAUSE)
    return tree.git("read-tree", "-m", "-u", old, new, ok=(0, 1, 128))


def _is_free(lock: Path) -> bool:
    """Returns whether nobody has a lock, or whoever had it let go of it while he was waited for."""
    for _ in range(PAUSES):
        if not lock.exists():
            return True
        Event().wait(PAUSE)
    return False


def _take_back(checkout: Path, changes: Sequence[Change]) -> tuple[Change, ...]:
    """Removes files that were written by a move that was cut off, and returns which.

    Such a file is as in the new commit, or empty after a power cut. What was there before had been looked at.
    """
    files = [c for c in changes if _is_file(checkout / c.path) and "\n" not in c.path]
    # Not by their contents here: a filter may stand between them and the commit.
    stdin = b"".join(os.fsencode(change.path) + b"\n" for change in files)
    rows = Git(checkout).run("hash-object", "--stdin-paths", stdin=stdin).stdout.decode().split()
    own = [c for c, oid in zip(files, rows, strict=True) if oid == c.new or not _size(checkout / c.path)]
    own += [c for c in changes if is_link_to(checkout / c.path, c.new)]
    for change in own:
        (checkout / change.path).unlink()
    return tuple(own)


def _put_back(tree: _Tree, new: Oid, removed: Sequence[Change]) -> None:
    """Writes what was taken back once more: something else is in the way, and is not ours."""
    stdin = b"\0".join(os.fsencode(change.path) for change in removed)
    listed = ("--pathspec-from-file=-", "--pathspec-file-nul")
    tree.git("restore", "--source", new, "--worktree", *listed, stdin=stdin)


def _flush_files(tree: _Tree, changes: Sequence[Change]) -> None:
    """Puts the files that differ on the disk, and the folders that they are in."""
    lost = [change for change in changes if _is_lost(f"{tree.checkout}/{change.path}", change.new)]
    # What a sparse checkout leaves out is not lost.
    outside = marks_of(tree.git, lost) if lost else {}
    lost = [change for change in lost if outside.get(change.path, "").upper() != "S"]
    if lost:
        # The index had them before a power cut, and they had not been flushed.
        stdin = b"\0".join(os.fsencode(change.path) for change in lost)
        tree.git("checkout-index", "-f", "-u", "-q", "-z", "--stdin", stdin=stdin)
    names = [change.path for change in changes]
    paths = [f"{tree.checkout}/{name}" for name in (*names, *folders_above(names), "")]
    flush([path for path in paths if _mode(path) in {stat.S_IFREG, stat.S_IFDIR}])


def _is_lost(file: str, oid: Oid) -> bool:
    """Returns whether a file is empty and should not be, or is not there."""
    if not oid.strip("0"):
        return False
    try:
        found = os.lstat(file)
    except OSError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_size == 0 and oid not in EMPTY


def _mode(path: str) -> int:
    """Returns what kind of file there is, 0 for none."""
    with contextlib.suppress(OSError):
        return stat.S_IFMT(os.lstat(path).st_mode)
    return 0


def _size(file: Path) -> int:
    return file.stat().st_size


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _index_lock(checkout: Path) -> Path:
    return git_dir_of(checkout) / "index.lock"


def _dirt(checkout: Path) -> tuple[str, ...]:
    """Returns the paths that are not as in HEAD."""
    asked = ("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all")
    out = Git(checkout).run(*asked, "--ignored=matching", env={"GIT_OPTIONAL_LOCKS": "0"}).stdout
    rows = (os.fsdecode(row) for row in out.split(b"\0") if row)
    return tuple(row[3:] for row in rows)


def _ignored_in_the_way(checkout: Path, changes: Sequence[Change]) -> tuple[str, ...]:
    """Returns ignored files where new ones come: read-tree minds untracked files, and overwrites ignored."""
    names = [change.path for change in changes if change.status == "A"]
    if not _is_any_taken(checkout, names):
        return ()
    added = {PurePosixPath(name) for name in names}
    # Not by `status`: the branch has moved, and git 2.39 dies of comparing that with a sparse index.
    listed = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    above = {parent for path in added for parent in path.parents}
    ignored = (os.fsdecode(row) for row in Git(checkout).run(*listed).stdout.split(b"\0") if row)
    return tuple(path for path in ignored if _touches(PurePosixPath(path), added, above))


def _is_any_taken(checkout: Path, names: Sequence[str]) -> bool:
    if any(_mode(f"{checkout}/{name}") for name in names):
        return True
    # Of a folder's place only what leads to no folder is in the way.
    above = (f"{checkout}/{folder}" for folder in folders_above(names))
    return any(_mode(place) not in {0, stat.S_IFDIR} and not Path(place).is_dir() for place in above)


def _touches(dirty: PurePosixPath, changed: set[PurePosixPath], above: set[PurePosixPath]) -> bool:
    """Returns whether a dirty path is a changed one, or a file where a folder is wanted, or the reverse."""
    return dirty in changed or dirty in above or any(parent in changed for parent in dirty.parents)
