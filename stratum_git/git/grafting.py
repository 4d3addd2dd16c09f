"""Puts single files into a tree, or takes them out, in memory."""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.errors import BugError
from stratum_git.git.diff import FOLDER
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.tree_reader import NOTHING, Entry, TreeReader
from stratum_git.model.ids import Oid


def graft(trees: TreeReader, writer: ObjectWriter, tree: Oid, files: Mapping[str, Entry | None]) -> Oid:
    """Returns *tree* with *files* in it as they are given; ``None`` takes one out, and empty folders go."""
    made = _grafted(trees, writer, tree, files)
    return writer.tree({}) if made is None else made


def entry_at(trees: TreeReader, tree: Oid, path: str) -> Entry | None:
    """Returns what is at *path* in a tree."""
    *above, name = path.split("/")
    for folder in above:
        found = trees.entries(tree).get(folder)
        if found is None or found[0] != FOLDER:
            return None
        tree = found[1]
    return trees.entries(tree).get(name)


def _grafted(
    trees: TreeReader, writer: ObjectWriter, tree: Oid | None, files: Mapping[str, Entry | None]
) -> Oid | None:
    entries = dict(NOTHING if tree is None else trees.entries(tree))
    folders: dict[str, dict[str, Entry | None]] = {}
    for path, entry in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(name, {})[rest] = entry
        elif entry is None:
            entries.pop(name, None)
        else:
            entries[name] = entry
    for name, inner in folders.items():
        at = entries.pop(name, None)
        if at is not None and at[0] != FOLDER:
            raise BugError(f"{name} is no folder, and {', '.join(inner)} cannot be put into it")
        made = _grafted(trees, writer, None if at is None else at[1], inner)
        if made is not None:
            entries[name] = (FOLDER, made)
    return writer.tree(entries) if entries else None
