"""Worktrees and private clones: pointed at a commit, emptied, thrown away.

How the repository learns of a worktree is in ``registration.py``; the checkout is what takes time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from stratum_git.git import stale_locks
from stratum_git.git.exchange import put_in_place
from stratum_git.git.files import read_pointer, resolved
from stratum_git.git.objects import flush_new
from stratum_git.git.process import Git, GitFailed
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName

UNFINISHED = (
    "MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "MERGE_RR", "MERGE_AUTOSTASH", "AUTO_MERGE", "SQUASH_MSG",
    "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD", "BISECT_LOG", "BISECT_START",
    "BISECT_NAMES", "BISECT_TERMS",
    "BISECT_EXPECTED_REV", "rebase-merge", "rebase-apply", "sequencer", "index.lock", "HEAD.lock",
)  # fmt: skip
"""What a merge, rebase or killed git leaves in a worktree's own git directory."""

ATTEMPTS = 5
FROM_DISK = {"GIT_ALLOW_PROTOCOL": "file"}

PLAIN_INDEX = b"DIRC\0\0\0\2"

OWN_REFS = ("refs/bisect", "refs/rewritten", "refs/worktree")
"""Refs that only one worktree has. In a clone they are as its owner wants them."""


def check_out(path: Path, oid: Oid, branch: RefName | None, *, workers: int = 0) -> None:
    """Makes the worktree at *path* exactly the commit *oid*, on *branch* (made or moved) or detached.

    Tracked, untracked and ignored files of before are gone, and so is an unfinished merge or rebase.
    *workers* is how many processes write files; 0 leaves that to the settings.
    """
    forget_unfinished(path)
    if branch is not None:
        _free(path, branch)
    _unhide(path)
    where = (
        ["--detach", oid] if branch is None else ["--no-track", "-B", branch.removeprefix("refs/heads/"), oid]
    )
    # An agent may have made its checkout sparse; the next one is to get every file.
    config: tuple[str, ...] = ("core.sparseCheckout=false",)
    if workers:
        config = (*config, f"checkout.workers={workers}")
    Git(path).run("checkout", "-q", "-f", "--no-recurse-submodules", *where, config=config)


def attach(path: Path, branch: RefName) -> None:
    """Puts the HEAD of the worktree at *path* on *branch*, which points at the commit that it is at."""
    folder = git_dir_of(path)
    if (folder / "reftable").exists():
        Git(path).run("symbolic-ref", "HEAD", branch)
        return
    # Written as git does, which would take a process for it: a lock file that becomes the HEAD.
    lock = folder / "HEAD.lock"
    with lock.open("xb") as file:
        file.write(b"ref: " + os.fsencode(branch) + b"\n")
    lock.replace(folder / "HEAD")


def leave_branch(path: Path, commit: Oid) -> None:
    """Takes the HEAD of the worktree at *path* from its branch, to *commit*; its files are as they were.

    Whatever else of it holds a branch, an unfinished rebase or bisect, is forgotten. The worktree is to be
    checked out again before anybody works there.
    """
    forget_unfinished(path)
    folder = git_dir_of(path)
    if (folder / "reftable").exists():
        Git(path).run("update-ref", "--no-deref", "HEAD", commit)
        return
    # No lock: nobody is in it. What was its HEAD goes when it is cleaned.
    left = folder / "HEAD.left"
    left.write_bytes(commit.encode() + b"\n")
    put_in_place(left, folder / "HEAD")


def folders_of(repo: Repository, commit: Oid) -> frozenset[str]:
    """Returns every folder of a commit, for :func:`clean`."""
    rows = repo.git.run("ls-tree", "-r", "-d", "-z", "--name-only", "--full-tree", commit).stdout
    return frozenset(os.fsdecode(row) for row in rows.split(b"\0") if row)


def clean(path: Path, folders: Iterable[str], keep: Sequence[str] = ()) -> None:
    """Removes everything from the worktree at *path* that is not tracked, but for the patterns in *keep*.

    *folders* are those with tracked files in them: ``git clean`` steps around a repository made in one.
    """
    excluded = [word for pattern in keep for word in ("-e", pattern)]
    root = path.resolve()
    for folder in folders:
        # A string: there may be ten thousand folders, and hardly ever a repository in one.
        if os.path.lexists(f"{root}/{folder}/.git"):
            _remove_inner_repository(root, folder)
    Git(path).run("clean", "-q", "-ffdx", *excluded)


def forget_unfinished(path: Path) -> None:
    """Drops an unfinished merge, rebase or bisect of the worktree at *path*, and its own stale locks."""
    folder = git_dir_of(path)
    own = () if (path / ".git").is_dir() or not (folder / "refs").is_dir() else OWN_REFS
    # Nearly always there is none: asked of the folder once, and not for each of them.
    there = set(os.listdir(folder))  # noqa: PTH208 - names are enough
    for name in (*there.intersection(UNFINISHED), *own):
        stale = folder / name
        if stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                stale.unlink()


def git_dir_of(path: Path) -> Path:
    """Returns the git directory of the worktree or clone at *path*."""
    marker = path / ".git"
    if marker.is_dir():
        return marker
    return resolved(path / read_pointer(marker).removeprefix("gitdir: "))


def common_dir_of(path: Path) -> Path:
    """Returns the git directory that the worktree at *path* shares with the others."""
    own = git_dir_of(path)
    with contextlib.suppress(FileNotFoundError):
        return resolved(own / read_pointer(own / "commondir"))
    return own


def discard(path: Path, trash: Path) -> None:
    """Moves a directory to the trash: O(1), where deleting a tree takes as long as making it."""
    trash.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        path.rename(trash / f"{path.name}-{secrets.token_hex(6)}")


def clone_private(repo: Repository, path: Path, *, base: Oid, branch: RefName, name: str, email: str) -> None:
    """Makes a clone at *path* that borrows objects and has one ref, *branch* at *base*, checked out."""
    Git(path.parent).run(
        "clone", "-q", "--shared", "--no-checkout", "--no-tags", "--template=", "--origin=origin", "--",
        str(repo.common_dir), str(path),
        config=("protocol.file.allow=always", "clone.rejectShallow=false"),
        env=FROM_DISK,
    )  # fmt: skip
    path.chmod(0o700)
    git = Git(path)
    git.run("remote", "remove", "origin")
    check_out(path, base, branch)
    short = branch.removeprefix("refs/heads/")
    others = os.fsdecode(git.run("for-each-ref", "--format=%(refname)").stdout).split()
    stale = [f"delete {ref}\n" for ref in others if ref != f"refs/heads/{short}"]
    git.run("update-ref", "--stdin", stdin=os.fsencode("".join(stale)))
    for key, value in (("user.name", name), ("user.email", email), ("gc.auto", "0")):
        git.run("config", key, value)


def fetch_result(repo: Repository, clone: Path, oid: Oid) -> None:
    """Brings commit *oid* of a private clone into the repository and onto the disk, without a ref there."""
    Git(clone).run("update-ref", "refs/stratum/result", oid)
    for attempt in range(ATTEMPTS):
        try:
            _fetch(repo, clone)
            break
        except GitFailed as error:
            # Git looks through all worktrees, and somebody's `git worktree add` was in the middle of one.
            if b"commondir" not in error.stderr or attempt == ATTEMPTS - 1:
                raise
    flush_new(repo, oid)


def _fetch(repo: Repository, clone: Path) -> None:
    repo.git.run(
        "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
        "--no-recurse-submodules", "--", str(clone), "refs/stratum/result",
        # A bundle of a few objects is unpacked into loose ones, which git flushes only when told.
        config=("protocol.file.allow=always", "core.fsync=loose-object,pack"),
        env=FROM_DISK,
    )  # fmt: skip


def _free(path: Path, branch: RefName) -> None:
    """Deletes the lock of a branch that a killed git left behind."""
    folder = common_dir_of(path)
    if (folder / f"{branch}.lock").exists():
        stale_locks.clear(folder, folder / f"{branch}.lock")


def _unhide(path: Path) -> None:
    """Drops an index that git cannot read, or that keeps files from git's eyes: checkout makes a new one.

    Only an index of version 3 or later can mark files skip-worktree, which ``checkout -f`` passes over; git
    writes version 2 unless it must or is told. What is marked assume-unchanged ``checkout -f`` looks at.
    """
    index = git_dir_of(path) / "index"
    try:
        with index.open("rb") as file:
            if file.read(8) == PLAIN_INDEX:
                return
    except FileNotFoundError:
        return
    listed = Git(path).run("ls-files", "-t", "-z", ok=(0, 128))
    if listed.code or any(row.startswith(b"S ") for row in listed.stdout.split(b"\0")):
        index.unlink()


def _remove_inner_repository(root: Path, folder: str) -> None:
    inner = root / folder / ".git"
    # A folder may be a symlink by now, and what it leads to is not ours.
    if inner.parent.resolve() != inner.parent:
        return
    if inner.is_dir() and not inner.is_symlink():
        shutil.rmtree(inner)
    else:
        inner.unlink()
