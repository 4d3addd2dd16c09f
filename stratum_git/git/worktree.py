"""Worktrees and private clones: made, pointed at a commit, emptied, dropped.

Only metadata is made by :func:`add_worktree`, which is what races in git; its caller holds a lock. The
checkout is what takes time; it needs none. ``git worktree prune`` is never run: it deletes the
registration of any worktree that it cannot see at that moment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.objects import flush_new
from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName

UNFINISHED = (
    "MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "MERGE_RR", "MERGE_AUTOSTASH", "AUTO_MERGE", "SQUASH_MSG",
    "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD", "BISECT_LOG", "BISECT_START",
    "BISECT_NAMES", "BISECT_TERMS",
    "BISECT_EXPECTED_REV", "rebase-merge", "rebase-apply", "sequencer", "index.lock", "HEAD.lock",
)  # fmt: skip
"""What a merge, rebase or killed git leaves in a worktree's own git directory."""

PLAIN_INDEX = b"DIRC\0\0\0\2"

OWN_REFS = ("refs/bisect", "refs/rewritten", "refs/worktree")
"""Refs that only one worktree has. In a clone they are as its owner wants them."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A worktree that the repository knows of."""

    path: Path
    head: Oid | None
    branch: RefName | None
    locked: str | None


def add_worktree(repo: Repository, path: Path, *, base: Oid, reason: str) -> None:
    """Registers an empty, locked worktree at *path*. The caller holds the repository's lock."""
    repo.git.run(
        "worktree", "add", "--no-checkout", "--detach", "--lock", "--reason", reason, "--", str(path), base
    )


def check_out(path: Path, oid: Oid, branch: RefName | None) -> None:
    """Makes the worktree at *path* exactly the commit *oid*, on *branch* (made or moved) or detached.

    Tracked, untracked and ignored files of before are gone, and so is an unfinished merge or rebase.
    """
    forget_unfinished(path)
    _unhide(path)
    where = (
        ["--detach", oid] if branch is None else ["--no-track", "-B", branch.removeprefix("refs/heads/"), oid]
    )
    # An agent may have made its checkout sparse; the next one is to get every file.
    config = ("core.sparseCheckout=false",)
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
    own = () if (path / ".git").is_dir() else OWN_REFS
    for name in (*UNFINISHED, *own):
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
    text = marker.read_text(encoding="utf-8", errors="surrogateescape").strip()
    return (path / text.removeprefix("gitdir: ")).resolve()


def unregister(repo: Repository, path: Path) -> None:
    """Makes the repository forget the worktree at *path*, whose directory is gone already."""
    for admin in _registrations(repo, path):
        shutil.rmtree(admin, ignore_errors=True)


def discard(path: Path, trash: Path) -> None:
    """Moves a directory to the trash: O(1), where deleting a tree takes as long as making it."""
    trash.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        path.rename(trash / f"{path.name}-{secrets.token_hex(6)}")


def list_worktrees(repo: Repository) -> tuple[Listed, ...]:
    """Returns every worktree of the repository, the main one first."""
    out = repo.git.run("worktree", "list", "--porcelain", "-z").stdout
    rows = (block.split(b"\0") for block in out.split(b"\0\0") if block.strip(b"\0"))
    return tuple(_listed([os.fsdecode(line) for line in row if line]) for row in rows)


def branches_in_use(repo: Repository) -> dict[RefName, Path]:
    """Returns the branches that are checked out, and where: what :func:`list_worktrees` tells, in process."""
    found = {}
    heads = {repo.common_dir / "HEAD": repo.common_dir.parent}
    for marker in (repo.common_dir / "worktrees").glob("*/gitdir"):
        with contextlib.suppress(OSError):
            heads[marker.with_name("HEAD")] = _place_of(marker)
    for head, path in heads.items():
        with contextlib.suppress(OSError):
            text = head.read_text(encoding="utf-8", errors="surrogateescape").strip()
            if text.startswith("ref: "):
                found[RefName(text.removeprefix("ref: "))] = path
    return found


def clone_private(repo: Repository, path: Path, *, base: Oid, branch: RefName, name: str, email: str) -> None:
    """Makes a clone at *path* that borrows objects and has one ref, *branch* at *base*, checked out."""
    Git(path.parent).run(
        "clone", "-q", "--shared", "--no-checkout", "--no-tags", "--template=", "--origin=origin", "--",
        str(repo.common_dir), str(path),
        config=("protocol.file.allow=always", "clone.rejectShallow=false"),
    )  # fmt: skip
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
    repo.git.run(
        "fetch", "-q", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
        "--no-recurse-submodules", "--", str(clone), "refs/stratum/result",
        # A bundle of a few objects is unpacked into loose ones, which git flushes only when told.
        config=("protocol.file.allow=always", "core.fsync=loose-object,pack"),
    )  # fmt: skip
    flush_new(repo, oid)


def _registrations(repo: Repository, path: Path) -> list[Path]:
    found = []
    for marker in (repo.common_dir / "worktrees").glob("*/gitdir"):
        with contextlib.suppress(OSError):
            if _place_of(marker) == path.resolve():
                found.append(marker.parent)
    return found


def _place_of(marker: Path) -> Path:
    """Returns the worktree that a registration is for. Newer gits may write it as a relative path."""
    text = marker.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
    return (marker.parent / text).parent.resolve()


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


def _listed(lines: list[str]) -> Listed:
    facts = {key: value for key, _, value in (line.partition(" ") for line in lines)}
    branch = facts.get("branch")
    head = facts.get("HEAD")
    return Listed(
        path=Path(facts.get("worktree", "")),
        head=None if head is None else Oid(head),
        branch=None if branch is None else RefName(branch),
        locked=facts.get("locked"),
    )
