"""Looks for bytes that must not be in a commit: in files that wait for one, and in commits that were made."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stratum_git.git.index import Marks, reveal
from stratum_git.git.objects import read_objects
from stratum_git.git.process import Git
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid

IsIn = Callable[[bytes], bool]

STATUS = ("status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=all")
CONFIG = ("core.excludesFile=/dev/null",)
PIECE = 1 << 20
MANY = 16
"""Objects that are read at once."""
LISTED = ("--pathspec-from-file=-", "--pathspec-file-nul")
FILES = frozenset({b"100644", b"100755", b"120000"})
OBJECT = re.compile(rb"[0-9a-f]{40}([0-9a-f]{24})?( |$)")
FATAL = 128
LITERAL = {"GIT_LITERAL_PATHSPECS": "1"}


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for. ``longest`` is how many bytes a find may have."""

    is_in: IsIn
    longest: int


def tainted_files(slot: Path, base: Oid, search: Search) -> tuple[str, ...]:
    """Returns the paths of uncommitted files that have it in them, or in their names, staged or not."""
    if Marks(git_dir_of(slot) / "index", len(base) // 2).may_hide():
        reveal(slot, {})
    found = set()
    for line in Git(slot).run(*STATUS, config=CONFIG).stdout.split(b"\0"):
        if line[:2] in {b"1 ", b"u ", b"? "}:
            path = line.split(b" ", {b"1": 8, b"u": 10, b"?": 1}[line[:1]])[-1]
            if search.is_in(path) or _is_in_file(slot / os.fsdecode(path), search):
                found.add(os.fsdecode(path))
    return tuple(sorted(found | set(_tainted_index(slot, base, search))))


def put_back(slot: Path, paths: Sequence[str]) -> None:
    """Makes index and files what HEAD has at *paths*, whose files are gone from the slot by now."""
    # Nobody is at work in the slot any more; a git that was killed may have left its lock.
    (git_dir_of(slot) / "index.lock").unlink(missing_ok=True)
    git, stdin = Git(slot), b"\0".join(map(os.fsencode, paths))
    git.run("reset", "-q", *LISTED, stdin=stdin, ok=(0, 1), env=LITERAL)
    known = git.run("ls-files", "-z", "--full-name").stdout.split(b"\0")
    back = sorted(set(map(os.fsencode, paths)).intersection(known))
    if back:
        git.run("checkout-index", "-q", "-f", "-z", "--stdin", stdin=b"\0".join(back))


def tainted_commits(repo: Repository, base: Oid, head: Oid, search: Search) -> tuple[str, ...]:
    """Returns what has it in commits of *head* that *base* has not: paths, and the ids of commits."""
    if base == head:
        return ()
    rows = repo.git.run("rev-list", "--objects", head, f"^{base}").stdout.split(b"\n")
    names = dict(_named(row) for row in rows if OBJECT.match(row))
    tainted = list(_tainted(repo, names, search))
    return tuple(sorted({names[oid] or f"{kind} {oid}" for oid, kind in tainted}))


def _named(row: bytes) -> tuple[str, str]:
    oid, _, path = row.partition(b" ")
    return oid.decode("ascii"), os.fsdecode(path)


def _tainted(repo: Repository, oids: Iterable[str], search: Search) -> Iterator[tuple[str, str]]:
    """Yields objects that have it, and their kinds. The names of files are in trees."""
    left = iter(oids)
    while few := list(islice(left, MANY)):
        for oid, thing in zip(few, read_objects(repo, few), strict=True):
            if thing is not None and search.is_in(thing.data):
                yield oid, thing.type


def _tainted_index(slot: Path, base: Oid, search: Search) -> Iterator[str]:
    """Yields the staged files that have it: one that was staged with it may look harmless by now."""
    asked = ("diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev")
    done = Git(slot).run(*asked, "HEAD", ok=(0, FATAL))
    if done.code == FATAL:
        # The branch has no commit: whatever is in the index is new.
        done = Git(slot).run(*asked, base)
    fields = done.stdout.split(b"\0")
    rows = [(facts.split(b" "), path) for facts, path in zip(fields[::2], fields[1::2], strict=False)]
    staged = {os.fsdecode(path): facts[3].decode("ascii") for facts, path in rows if facts[1] in FILES}
    if not staged:
        return
    tainted = {oid for oid, _ in _tainted(open_repository(slot), set(staged.values()), search)}
    yield from (path for path, oid in staged.items() if oid in tainted)


def _is_in_file(path: Path, search: Search) -> bool:
    try:
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            return search.is_in(os.fsencode(path.readlink()))
        return stat.S_ISREG(kind) and _is_in_contents(path, search)
    except OSError:
        # Gone, or not to be read: then git cannot record it either.
        return False


def _is_in_contents(path: Path, search: Search) -> bool:
    with path.open("rb") as file:
        before = b""
        while piece := file.read(PIECE):
            if search.is_in(before + piece):
                return True
            before = (before + piece)[-search.longest :]
    return False
