"""What an attempt left besides its files, as a commit: its first parent is the commit of the files.

That is what was staged and then overwritten, the sides of a merge, the notes of an unfinished rebase with its
patches, and commits that nothing names any more once the slot is somebody else's: an agent amends, resets,
rebases and deletes branches, and only the reflog of its HEAD still knows.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import Git
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass

GITLINK = "160000"
NOTES = (
    "MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "MERGE_AUTOSTASH", "SQUASH_MSG", "CHERRY_PICK_HEAD",
    "REVERT_HEAD", "REBASE_HEAD", "BISECT_LOG", "rebase-merge", "rebase-apply", "sequencer",
)  # fmt: skip
"""What git writes down about something that is not finished, below a worktree's own git directory."""
POINTERS = (*NOTES, "ORIG_HEAD", "refs")
"""Where commits are named that may be on no ref that outlives the worktree."""
OID = re.compile(rb"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")
ONWARD = (b"commit: ", b"commit (merge): ")
"""How git notes a commit that has the one before as its parent."""
LARGEST = 64 * 1024 * 1024
"""Bytes of a note beyond which it is not looked into for commits."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a slot held: where its HEAD was, the commit of its files, and what status said of them.

    ``others`` are commits that are the attempt's as well, such as where its branch points.
    """

    base: Oid
    head: Oid
    result: Oid
    changes: tuple[str, ...]
    others: frozenset[Oid] = frozenset()


def remains(
    slot: Path, left: Left, writer: ObjectWriter, *, message: str, author: Signature, committer: Signature
) -> Oid | None:
    """Returns a commit of what is in no file of *slot* and on no ref; ``None`` when there is nothing.

    Its folders: ``staged`` has what was staged and is not what lies in the slot, ``unmerged/1`` to ``3`` the
    sides of conflicts, ``git`` what git had noted of a merge or rebase. Its further parents are commits.
    """
    folder = git_dir_of(slot)
    tips = _forgotten(slot, folder, left, writer)
    files = {**overwritten(left.changes), **dict(_notes(folder, writer))}
    if not tips and not files:
        return None
    # Git looks whether they are there.
    writer.reveal()
    tree = _planted(slot, folder, files) if files else writer.tree({})
    oid = writer.commit(tree, (left.result, *tips), message, author, committer)
    writer.owe(oid, left.base, left.result)
    return oid


def overwritten(changes: Iterable[str]) -> dict[str, tuple[str, Oid]]:
    """Returns what the index has, by status, that is neither in HEAD nor in the files: mode and object."""
    found: dict[str, tuple[str, Oid]] = {}
    for line in changes:
        if line.startswith("1 ") and line[2] not in ".D" and line[3] != ".":
            _, _, _, _, mode, _, _, oid, path = line.split(" ", 8)
            found[f"staged/{path}"] = (mode, Oid(oid))
        elif line.startswith("u "):
            fields = line.split(" ", 10)
            for stage in (1, 2, 3):
                found[f"unmerged/{stage}/{fields[10]}"] = (fields[2 + stage], Oid(fields[6 + stage]))
    return {path: entry for path, entry in found.items() if entry[0] not in {"000000", GITLINK}}


def _notes(folder: Path, writer: ObjectWriter) -> Iterator[tuple[str, tuple[str, Oid]]]:
    for path in _files(folder, NOTES):
        yield f"git/{path.relative_to(folder)}", ("100644", writer.blob(path.read_bytes()))


def _files(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    # Hardly ever is one of them there, and each would be looked for.
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for top in (folder / name for name in names if name in there):
        if top.is_dir() and not top.is_symlink():
            yield from (path for path in sorted(top.rglob("*")) if path.is_file() and not path.is_symlink())
        elif top.is_file() and not top.is_symlink():
            yield top


def _planted(slot: Path, folder: Path, files: Mapping[str, tuple[str, Oid]]) -> Oid:
    """Returns a tree with *files* in it. Git makes it: paths may be as deep as it lets them be."""
    index = folder / f"index-{secrets.token_hex(4)}"
    env = {"GIT_INDEX_FILE": str(index)}
    rows = (f"{mode} {oid} 0\t".encode() + os.fsencode(path) for path, (mode, oid) in files.items())
    try:
        Git(slot).run("update-index", "-z", "--index-info", stdin=b"\0".join(rows) + b"\0", env=env)
        return Oid(os.fsdecode(Git(slot).run("write-tree", env=env).stdout).strip())
    finally:
        index.unlink(missing_ok=True)


def _forgotten(slot: Path, folder: Path, left: Left, writer: ObjectWriter) -> tuple[Oid, ...]:
    """Returns the commits that the slot's HEAD was at, or that were named there, and its result has not."""
    moves = _moves(folder / "logs" / "HEAD")
    known = {left.base, left.head, left.result, Oid("0" * len(left.base))}
    named = {*_named(folder, len(left.base)), *left.others} - known
    if not named and _is_straight(moves, left):
        return ()
    asked = {*named, *(oid for old, new, _ in moves for oid in (old, new))} - known
    writer.reveal()
    return _unreached(Git(slot), asked, (left.base, left.result))


def _moves(log: Path) -> list[tuple[Oid, Oid, bytes]]:
    try:
        rows = log.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    parts = (row.partition(b"\t") for row in rows)
    facts = ((head.split(b" ", 2), message) for head, _, message in parts)
    return [
        (Oid(ids[0].decode("ascii", "replace")), Oid(ids[1].decode("ascii", "replace")), message)
        for ids, message in facts
        if len(ids) == 3
    ]


def _is_straight(moves: list[tuple[Oid, Oid, bytes]], left: Left) -> bool:
    """Returns whether HEAD went from the base to where it is by commits alone: none of them is forgotten."""
    at = left.base
    for old, new, message in moves:
        if new == left.base and at == left.base:
            # The slot was made, or looked at.
            continue
        if old != at or not message.startswith(ONWARD):
            return False
        at = new
    return at == left.head


def _named(folder: Path, width: int) -> set[Oid]:
    texts = (path.read_bytes() for path in _files(folder, POINTERS) if path.stat().st_size <= LARGEST)
    return {Oid(found.decode()) for text in texts for found in OID.findall(text) if len(found) == width}


def _unreached(git: Git, asked: Collection[Oid], known: Iterable[Oid]) -> tuple[Oid, ...]:
    """Returns the commits that *asked* lead to, that *known* do not reach, and that reach each other not."""
    if not asked:
        return ()
    stdin = "".join([*(f"{oid}\n" for oid in sorted(asked)), *(f"^{oid}\n" for oid in known)]).encode()
    out = git.run("rev-list", "--parents", "--ignore-missing", "--stdin", stdin=stdin).stdout
    rows = [line.split() for line in out.decode("ascii").splitlines()]
    parents = {parent for row in rows for parent in row[1:]}
    return tuple(Oid(oid) for oid in sorted({row[0] for row in rows} - parents))
