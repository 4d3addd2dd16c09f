"""The tree of a slot from what status said of it: the rest of the tree is HEAD's, and is not looked at again.

``git add`` reads the whole index, writes it, and has it read again for its tree. Here git is asked about
the files that changed alone, and the slot's index stays as it is. What is more than plain files declines.
"""

from __future__ import annotations

from pathlib import Path

from stratum_git.git.index_file import UnreadIndex
from stratum_git.git.mini_index import FILES, NAME, is_regular
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.plain_files import taken
from stratum_git.git.process import GitFailed
from stratum_git.git.settings import settings_of
from stratum_git.git.tree_edit import edited, entry_at
from stratum_git.git.tree_reader import Entry, MissingObject, TreeReader
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid

ABSENT = "000000"
DEEPEST = 200
"""Folders in each other beyond which trees are left to git."""


def tree_of(
    slot: Path, head: Oid, changes: tuple[str, ...], writer: ObjectWriter, trees: TreeReader
) -> Oid | None:
    """Returns the tree of *slot* once all was added that *changes* tell, lines of status with every file.

    ``None`` when ``git add`` has to do it.
    """
    own = git_dir_of(slot)
    settings = settings_of(writer.repo, slot, own)
    if settings is None or not settings.is_plain or not all(map(_is_simple, changes)):
        return None
    staged = dict(_staged(line) for line in changes if line[0] == "1")
    there = [_path(line) for line in changes if line[0] == "?" or _is_to_read(line)]
    gone = [_path(line) for line in changes if line[0] == "1" and line.split(" ", 6)[5] == ABSENT]
    if any(path.rpartition("/")[2] == NAME for path in gone) or _has_strange_attributes(slot, there):
        # What git reads in its place depends on when it comes to it.
        return None
    try:
        root = trees.root(head)

        def indexed(path: str) -> Entry | None:
            return staged[path] if path in staged else entry_at(trees, root, path)

        known = {path: indexed(path) for path in there}
        found = taken(slot, own, known, indexed, settings, writer=writer)
        if None in found.values():
            return None
        found = {**staged, **dict.fromkeys(gone), **found}
        return edited(trees, writer, root, found)
    except (GitFailed, UnreadIndex, MissingObject):
        return None


def _is_simple(line: str) -> bool:
    """Returns whether a line of status is of a file or link, of no conflict and no repository."""
    if line[0] == "?":
        return not line.endswith("/") and line.count("/") <= DEEPEST
    if line[0] != "1":
        return False
    fields = line.split(" ", 8)
    return fields[2][0] == "N" and {*fields[3:6]} <= {*FILES, ABSENT} and fields[8].count("/") <= DEEPEST


def _staged(line: str) -> tuple[str, Entry | None]:
    fields = line.split(" ", 8)
    return fields[8], None if fields[4] == ABSENT else (fields[4], Oid(fields[7]))


def _is_to_read(line: str) -> bool:
    return line[0] == "1" and line[3] != "." and line.split(" ", 6)[5] != ABSENT


def _path(line: str) -> str:
    return line.split(" ", 8)[8] if line[0] == "1" else line[2:]


def _has_strange_attributes(slot: Path, paths: list[str]) -> bool:
    named = (slot / path for path in paths if path.rpartition("/")[2] == NAME)
    return not all(map(is_regular, named))
