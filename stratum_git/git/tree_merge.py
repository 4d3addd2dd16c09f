"""Merges trees in process where nothing has to be decided: each entry was changed on one side at most.

The answer is git's own, or there is none. Why git finds nothing else to do, though it looks for renames:

* A file that one side renamed matters when the other side changed it. Then its old name changed on both.
* A folder that one side renamed matters when the other side added something to it. Git takes it for renamed
  only where nothing is left of it, so its old name is gone on one side and changed on the other.
* What both sides renamed, or put in one place, is something both did alike. So where both did something
  alike, and a side both deletes and adds, git is asked, as it is where both changed one file.

Attributes, settings and merge drivers speak of files that both sides changed, and change nothing else.
``tests/git/test_histories.py`` compares all of it with ``git merge``.
"""

from __future__ import annotations

from dataclasses import dataclass

from stratum_git.git.attributes import Attributes
from stratum_git.git.diff import FOLDER
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.tree_reader import NOTHING, Entries, Entry, MissingObject, TreeReader, differences
from stratum_git.model.ids import Oid

MODES = frozenset({FOLDER, "100644", "100755", "120000", "160000"})
"""Those of trees today. Old ones have others, which git writes anew."""
EMPTY = frozenset(
    {
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
    }
)
"""An empty folder, which no checkout has, and so no merge that was made in one."""
NAMELESS = frozenset({"", ".", "..", ".git"})


class TreeMerger:
    """Merges trees of one repository. *attributes* is what it says about how files merge."""

    def __init__(self, trees: TreeReader, writer: ObjectWriter, attributes: Attributes | None = None) -> None:
        self.trees = trees
        self.writer = writer
        self.attributes = attributes or Attributes(trees, writer.repo)

    def deferring(self) -> TreeMerger:
        """Returns a merger for many merges: what it writes goes to the disk when its writer is synced."""
        return TreeMerger(self.trees, self.writer.deferring(), self.attributes)

    def merge(self, base: Oid, ours: Oid, theirs: Oid) -> Oid | None:
        """Returns the tree of a merge, or ``None`` where it takes git to say what it is."""
        work = _Merge(self.trees, self.writer)
        try:
            merged = work.merged(("", base), ("", ours), ("", theirs))
            alike = work.alike and any(_may_rename(self.trees, base, side) for side in (ours, theirs))
        except MissingObject:
            # Of a partial clone: git may fetch it. Or written late, and forgotten since.
            return None
        if merged is None or alike:
            return None
        return self.writer.tree({}) if merged == "" else merged


@dataclass(slots=True)
class _Merge:
    """A merge at work; *alike* says whether both sides did the same somewhere."""

    trees: TreeReader
    writer: ObjectWriter
    alike: bool = False

    def merged(self, base: Entry | None, ours: Entry, theirs: Entry) -> Oid | None:
        """Returns a merged tree, "" for one that is empty, ``None`` for one that is git's business."""
        before = NOTHING if base is None else self.trees.entries(base[1])
        after = self.trees.entries(theirs[1])
        result = dict(self.trees.entries(ours[1]))
        for name in [n for n in {*before, *after} if before.get(n) != after.get(n)]:
            was, mine, new = before.get(name), result.get(name), after.get(name)
            if mine == new:
                self.alike = True
                continue
            if mine == was:
                chosen = new
            elif mine is None or new is None or not _are_folders(was, mine, new):
                return None
            else:
                inner = self.merged(was, mine, new)
                if inner is None:
                    return None
                chosen = (FOLDER, inner) if inner else None
            if chosen is None:
                result.pop(name, None)
            else:
                result[name] = chosen
        if not _is_plain(result):
            return None
        if not result:
            return Oid("")
        tree = self.writer.tree(result)
        # The next merge asks for it, and it may not have a name yet.
        self.trees.remember(tree, result)
        return tree


def _may_rename(trees: TreeReader, base: Oid, side: Oid) -> bool:
    """Returns whether a side deletes something and adds something."""
    seen: set[str] = set()
    for change in differences(trees, base, side):
        seen |= set() if change.is_folder else {change.status}
        if {"A", "D"} <= seen:
            return True
    return False


def _are_folders(was: Entry | None, *sides: Entry) -> bool:
    return (was is None or was[0] == FOLDER) and all(side[0] == FOLDER for side in sides)


def _is_plain(entries: Entries) -> bool:
    """Returns whether git would write a tree of these entries as it is."""
    if not NAMELESS.isdisjoint(entries):
        return False
    return all(mode in MODES and oid not in EMPTY for mode, oid in entries.values())
