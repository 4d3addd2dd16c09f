"""What lies in a slot that is an overlay, found where its changes are: nothing else is looked at.

The upper directory says where files differ from the commit below, the index where it does. What is left to
find out is which of the new files git ignores, and what it makes of the others: a git each, where it can make
anything else of them than what is there. Wherever that may not be all, this declines, and git looks at
everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from stratum_git.git.diff import FOLDER
from stratum_git.git.ignoring import ignored_among
from stratum_git.git.index_file import UnreadIndex, changed_entries, noted_tree
from stratum_git.git.layers import Layer, StrangeUpper, Upper, scan, scan_below
from stratum_git.git.mini_index import FILES, NAME, is_regular
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.plain_files import taken
from stratum_git.git.process import Git, GitFailed
from stratum_git.git.refs import OID, tip_nowait
from stratum_git.git.remains import GITLINK
from stratum_git.git.repository import Repository
from stratum_git.git.settings import Settings, settings_of
from stratum_git.git.tree_edit import edited, entry_at
from stratum_git.git.tree_reader import NOTHING, Entry, MissingObject, TreeReader, differences
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass, field

ABSENT = "000000"
HEADS = "ref: refs/heads/"
DEEPEST = 200
"""Folders in each other beyond which trees are left to git."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a slot holds: where its HEAD is, and the tree of its files when that is not all there is.

    ``changes`` are lines as status has them, at least of what was staged and then overwritten. ``ignored`` is
    no work, ``left`` what git could not take in. ``is_ours``: the tree was written here, and not by git.
    """

    head: Oid
    tree: Oid | None
    changes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    is_ours: bool = True


class Doubtful(Exception):  # noqa: N818 - reads as what is the matter
    """It cannot be told from what changed alone: git has to look at everything."""


UNSURE = (Doubtful, StrangeUpper, UnreadIndex, GitFailed, MissingObject, OSError)


def work_in(slot: Path, layer: Layer, writer: ObjectWriter, trees: TreeReader) -> Work | None:
    """Returns what lies in *slot*, whose changes are in *layer*; ``None`` when git has to look itself.

    The slot's index stays as it is. No git process for files that git takes as they are, else one or two.
    """
    try:
        if not is_laid(slot, layer):
            return None
        return Look(slot, git_dir_of(slot), layer, writer.repo, trees).work(writer)
    except UNSURE:
        return None


def repositories_around(slot: Path, layer: Layer, commit: Oid, trees: TreeReader) -> tuple[str, ...] | None:
    """Returns the ``.git`` that were made in folders of *commit*; ``None`` when all have to be looked at."""
    root = trees.root(commit)

    def is_known(folder: str) -> bool:
        found = entry_at(trees, root, folder)
        return found is not None and found[0] == FOLDER

    try:
        found = scan(layer, slot, is_known).repositories if is_laid(slot, layer) else None
    except (StrangeUpper, OSError):
        return None
    if found is None:
        return None
    return tuple(path for path in found if is_known(path.rpartition("/")[0]))


def is_laid(slot: Path, layer: Layer) -> bool:
    """Returns whether *slot* is an overlay now, and no folder with copies of its files, or an empty one."""
    return slot.stat().st_dev != layer.upper.stat().st_dev


def head_of_slot(repo: Repository, own: Path) -> Oid | None:
    """Returns the commit that the HEAD of a worktree is at, which has *own* for its git directory."""
    text = (own / "HEAD").read_text(encoding="utf-8", errors="surrogateescape").strip()
    if OID.fullmatch(text):
        return Oid(text)
    return tip_nowait(repo, RefName(text.removeprefix("ref: "))) if text.startswith(HEADS) else None


@dataclass
class Look:
    """Finds what is in a slot, by its upper directory and by where its index is not what lies below.

    ``staged`` is that difference. What is looked for raises one of ``UNSURE`` when git has to look itself.
    """

    slot: Path
    own: Path
    layer: Layer
    repo: Repository
    trees: TreeReader
    root: Oid = field(init=False)
    head: Oid = field(init=False)
    settings: Settings = field(init=False)
    staged: dict[str, Entry | None] = field(init=False)
    added: set[str] = field(init=False)
    upper: Upper = field(init=False)
    _found: dict[str, Entry | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Finds out where the slot is."""
        head, settings = head_of_slot(self.repo, self.own), settings_of(self.repo, self.slot, self.own)
        if head is None or settings is None or not settings.is_plain:
            raise Doubtful
        self.settings = settings
        self.head, self.root = head, self.trees.root(self.layer.commit)
        self._found[""] = (FOLDER, self.root)

    def work(self, writer: ObjectWriter) -> Work:
        """Returns what there is to capture."""
        self.scan(self._staged())
        gone, tracked, new, ignored = self.sorted_out()
        found = self._taken((*tracked, *new), writer)
        found |= dict.fromkeys((*gone, *(path for path in ignored if path in self.staged)))
        now = {path: entry for path, entry in found.items() if entry != self.lower(path)}
        tree = edited(self.trees, writer, self.root, now)
        committed = self.committed()
        if any(GITLINK in _modes(was, self.indexed(path)) for path, was in committed.items()):
            raise Doubtful
        moved = {path for path, entry in found.items() if entry != self.indexed(path)}
        is_dirty = moved or any(self.indexed(path) != was for path, was in committed.items())
        lines = tuple(self._lines(sorted(moved), found, committed))
        return Work(self.head, tree if is_dirty else None, lines, tuple(_topmost(ignored)))

    def scan(self, staged: dict[str, Entry | None]) -> None:
        """Takes in where the index is said to differ, and what lies in the upper directory."""
        self.staged = staged
        self.added = {folder for path, entry in staged.items() if entry for folder in _above(path)}
        self.upper = scan(self.layer, self.slot, self._is_known)

    def sorted_out(self) -> tuple[set[str], list[str], list[str], dict[str, bool]]:
        """Returns what is gone, files to read that the index has and that it has not, and what is ignored.

        Of the last, whether each is a folder.
        """
        self._check_opaque()
        gone = set(self._gone())
        tracked, new = self._candidates(gone)
        ignored = self._ignored(new)
        return gone, tracked, [path for path in new if path not in ignored], ignored

    def _staged(self) -> dict[str, Entry | None]:
        """Returns where the index is not what the layers below have."""
        layer, width = self.layer, len(self.layer.commit) // 2
        if noted_tree(layer.template, width) != self.root:
            # Git would have noted it, but it need not have.
            asked = ("diff-index", "--cached", "--quiet", layer.commit)
            env = {"GIT_INDEX_FILE": str(layer.template)}
            if Git(self.slot).run(*asked, ok=(0, 1), env=env).code:
                raise Doubtful
        return changed_entries(layer.template, self.own / "index", width)

    def _at(self, path: str) -> Entry | None:
        """Returns what the layers below have at *path*, be it a folder."""
        if path not in self._found:
            if path.count("/") > DEEPEST:
                raise Doubtful
            place, _, name = path.rpartition("/")
            around = self._at(place)
            entries = NOTHING if around is None or around[0] != FOLDER else self.trees.entries(around[1])
            self._found[path] = entries.get(name)
        return self._found[path]

    def _is_known(self, folder: str) -> bool:
        found = self._at(folder)
        return folder in self.added or (found is not None and found[0] == FOLDER)

    def _is_tracked(self, folder: str) -> bool:
        """Returns whether the index has a file below a folder."""
        if folder in self.added:
            return True
        found = self._at(folder)
        if found is None or found[0] != FOLDER:
            return False
        place = f"{folder}/"
        lost = {path for path, entry in self.staged.items() if entry is None and path.startswith(place)}
        return not lost or any(path not in lost for path in self._below(folder, found[1]))

    def lower(self, path: str) -> Entry | None:
        """Returns what the layers below have at *path*: a file, a link, a repository."""
        found = self._at(path)
        return None if found is None or found[0] == FOLDER else found

    def indexed(self, path: str) -> Entry | None:
        """Returns what the index is said to have at *path*."""
        return self.staged[path] if path in self.staged else self.lower(path)

    def _check_opaque(self) -> None:
        """Believes no mark that hides files: an overlay for the root lets everybody set the other kind."""
        for folder in self.upper.opaque:
            place = f"{folder}/"
            names = (*self.upper.files, *self.upper.folders, *self.upper.repositories)
            there = {name.removeprefix(place) for name in names if name.startswith(place)}
            seen = {path.name for path in (self.slot / folder).iterdir()}
            if {name for name in there if "/" not in name} != seen:
                raise Doubtful

    def _gone(self) -> Iterator[str]:
        """Yields what the layers below have, or the index, and is not in the slot."""
        upper = self.upper
        for path in (*upper.gone, *upper.opaque, *upper.files, *upper.folders):
            entry = self._at(path)
            if entry is None or (entry[0] == GITLINK and self._is_empty(path)):
                continue
            if entry[0] != FOLDER and (path in upper.gone or path not in upper.files):
                yield path
            elif entry[0] == FOLDER and (path not in upper.folders or path in upper.opaque):
                yield from (f for f in self._below(path, entry[1]) if f not in upper.files)
        for path in self.staged:
            below = self.lower(path)
            # A submodule that is not there is an empty folder, and no work once the index has it no more.
            is_there = below is not None and below[0] != GITLINK and not upper.hides(path)
            if path not in upper.files and not is_there:
                yield path

    def _is_empty(self, folder: str) -> bool:
        place = f"{folder}/"
        return folder in self.upper.folders and not any(f.startswith(place) for f in self.upper.files)

    def _below(self, place: str, tree: Oid) -> Iterator[str]:
        todo = [(place, tree)]
        while todo:
            place, tree = todo.pop()
            for name, (mode, oid) in self.trees.entries(tree).items():
                if mode == FOLDER:
                    todo.append((f"{place}/{name}", oid))
                else:
                    yield f"{place}/{name}"

    def _candidates(self, gone: set[str]) -> tuple[list[str], list[str]]:
        """Returns the files that may not be what the index has: those that it knows, and the others."""
        tracked: list[str] = []
        new: list[str] = []
        for path in {*self.upper.files, *self.staged} - gone:
            (new if self.indexed(path) is None else tracked).append(path)
        for path in (*tracked, *new, *gone):
            if path.count("/") > DEEPEST:
                raise Doubtful
            entry = self.indexed(path)
            if entry is not None and entry[0] not in FILES:
                raise Doubtful
            is_read = entry is not None or path not in gone
            if is_read and path.rpartition("/")[2] == NAME and not is_regular(self.slot / path):
                # What git reads in its place depends on when it comes to it.
                raise Doubtful
        return sorted(tracked, key=os.fsencode), sorted(new, key=os.fsencode)

    def _ignored(self, new: list[str]) -> dict[str, bool]:
        """Returns the new files, and the folders of such, that git ignores, and which of them are folders.

        *new* gets what was passed at first, and is not ignored.
        """
        upper = self.upper
        around = {*upper.folders, *(folder for path in new for folder in _above(path))}
        folders = [path for path in around if not self._is_tracked(path)]
        ignored = dict.fromkeys(ignored_among(self.slot, self.repo, (*new, *folders)), False)
        further = [path for path in upper.passed if path not in ignored]
        if further:
            before = {*upper.files, *upper.folders}
            for path in further:
                scan_below(self.layer, self.slot, path, upper)
            more = [path for path in (*upper.files, *upper.folders) if path not in before]
            ignored |= dict.fromkeys(ignored_among(self.slot, self.repo, more), False)
            new += sorted((path for path in upper.files if path not in before), key=os.fsencode)
        if any(path.rpartition("/")[0] not in ignored for path in upper.repositories):
            raise Doubtful
        return ignored | {path: True for path in (*folders, *upper.folders) if path in ignored}

    def _taken(self, paths: Iterable[str], writer: ObjectWriter) -> dict[str, Entry | None]:
        known = {path: self.indexed(path) for path in paths}
        found = taken(self.slot, self.own, known, self.indexed, self.settings, writer=writer)
        if None in found.values():
            # It went meanwhile, or the overlay is not where it should be.
            raise Doubtful
        return found

    def committed(self) -> dict[str, Entry | None]:
        """Returns what HEAD has wherever it has not, or the index has not, what the layers below have."""
        root = self.trees.root(self.head)
        rows = () if root == self.root else differences(self.trees, self.root, root)
        files = (row for row in rows if not row.is_folder)
        found = {row.path: None if row.new_mode == ABSENT else (row.new_mode, row.new) for row in files}
        return {path: self.lower(path) for path in self.staged} | found

    def _lines(
        self, moved: Iterable[str], found: Mapping[str, Entry | None], committed: Mapping[str, Entry | None]
    ) -> Iterator[str]:
        """Yields lines of status, for what the index has and neither HEAD nor the files have."""
        nothing = (ABSENT, Oid(self.repo.zero))
        for path in moved:
            staged, was = self.indexed(path), committed.get(path, self.lower(path))
            if staged is not None and staged != was:
                kinds = f"{'A' if was is None else 'M'}{'D' if found[path] is None else 'M'}"
                old, now = was or nothing, found[path] or nothing
                yield f"1 {kinds} N... {old[0]} {staged[0]} {now[0]} {old[1]} {staged[1]} {path}"


def _modes(was: Entry | None, now: Entry | None) -> set[str]:
    """Returns the modes of two entries that differ."""
    return set() if was == now else {entry[0] for entry in (was, now) if entry is not None}


def _above(path: str) -> Iterator[str]:
    """Yields the folders around a path, the innermost first."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


def _topmost(ignored: Mapping[str, bool]) -> Iterator[str]:
    """Yields what status tells of what is ignored: a folder that is so, as one, and files elsewhere."""
    for path in sorted(ignored, key=os.fsencode):
        if not any(folder in ignored for folder in _above(path)):
            yield f"{path}/" if ignored[path] else path
