"""What merges a file that both sides changed, one rung after the other, until one can.

Git, line by line; what was resolved before, for exactly these three versions; a merge driver. Whatever is
left after that is for an agent or a person. Only a path that conflicts by itself is taken up here: where
renames or folders are in it, one file is not the whole answer.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stratum_git.agents.drivers import LARGEST, Drivers, Mended, Versions, has_markers
from stratum_git.dispatch.parking import REGULAR, Case, cases_of, without
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.grafting import entry_at, graft
from stratum_git.git.merge import Conflicted, Merged, merge
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.model.ids import Oid
from stratum_git.model.messages import Mend
from stratum_git.slots.folders import StateFolders
from stratum_git.spawn.orphans import is_dead, own_mark
from stratum_git.store.resolutions import Resolution, Resolutions, Side

SPOILED = ": a check failed with it"
"""What is said of a mend that was refused."""
FILES = 100
"""Files of one result that drivers are asked about: for each, a program is started."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Merges trees. Without ``drivers`` it is what can be trusted where nothing is verified afterwards.

    ``refused`` are mends that are not made: a check failed with them.
    """

    repo: Repository
    merger: TreeMerger
    memory: Resolutions
    folders: StateFolders
    drivers: Drivers | None = None
    refused: frozenset[Mend] = frozenset()

    def merge(self, base: Oid, ours: Oid, theirs: Oid) -> Merged | Conflicted:
        """Merges the change from tree *base* to tree *theirs* into tree *ours*."""
        writer = self.merger.writer
        found = merge(self.repo, writer, base=base, ours=ours, theirs=theirs, merger=self.merger)
        return found if isinstance(found, Merged) else self._climbed(found)

    def without(self, mends: Iterable[Mend]) -> Ladder:
        """Returns one that does not make *mends* again: for a landing that failed its checks with them."""
        return replace(self, refused=self.refused | set(mends))

    def steady(self) -> Ladder:
        """Returns one that starts no drivers."""
        return replace(self, drivers=None)

    def _climbed(self, conflict: Conflicted) -> Merged | Conflicted:
        cases = cases_of(conflict.stages, conflict.messages)
        files: dict[str, Side] = {}
        mends: list[Mend] = []
        tried: list[Mend] = []
        for case in cases:
            known = self.memory.find(case.triple)
            mend = None if known is None else remembered(case.path, known)
            if known is not None and mend is not None and self._may(mend, tried):
                files[case.path] = known.result
                mends.append(mend)
        left = [case for case in cases if case.path not in files]
        if self.drivers is not None and self.drivers.specs and left:
            for mend, oid, mode in self._driven(self.drivers, conflict, left[:FILES], tried):
                files[mend.path] = (mode, oid)
                mends.append(mend)
        conflict = replace(conflict, tried=(*conflict.tried, *tried))
        return self._with(conflict, files, tuple(mends)) if files else conflict

    def _may(self, mend: Mend, tried: list[Mend]) -> bool:
        if mend in self.refused:
            tried.append(replace(mend, by=f"{mend.by}{SPOILED}"))
        return mend not in self.refused

    def _with(
        self, conflict: Conflicted, files: dict[str, Side], mends: tuple[Mend, ...]
    ) -> Merged | Conflicted:
        """Returns a conflict with *files* merged, which may be none any more."""
        tree = graft(self.merger.trees, self.merger.writer, conflict.tree, files)
        messages = without(conflict.messages, files)
        paths = tuple(path for path in conflict.paths if path not in files)
        if not paths and not messages:
            return Merged(tree, mends)
        stages = tuple(stage for stage in conflict.stages if stage.path not in files)
        return replace(conflict, tree=tree, paths=paths, stages=stages, messages=messages, mends=mends)

    def _driven(
        self, drivers: Drivers, conflict: Conflicted, cases: list[Case], tried: list[Mend]
    ) -> Iterator[tuple[Mend, Oid, str]]:
        """Yields what drivers can merge: the mend, the file, and its mode."""
        for case in cases:
            mode, file = self._versions(conflict.tree, case)
            if mode is None or file is None:
                continue
            with scratch(self.folders) as folder:
                made, failed = drivers.mend(file, folder)
            tried += (Mend(case.path, "driver", f"{one.by}: {one.why}") for one in failed)
            if made is not None and self._may(mend := _mend(case.path, made), tried):
                yield mend, self.merger.writer.blob(made.content), mode

    def _versions(self, tree: Oid, case: Case) -> tuple[str | None, Versions | None]:
        """Returns the mode and the versions of a file that is one for drivers."""
        base, ours, theirs = case.triple.sides
        here = entry_at(self.merger.trees, tree, case.path)
        if case.kind not in {"content", "add/add"} or ours is None or theirs is None or here is None:
            return None, None
        if not {side[0] for side in (base, ours, theirs, here) if side is not None} <= REGULAR:
            return None, None
        asked = [oid for _, oid in (ours, theirs, here)] + ([] if base is None else [base[1]])
        found = [None if one is None else one.data for one in read_small_objects(self.repo, asked, LARGEST)]
        mine, other, marked = found[:3]
        before = found[3] if base is not None else b""
        if mine is None or other is None or marked is None or before is None:
            return None, None
        if b"\0" in mine + other + before or not has_markers(marked, mine, other, before):
            # A file that git did not try to merge, as attributes have it, is none for others either.
            return None, None
        # The mode git has merged by itself.
        return here[0], Versions(case.path, before, mine, other)


def refused_in(tried: Iterable[Mend]) -> frozenset[Mend]:
    """Returns the mends that were refused, of all that a parked conflict tells was tried."""
    spoiled = (mend for mend in tried if mend.by.endswith(SPOILED))
    return frozenset(replace(mend, by=mend.by.removesuffix(SPOILED)) for mend in spoiled)


def remembered(path: str, known: Resolution) -> Mend:
    """Returns how a resolution that is used again is recorded."""
    whence = known.whence
    who = whence.by if whence.by.startswith(f"{whence.rung} ") else f"{whence.rung} {whence.by}"
    return Mend(path, "memory", f"{known.triple.digest[:12]}, {who} in {whence.flow}")


@contextmanager
def scratch(folders: StateFolders) -> Iterator[Path]:
    """Gives a new folder outside of the repository and of all slots, and throws it away.

    Those of processes that are gone are thrown away as well.
    """
    for left in folders.merges.iterdir():
        if "@" not in left.name or is_dead(left.name.partition("@")[2]):
            _thrown_away(folders, left)
    folder = folders.merges / f"{secrets.token_hex(8)}@{own_mark()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _thrown_away(folders, folder)


def _thrown_away(folders: StateFolders, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        # A driver may have made it so that it cannot be deleted like that; who empties the trash can.
        folder.rename(folders.trash / f"merge-{secrets.token_hex(8)}")


def _mend(path: str, made: Mended) -> Mend:
    return Mend(path, "driver", made.by)
