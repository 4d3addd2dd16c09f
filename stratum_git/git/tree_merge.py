"""Merges trees in process where nothing has to be decided: each entry was changed on one side at most.

The answer is git's own, or there is none. Why git finds nothing else to do, though it looks for renames:

* A file that one side renamed matters when the other side changed it. Then its old name changed on both.
* A folder that one side renamed matters when the other side added something to it. Git takes it for renamed
  only where nothing is left of it, so its old name is gone on one side and changed on the other.
* What both sides did alike matters where it is part of a rename: something deleted on both, and one of them
  adds; or something added on both, and one of them deletes. Then git is asked, as it is where both changed
  one file. What both changed alike is no part of any: git looks for renames among what is gone and what is
  new, and at no empty file.

Attributes, settings and merge drivers speak of files that both sides changed, and change nothing else.
``tests/git/test_histories.py`` compares all of it with ``git merge``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stratum_git.git.attributes import Attributes
from stratum_git.git.diff import FOLDER, Change
from stratum_git.git.merge_session import MergeSession
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.tree_reader import (
    NOTHING,
    Entries,
    Entry,
    MissingObject,
    TreeReader,
    differences,
    entry_differences,
)
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
BLANK = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
)
"""An empty file, which git takes for nothing that was renamed."""
NAMELESS = frozenset({"", ".", "..", ".git"})


class TreeMerger:
    """Merges trees of one repository. *attributes* is what it says about how files merge.

    ``session`` is a git for what takes one, where many merges are to come.
    """

    def __init__(
        self,
        trees: TreeReader,
        writer: ObjectWriter,
        attributes: Attributes | None = None,
        session: MergeSession | None = None,
    ) -> None:
        self.trees = trees
        self.writer = writer
        self.attributes = attributes or Attributes(trees, writer.repo)
        self.session = session

    def deferring(self) -> TreeMerger:
        """Returns a merger for many merges, which is to be settled."""
        session = MergeSession(self.writer.repo, self.attributes)
        return TreeMerger(self.trees, self.writer.deferring(), self.attributes, session)

    def settle(self) -> None:
        """Puts on the disk what was written so far, lets others see it, and ends the git, if there is one."""
        if self.session is not None:
            self.session.close()
        self.writer.sync()

    def merge(self, base: Oid, ours: Oid, theirs: Oid) -> Oid | None:
        """Returns the tree of a merge, or ``None`` where it takes git to say what it is."""
        merged = self._merged(self._written, base, ours, theirs)
        return self.writer.tree({}) if merged == "" else merged

    def is_sure(self, base: Oid, ours: Oid, theirs: Oid) -> bool:
        """Returns whether a merge is clean without a git to say so. Writes nothing."""
        return self._merged(lambda _: Oid("unwritten"), base, ours, theirs) is not None

    def _merged(
        self, write: Callable[[Mapping[str, Entry]], Oid], base: Oid, ours: Oid, theirs: Oid
    ) -> Oid | None:
        work = _Merge(self.trees, write)
        try:
            merged = work.merged(("", base), ("", ours), ("", theirs))
            if merged is None or work.is_doubtful(base, ours, theirs):
                return None
        except MissingObject:
            # Of a partial clone: git may fetch it. Or written late, and forgotten since.
            return None
        return merged

    def _written(self, entries: Mapping[str, Entry]) -> Oid:
        tree = self.writer.tree(entries)
        # The next merge asks for it, and it may not have a name yet.
        self.trees.remember(tree, entries)
        return tree


@dataclass(slots=True)
class _Merge:
    """A merge at work; *alike* is what both sides did the same: the entry before, and the one after."""

    trees: TreeReader
    write: Callable[[Mapping[str, Entry]], Oid]
    alike: list[tuple[Entry | None, Entry | None]] = field(default_factory=list)

    def is_doubtful(self, base: Oid, ours: Oid, theirs: Oid) -> bool:
        """Returns whether what both sides did alike may be half of a rename."""
        both = _movable(change for was, now in self.alike for change in self._changes(was, now))
        if not both:
            return False
        sides = _movable(change for side in (ours, theirs) for change in differences(self.trees, base, side))
        return ("D" in both and "A" in sides) or ("A" in both and "D" in sides)

    def _changes(self, was: Entry | None, now: Entry | None) -> Iterator[Change]:
        """Yields how an entry changed, all that is in it included."""
        old = {} if was is None else {"": was}
        new = {} if now is None else {"": now}
        yield from entry_differences(self.trees, old, new)

    def merged(self, base: Entry | None, ours: Entry, theirs: Entry) -> Oid | None:
        """Returns a merged tree, "" for one that is empty, ``None`` for one that is git's business."""
        before = NOTHING if base is None else self.trees.entries(base[1])
        after = self.trees.entries(theirs[1])
        result = dict(self.trees.entries(ours[1]))
        for name in [n for n in {*before, *after} if before.get(n) != after.get(n)]:
            was, mine, new = before.get(name), result.get(name), after.get(name)
            if mine == new:
                self.alike.append((was, new))
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
        return self.write(result)


def _movable(changes: Iterable[Change]) -> set[str]:
    """Returns whether something was added, ``A``, or deleted, ``D``, that git could take for renamed."""
    found: set[str] = set()
    for change in changes:
        if not change.is_folder and change.status in {"A", "D"} and not {change.old, change.new} & BLANK:
            found.add(change.status)
            if len(found) > 1:
                break
    return found


def _are_folders(was: Entry | None, *sides: Entry) -> bool:
    return (was is None or was[0] == FOLDER) and all(side[0] == FOLDER for side in sides)


def _is_plain(entries: Entries) -> bool:
    """Returns whether git would write a tree of these entries as it is."""
    if not NAMELESS.isdisjoint(entries):
        return False
    return all(mode in MODES and oid not in EMPTY for mode, oid in entries.values())
