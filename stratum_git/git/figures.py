"""What commits come to, in figures: who made them, and how many files and lines they change."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stratum_git.git.commits import Commit, commits_of
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid

COUNTS = re.compile(r" (\d+) (file|insertion|deletion)")
PLAIN = ("--no-renames", "--no-ext-diff", "--ignore-submodules=none")


@dataclass(frozen=True, slots=True)
class Size:
    """How much a change changes; binaries have no lines."""

    files: int = 0
    insertions: int = 0
    deletions: int = 0


@dataclass(frozen=True, slots=True)
class FileSize:
    """How much a change changes of a file; ``None`` for both where it is a binary."""

    path: str
    insertions: int | None
    deletions: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """A commit, and how much it changes of its first parent."""

    commit: Commit
    size: Size


def between(repo: Repository, old: Oid, new: Oid, limit: int | None = None) -> tuple[Figures, ...]:
    """Returns the commits that *new* has and *old* has not, oldest first; with *limit* the newest so many."""
    few = () if limit is None else (f"--max-count={limit}",)
    asked = ("rev-list", "--topo-order", *few, new, f"^{old}")
    oids = [Oid(line) for line in repo.git.run(*asked).stdout.decode().split()]
    facts, sizes = commits_of(repo, oids), _sizes(repo, oids)
    return tuple(Figures(facts[oid], sizes.get(oid, Size())) for oid in reversed(oids))


def count_between(repo: Repository, old: Oid, new: Oid) -> int:
    """Returns how many commits *new* has that *old* has not."""
    return int(repo.git.run("rev-list", "--count", new, f"^{old}").stdout)


def file_sizes(repo: Repository, old: Oid, new: Oid) -> tuple[FileSize, ...]:
    """Returns how two commits differ, file by file."""
    out = repo.git.run("diff-tree", "-r", "-z", "--numstat", *PLAIN, old, new).stdout
    rows = (row.split(b"\t", 2) for row in out.split(b"\0") if row)
    return tuple(FileSize(os.fsdecode(path), _number(more), _number(less)) for more, less, path in rows)


def sum_of(files: Sequence[FileSize]) -> Size:
    """Returns how much that is together."""
    more, less = sum(f.insertions or 0 for f in files), sum(f.deletions or 0 for f in files)
    return Size(len(files), more, less)


def _sizes(repo: Repository, oids: Sequence[Oid]) -> dict[Oid, Size]:
    stdin = "".join(f"{oid}\n" for oid in oids).encode()
    asked = ("diff-tree", "--stdin", "-r", "--root", "-m", "--first-parent", "--shortstat", *PLAIN)
    found: dict[Oid, Size] = {}
    at = Oid("")
    for line in repo.git.run(*asked, stdin=stdin).stdout.decode().splitlines():
        if re.fullmatch(r"[0-9a-f]{40,64}", line):
            at = Oid(line)
            continue
        counts = {word: int(number) for number, word in COUNTS.findall(line)}
        if counts:
            names = ("file", "insertion", "deletion")
            found[at] = Size(*(counts.get(word, 0) for word in names))
    return found


def _number(text: bytes) -> int | None:
    return None if text == b"-" else int(text)
