"""Trees with some entries changed, made in process: one for each folder on the way, however many files."""

from __future__ import annotations

from collections.abc import Mapping

from stratum_git.git.diff import FOLDER
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.tree_reader import NOTHING, Entry, TreeReader
from stratum_git.model.ids import Oid


def entry_at(trees: TreeReader, tree: Oid, path: str) -> Entry | None:
    """Returns what a tree has at *path*, ``None`` for nothing."""
    found: Entry | None = (FOLDER, tree)
    for name in path.split("/"):
        if found is None or found[0] != FOLDER:
            return None
        found = trees.entries(found[1]).get(name)
    return found


def edited(trees: TreeReader, writer: ObjectWriter, tree: Oid, edits: Mapping[str, Entry | None]) -> Oid:
    """Returns *tree* with files put at their paths, or taken away (``None``). Folders left empty go."""
    if not edits:
        return tree
    return _edited(trees, writer, (FOLDER, tree), edits) or writer.tree({})


def _edited(
    trees: TreeReader, writer: ObjectWriter, now: Entry | None, edits: Mapping[str, Entry | None]
) -> Oid | None:
    entries = dict(trees.entries(now[1]) if now is not None and now[0] == FOLDER else NOTHING)
    below: dict[str, dict[str, Entry | None]] = {}
    for path, entry in edits.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        elif entry is None and entries.get(name, ("",))[0] != FOLDER:
            entries.pop(name, None)
    for name, inner in below.items():
        made = _edited(trees, writer, entries.get(name), inner)
        if made is not None:
            entries[name] = (FOLDER, made)
        elif entries.get(name, ("",))[0] == FOLDER:
            del entries[name]
    # A folder that became a file: what was in it is gone by now.
    entries |= {path: entry for path, entry in edits.items() if "/" not in path and entry is not None}
    if not entries:
        return None
    made = writer.tree(entries)
    # Whoever reads it next may do so before it has a name.
    trees.remember(made, entries)
    return made
