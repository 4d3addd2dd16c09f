"""What lies between two commits, by plumbing that no setting of the user's changes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass

FOLDER = "040000"


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs: ``status`` is A, M, D or T (its type changed)."""

    path: str
    status: str
    old_mode: str
    new_mode: str
    old: Oid
    new: Oid

    @property
    def is_folder(self) -> bool:
        """Returns whether it is a tree that differs because something in it does."""
        return FOLDER in {self.old_mode, self.new_mode}


def changed_paths(repo: Repository, base: Oid, result: Oid, *, folders: bool = False) -> tuple[Change, ...]:
    """Returns every path in which two commits differ, with *folders* also those of the folders around it.

    A rename is a deletion and an addition.
    """
    return changes_in(repo.git, base, result, folders=folders)


def changes_in(git: Git, base: Oid, result: Oid, *, folders: bool = False) -> tuple[Change, ...]:
    """Returns what :func:`changed_paths` does, seen from any checkout of the repository."""
    asked = ("-z", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=none")
    out = git.run("diff-tree", "-t" if folders else "-r", *asked, base, result).stdout
    fields = out.split(b"\0")
    return tuple(
        _change(facts, path) for facts, path in zip(fields[::2], fields[1::2], strict=False) if facts
    )


def patch(repo: Repository, base: Oid, result: Oid, paths: Sequence[str] = ()) -> bytes:
    """Returns the difference of two commits as a patch that ``git apply`` takes."""
    asked = ("diff-tree", "-r", "-p", "--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/", "-M")
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none")
    # A path with a star in it is that path and no pattern.
    env = {"GIT_LITERAL_PATHSPECS": "1"}
    return repo.git.run(*asked, *plain, base, result, "--", *paths, env=env).stdout


def paths_since(repo: Repository, commit: Oid) -> tuple[str, ...]:
    """Returns the paths of the checkout that differ from a commit, untracked ones included."""
    plain = ("--no-renames", "--no-ext-diff", "--ignore-submodules=none")
    changed = repo.git.run("diff", "--name-only", "-z", *plain, commit, "--").stdout
    untracked = repo.git.run("ls-files", "-z", "--others", "--exclude-standard", "--full-name", ":/").stdout
    return tuple(sorted({os.fsdecode(path) for path in (changed + untracked).split(b"\0") if path}))


def patch_since(repo: Repository, commit: Oid) -> bytes:
    """Returns how the tracked files of the checkout differ from a commit, as a patch."""
    asked = ("diff", "--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/", "-M")
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none")
    return repo.git.run(*asked, *plain, commit, "--").stdout


def is_ancestor(repo: Repository, old: Oid, new: Oid) -> bool:
    """Returns whether commit *new* builds on *old*."""
    return repo.git.run("merge-base", "--is-ancestor", old, new, ok=(0, 1)).code == 0


def _change(facts: bytes, path: bytes) -> Change:
    old_mode, new_mode, old, new, status = facts.decode().lstrip(":").split(" ")
    return Change(os.fsdecode(path), status[0], old_mode, new_mode, Oid(old), Oid(new))


def extent(repo: Repository, base: Oid, result: Oid) -> tuple[int, int]:
    """Returns in how many files two commits differ, and in how many lines, added and removed.

    In a file that is not text, every 80 bytes of the larger side count as a line.
    """
    asked = ("-z", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none")
    rows = repo.git.run("diff-tree", "-r", *asked, base, result).stdout.split(b"\0")
    lines, binary = 0, set()
    for added, removed, path in (row.split(b"\t", 2) for row in rows if row):
        if added == b"-":
            binary.add(os.fsdecode(path))
        else:
            lines += int(added) + int(removed)
    if binary:
        lines += sum(
            -(-_larger(repo, c) // 80) for c in changed_paths(repo, base, result) if c.path in binary
        )
    return sum(1 for row in rows if row), lines


def _larger(repo: Repository, change: Change) -> int:
    """Returns the bytes of the larger side of a change."""
    sides = [oid for oid in (change.old, change.new) if oid.strip("0")]
    asked = "".join(f"{oid}\n" for oid in sides).encode()
    found = repo.git.run("cat-file", "--batch-check=%(objectsize)", stdin=asked)
    return max((int(line) for line in found.stdout.split() if line.isdigit()), default=0)
