"""Puts names that mean something into a conflict, for the ids of the commits that git was given.

Those commits are made for one merge, and nobody knows them. No file has such an id but from git, which puts
it behind the markers of a conflict, after a file's name where a folder has its place, and into messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from stratum_git.git.diff import FOLDER
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.tree_reader import Entry, MissingObject, TreeReader
from stratum_git.model.ids import Oid

REGULAR = "100"


class Labels(NamedTuple):
    """What the sides of a merge are called."""

    ours: str = "landed"
    theirs: str = "result"
    base: str = "base"


USUAL = Labels()


@dataclass(frozen=True, slots=True)
class Renaming:
    """Replaces the ids of the commits *base*, *ours* and *theirs* by *labels*."""

    trees: TreeReader
    writer: ObjectWriter
    base: Oid
    ours: Oid
    theirs: Oid
    labels: Labels
    _blobs: dict[Oid, Oid] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """Returns a message with the labels."""
        return text.replace(self.ours, self.labels.ours).replace(self.theirs, self.labels.theirs)

    def original(self, path: str) -> str:
        """Returns the path that a file had before a folder took its place."""
        return path.removesuffix(f"~{self.ours}").removesuffix(f"~{self.theirs}")

    def blob(self, oid: Oid) -> Oid:
        """Returns a blob with the labels in the markers of conflicts."""
        if oid not in self._blobs:
            self._blobs[oid] = self._relabelled(oid)
        return self._blobs[oid]

    def tree(self, tree: Oid, paths: Iterable[str]) -> tuple[Oid, dict[str, str]]:
        """Returns a tree with the labels in the files *paths*, and the new names of those that have one."""
        names: dict[str, str] = {}
        for path in paths:
            tree = self._placed(tree, path.split("/"), path, names)
        return tree, names

    def _placed(self, tree: Oid, parts: list[str], path: str, names: dict[str, str]) -> Oid:
        entries = dict(self.trees.entries(tree))
        entry = entries.get(parts[0])
        if entry is None:
            return tree
        if len(parts) > 1:
            if entry[0] != FOLDER:
                return tree
            new: Entry = (FOLDER, self._placed(entry[1], parts[1:], path, names))
        else:
            new = (entry[0], self.blob(entry[1]) if entry[0].startswith(REGULAR) else entry[1])
            name = self._named(parts[0], entries)
            if name != parts[0]:
                del entries[parts[0]]
                names[path] = f"{path.removesuffix(parts[0])}{name}"
                parts = [name]
        if entries.get(parts[0]) == new:
            return tree
        entries[parts[0]] = new
        made = self.writer.tree(entries)
        # The next one may be in the same folder, and nobody else can read it yet.
        self.trees.remember(made, entries)
        return made

    def _named(self, name: str, taken: dict[str, Entry]) -> str:
        """Returns the new name of a file that has a side's id at the end, as git would choose it."""
        for oid, label in ((self.ours, self.labels.ours), (self.theirs, self.labels.theirs)):
            stem = name.removesuffix(f"~{oid}")
            if stem != name:
                wanted = f"{stem}~{label.replace('/', '_')}"
                others = (f"{wanted}_{number}" for number in range(len(taken)))
                return wanted if wanted not in taken else next(n for n in others if n not in taken)
        return name

    def _relabelled(self, oid: Oid) -> Oid:
        try:
            data = self.trees.data(oid)
        except MissingObject:
            # Not from this merge then, but from where a partial clone is from.
            return oid
        found = self._markers().sub(self._marker, data)
        return oid if found == data else self.writer.blob(found)

    def _markers(self) -> re.Pattern[bytes]:
        ids = f"<+ {self.ours}|>+ {self.theirs}|<+ {self.theirs}|>+ {self.ours}"
        return re.compile(rf"^(?:{ids}|\|+ [0-9a-f]{{4,64}})(?=:|\r?$)".encode(), re.MULTILINE)

    def _marker(self, found: re.Match[bytes]) -> bytes:
        marker, _, oid = found[0].decode().partition(" ")
        known = {self.ours: self.labels.ours, self.theirs: self.labels.theirs}
        label = (
            self.labels.base if marker[0] == "|" and self.base.startswith(oid) else known.get(Oid(oid), oid)
        )
        return f"{marker} {label}".encode("utf-8", "surrogateescape")
