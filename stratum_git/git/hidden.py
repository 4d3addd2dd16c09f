"""What the marks of an index hide: files that git is told not to look at, and that are changed all the same.

``assume-unchanged`` and ``skip-worktree`` keep changes of a user's own out of ``status``. Where they are, git
still refuses to overwrite them, but only when it comes to that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from stratum_git.git.diff import Change
from stratum_git.git.process import Done, Git
from stratum_git.model.ids import Oid

FORMATS = {40: "sha1", 64: "sha256"}
LINK = "120000"


def hidden_dirt(checkout: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Returns which of *paths* are hidden from git in *checkout*, and are not as the index has them."""
    wanted = set(paths)
    rows = [row for row in _hidden(Git(checkout).run) if row[0] in wanted]
    found = {name: (mode, oid) for name, _, mode, oid in rows}
    assumed = {name for name, mark, _, _ in rows if mark.islower()}
    there = {name for name in found if os.path.lexists(checkout / name)}
    files = [n for n in found if n in there and (checkout / n).is_file() and not (checkout / n).is_symlink()]
    same = _as_indexed(checkout, files, found)
    same |= {name for name in there if found[name][0] == LINK and is_link_to(checkout / name, found[name][1])}
    # One that is left out, and is not there, is as it should be.
    return tuple(name for name in found if name not in same and (name in there or name in assumed))


def marks_of(git: Callable[..., Done], changes: Sequence[Change], *, every: bool = False) -> dict[str, str]:
    """Returns the marks that hide changed paths from git: ``S`` left out, in lower case assumed unchanged.

    With *every* those of all of them that the index has.
    """
    wanted = {change.path for change in changes}
    if every:
        rows = (os.fsdecode(row) for row in git("ls-files", "-v", "-z").stdout.split(b"\0") if row)
        return {row[2:]: row[0] for row in rows if row[2:] in wanted}
    return {name: mark for name, mark, _, _ in _hidden(git) if name in wanted}


def is_link_to(path: Path, oid: Oid) -> bool:
    """Returns whether *path* is a symlink, and the one that git knows as *oid*."""
    if not path.is_symlink():
        return False
    text = os.fsencode(path.readlink())
    name = hashlib.new(FORMATS[len(oid)], b"blob %d\0" % len(text) + text, usedforsecurity=False)
    return name.hexdigest() == oid


def _hidden(git: Callable[..., Done]) -> Iterator[tuple[str, str, str, Oid]]:
    """Yields what is hidden: path, mark, mode, object."""
    for row in git("ls-files", "-v", "-s", "-z").stdout.split(b"\0"):
        mark = row[:1].decode()
        if mark == "S" or mark.islower():
            facts, _, name = os.fsdecode(row).partition("\t")
            _, mode, oid, _ = facts.split(" ")
            yield name, mark, mode, Oid(oid)


def _as_indexed(checkout: Path, files: Sequence[str], found: Mapping[str, tuple[str, Oid]]) -> set[str]:
    """Returns which files come to what the index has of them, through the filters that stand between."""
    plain = [name for name in files if "\n" not in name]
    stdin = b"".join(os.fsencode(name) + b"\n" for name in plain)
    oids = (
        Git(checkout).run("hash-object", "--stdin-paths", stdin=stdin).stdout.decode().split()
        if plain
        else []
    )
    return {name for name, oid in zip(plain, oids, strict=True) if oid == found[name][1]}
