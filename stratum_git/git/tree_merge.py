"""Merges trees in process where nothing has to be decided: each entry was changed on one side at most.

The answer is git's own, or there is none. Git would look for renames, which need something deleted and
something added on one side; where a side has both, and where both sides changed one file, git is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stratum_git.git.diff import FOLDER
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.tree_reader import NOTHING, Entry, TreeReader, differences
from stratum_git.model.ids import Oid

ADDED, DELETED = 1, 2
RENAMES = ADDED | DELETED


@dataclass(frozen=True, slots=True)
class TreeMerger:
    """Merges trees of one repository."""

    trees: TreeReader
    writer: ObjectWriter
    _kinds: dict[tuple[Oid, Oid], int] = field(default_factory=dict, repr=False)

    def merge(self, base: Oid, ours: Oid, theirs: Oid) -> Oid | None:
        """Returns the tree of a merge, or ``None`` where it takes git to say what it is."""
        mine, other = self._kind(base, ours), self._kind(base, theirs)
        if RENAMES in {mine, other}:
            return None
        merged = self._merged(("", base), ("", ours), ("", theirs))
        if merged is None:
            return None
        tree = self.writer.tree({}) if merged == "" else merged
        # What is new on this side is known without comparing all of it again for the next merge.
        self._kinds[base, tree] = mine | other
        return tree

    def _kind(self, base: Oid, side: Oid) -> int:
        """Returns whether a side added or deleted anything."""
        known = self._kinds.get((base, side))
        if known is None:
            told = {c.status for c in differences(self.trees, base, side) if not c.is_folder}
            known = (ADDED if "A" in told else 0) | (DELETED if "D" in told else 0)
            self._kinds[base, side] = known
        return known

    def _merged(self, base: Entry | None, ours: Entry, theirs: Entry) -> Oid | None:
        """Returns a merged tree, "" for one that is empty, ``None`` for one that is git's business."""
        before = NOTHING if base is None else self.trees.entries(base[1])
        after = self.trees.entries(theirs[1])
        result = dict(self.trees.entries(ours[1]))
        for name in [n for n in {*before, *after} if before.get(n) != after.get(n)]:
            was, mine, new = before.get(name), result.get(name), after.get(name)
            if mine == new:
                continue
            if mine == was:
                chosen = new
            elif mine is None or new is None or not _are_folders(was, mine, new):
                return None
            else:
                inner = self._merged(was, mine, new)
                if inner is None:
                    return None
                chosen = (FOLDER, inner) if inner else None
            if chosen is None:
                result.pop(name, None)
            else:
                result[name] = chosen
        return self.writer.tree(result) if result else Oid("")


def _are_folders(was: Entry | None, *sides: Entry) -> bool:
    return (was is None or was[0] == FOLDER) and all(side[0] == FOLDER for side in sides)
