"""What lies in a slot that is an overlay, seen again and again while somebody is at work in it.

Nothing is read but files of the upper directory that changed since the last look. The index is not looked at:
what counts is what is there, and that HEAD has a file although it is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.git.diff import Change
from stratum_git.git.layered import UNSURE, Look, is_laid
from stratum_git.git.layers import Layer, Upper
from stratum_git.git.mini_index import FILES, NAME
from stratum_git.git.plain_files import taken
from stratum_git.git.repository import Repository
from stratum_git.git.scratch import Scratch
from stratum_git.git.tree_reader import Entry, TreeReader
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid

ABSENT = "000000"
Mark = tuple[int, int, int, int]
"""Of a file: its mode, size, time of change and number."""
SortOut = Callable[[list[str]], tuple[list[str], dict[str, Mark]]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found: changes by their paths, what was not read, and how many files were."""

    changes: Mapping[str, Change]
    left: Mapping[str, Mark]
    read: int


@dataclass
class Glimpse:
    """Looks into the slot of a *layer* again and again. What is read goes into *store*."""

    slot: Path
    layer: Layer
    repo: Repository
    trees: TreeReader
    store: Scratch
    _marks: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _around: tuple[object, ...] = ()
    _known: dict[str, Entry] = field(default_factory=dict)
    _seen: Seen | None = None

    def look(self, sort_out: SortOut) -> Seen | None:
        """Returns what differs from the layers below; ``None`` when git has to look itself.

        *sort_out* tells which files are to be read, and of what only that it changed is told. No process
        when nothing changed, nor where git takes files as they are and ignores none; else one or two.
        """
        try:
            if not is_laid(self.slot, self.layer):
                return None
            look = Look(self.slot, git_dir_of(self.slot), self.layer, self.repo, self.trees)
            return self._looked(look, sort_out)
        except UNSURE:
            return None

    def _looked(self, look: Look, sort_out: SortOut) -> Seen:
        look.scan({})
        upper = look.upper
        marks = _marks(upper)
        around = (look.head, sorted(upper.folders), sorted(upper.gone), sorted(upper.opaque))
        is_same = (marks, around) == (self._marks, self._around) and not upper.passed
        if is_same and self._seen is not None:
            return self._seen
        # Of what the layers below have, that is what counts, whatever became of HEAD and index.
        look.staged = {p: e for p, e in look.committed().items() if _is_file(e) and look.lower(p) is None}
        gone, tracked, new, _ = look.sorted_out()
        # Again: some of it was passed over at first.
        marks = _marks(upper)
        wanted, left = sort_out([*tracked, *new])
        fresh = self._fresh(wanted, marks)
        read = self._read(look, fresh)
        known = {path: self._known[path] for path in wanted if path in self._known and path not in read}
        self._known = known | {path: entry for path, entry in read.items() if entry is not None}
        found = {**dict.fromkeys(gone), **self._known}
        changes = {p: change for p, entry in found.items() if (change := _change(p, look.lower(p), entry))}
        # Only now: what was cut short is looked at again.
        self._marks, self._around, self._seen = marks, around, Seen(changes, left, len(fresh))
        return self._seen

    def _fresh(self, wanted: Iterable[str], marks: Mapping[str, tuple[int, ...]]) -> list[str]:
        """Returns the files to read; all of them when attributes changed."""
        if _rules(marks) != _rules(self._marks):
            return list(wanted)
        return [p for p in wanted if p not in self._known or marks.get(p) != self._marks.get(p)]

    def _read(self, look: Look, paths: list[str]) -> dict[str, Entry | None]:
        known = {path: look.indexed(path) for path in paths}
        place, writer, env = self.store.folder, self.store.writer, self.store.env
        return taken(self.slot, place, known, look.indexed, look.settings, writer=writer, env=env)


def _marks(upper: Upper) -> dict[str, tuple[int, ...]]:
    """Returns what changes of a file when it does."""
    return {
        path: (facts.st_mode, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        for path, facts in upper.files.items()
    }


def _rules(marks: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {path: mark for path, mark in marks.items() if path.rpartition("/")[2] == NAME}


def _is_file(entry: Entry | None) -> bool:
    return entry is not None and entry[0] in FILES


def _change(path: str, was: Entry | None, now: Entry | None) -> Change | None:
    """Returns how an entry changed; ``None`` when it did not."""
    if was == now:
        return None
    zero = Oid("0" * len((was or now or ("", ""))[1]))
    status = "A" if was is None else "D" if now is None else "M" if was[0][:3] == now[0][:3] else "T"
    old, new = was or (ABSENT, zero), now or (ABSENT, zero)
    return Change(path, status, old[0], new[0], old[1], new[1])
