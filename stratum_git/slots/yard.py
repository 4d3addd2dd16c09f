"""Idle slots: given back as they are, made clean when nobody waits, and taken in the order of what they cost.

Giving one back changes a record and the HEAD, and looks at no file. What its tenant left is cleaned by a
thread of a pool that runs for long, else by whoever takes it next. While it is cleaned its record says that
it is half made: who comes after a kill throws it away, since a git of the dead process may still be at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from stratum_git.errors import HostError, StratumError
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.git.worktree import check_out, clean, leave_branch
from stratum_git.model.changing import replace
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field
from stratum_git.slots.census import places, vacancies
from stratum_git.slots.cleaner import Cleaner
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.joining import DETACHED
from stratum_git.slots.locking import SlotLock
from stratum_git.slots.occupancy import (
    Occupant,
    Vacant,
    as_left,
    read_record,
    record_age,
    try_lock,
    write_record,
)
from stratum_git.slots.registry import Registry
from stratum_git.slots.rungs.base import Rung
from stratum_git.slots.scrub import is_reusable
from stratum_git.slots.slot import Slot

NOBODY = Occupant("", "", None, 0)
FAR = 2000
"""Files that differ; beyond it nobody counts. A slot of which nothing is known counts as that."""
UNLIKE = 10 * FAR
"""How far a slot is whose files were written with other attributes: it does not serve."""
ATTRIBUTES = ".gitattributes"
UNCLEAN = 100
"""As many files to check out take about as long as looking through a worktree for what is not its own."""


@dataclass
class Yard:
    """The idle slots of a pool. Safe for several threads and processes: a slot's lock decides."""

    registry: Registry
    folders: StateFolders
    keep: Callable[[], int]
    rung_of: Callable[[str], Rung]
    folders_of: Callable[[Oid], frozenset[str]]
    abolish: Callable[[Path, SlotLock], None]
    settings: Callable[[], str]
    """Returns the word for how files are checked out now: what was checked out otherwise serves nobody."""
    trees: TreeReader | None = None
    background: bool = False
    _cleaner: Cleaner = field(init=False, repr=False)
    _wanted: Oid | None = None
    _tended: Path | None = None
    """The slot that is being cleaned: its record says meanwhile that it is fit for nobody."""

    def __post_init__(self) -> None:
        self._cleaner = Cleaner(self.tend)

    def admit(self, slot: Slot) -> bool:
        """Takes a slot in whose tenant is gone, held by the caller; returns whether there is use for it."""
        record = Vacant(slot.kind, slot.base, ready=False, kept=slot.keep_ignored, rung=slot.rung)
        record = replace(record, settings=slot.settings)
        if not self._is_worth_keeping(slot):
            write_record(slot.path, record)
            return False
        # Counted in turn: several may be given back at once.
        with self.registry.turn():
            wanted = self._has_room(slot)
            write_record(slot.path, replace(record, left=wanted))
        if wanted:
            # Nobody's branch is to be in use by a slot that nobody is in.
            leave_branch(slot.path, slot.base)
        return wanted

    def wake(self, place: Path) -> None:
        """Has a slot cleaned that was let in, when nobody takes it before; the caller let go of it."""
        if self.background:
            self._cleaner.add(place)

    def close(self) -> None:
        """Ends the cleaning; what is at hand is finished, the rest stays as it was left."""
        self._cleaner.close()

    def take(self, base: Oid, kept: tuple[str, ...], settings: str) -> tuple[Path, SlotLock] | None:
        """Returns an idle slot, held, whose way to *base* is the shortest; ``None`` when there is none.

        None serves that is at other attributes, or of other *settings*: a checkout leaves files as those had
        them.
        """
        self._wanted = base
        while True:
            for path in self._nearest(base, kept, settings):
                lock = self._held(path, settings)
                if lock is not None:
                    return path, lock
            if not self._cleaner.waited():
                return None

    def prepare(self, slot: Slot, before: Vacant) -> None:
        """Makes an idle slot clean at the base of its new tenant; the caller holds it, and recorded that."""
        same = before.kept == slot.keep_ignored
        if before.left:
            wanted = slot if same else replace(slot, keep_ignored=())
            self.rung_of(before.rung).clear(wanted, self.folders_of(slot.base))
            return
        if before != as_left(slot.base, before.kept, before.rung, before.settings):
            # Detached first: git looks at everybody's worktrees before it moves a branch by name.
            check_out(slot.path, slot.base, None)
        # Else it lies there just as it is wanted; to look at every file again would cost what was saved.
        if before.kept and not same:
            clean(slot.path, self.folders_of(slot.base))

    def tend(self, place: Path) -> None:
        """Cleans a slot that was left as its tenant had it, unless somebody has it."""
        lock = try_lock(place)
        if lock is None:
            return
        record = read_record(place)
        if not isinstance(record, Vacant) or not record.left:
            lock.release()
            return
        try:
            self._tended = place
            write_record(place, replace(record, left=False))
            if record.settings != self.settings():
                self.abolish(place, lock)
                return
            slot = Slot(place, record.kind, record.base, DETACHED, NOBODY, lock, record.kept, record.rung)
            self.rung_of(record.rung).clear(slot, self.folders_of(record.base))
            write_record(place, as_left(record.base, record.kept, record.rung, record.settings))
        except (StratumError, OSError):
            # It cannot be cleaned: another one takes its place.
            self.abolish(place, lock)
        finally:
            self._tended = None
            lock.release()

    def surplus(self) -> Iterable[Path]:
        """Returns the idle slots that nobody needs: half made ones, and too many; the longest idle first."""
        spare, now, found = self.keep(), self.settings(), []
        for path, record in sorted(vacancies(self.folders.slots), key=lambda row: record_age(row[0])):
            good = _is_fit(record, now) and self.registry.is_sound(path)
            spare -= good
            if not good or spare < 0:
                found.append(path)
        clones = (path for path in places(self.folders.slots) if _is_idle_clone(path))
        return [*found, *clones]

    def keeps(self, slot: Slot) -> bool:
        """Returns whether slots like this one are for the next tenant, if nothing is wrong with it."""
        return slot.kind == "worktree" and self.rung_of(slot.rung).keeps(slot)

    def _is_worth_keeping(self, slot: Slot) -> bool:
        is_kept = self.keeps(slot) and slot.settings == self.settings()
        return is_kept and self.registry.is_sound(slot.path) and is_reusable(slot.path)

    def _has_room(self, slot: Slot) -> bool:
        """Returns whether a slot may stay; one that serves nobody, or nobody asks for, makes room for it."""
        idle = ((p, r) for p, r in vacancies(self.folders.slots) if p != slot.path)
        others = [(p, r) for p, r in idle if r.ready or r.left or p == self._tended]
        if len(others) < self.keep():
            return True
        strange = [path for path, record in others if record.settings != slot.settings]
        if slot.base == self._wanted:
            strange += [
                path for path, record in others if record.base != self._wanted and path not in strange
            ]
        return any(map(self._made_way, sorted(strange, key=record_age, reverse=True)))

    def _made_way(self, path: Path) -> bool:
        lock = try_lock(path)
        if lock is None:
            return False
        is_idle = isinstance(read_record(path), Vacant)
        if is_idle:
            self.abolish(path, lock)
        lock.release()
        return is_idle

    def _nearest(self, base: Oid, kept: tuple[str, ...], settings: str) -> Iterator[Path]:
        idle = list(vacancies(self.folders.slots))
        fits = as_left(base, kept, "", settings)
        as_wanted = [path for path, record in idle if replace(record, rung="") == fits]
        # What serves nobody is thrown away by who asks for it.
        yield from (path for path, record in idle if not _is_fit(record, settings))
        # The others only in case that somebody else is quicker: how far they are takes time to find out.
        yield from as_wanted
        known: dict[Oid, int] = {}
        others = (row for row in idle if row[0] not in as_wanted and _is_fit(row[1], settings))
        costs = sorted((self._cost(record, base, kept, known), path) for path, record in others)
        yield from (path for cost, path in costs if cost < UNLIKE)

    def _cost(self, record: Vacant, base: Oid, kept: tuple[str, ...], known: dict[Oid, int]) -> int:
        if record.base not in known:
            known[record.base] = self._distance(record.base, base)
        unclean = record.left or record.kept not in {(), kept}
        return known[record.base] + UNCLEAN * unclean

    def _distance(self, one: Oid, other: Oid) -> int:
        if one == other:
            return 0
        if self.trees is None:
            return FAR
        with suppress(HostError):
            both = self.trees.root(one), self.trees.root(other)
            paths = [change.path for change in differences(self.trees, *both)]
            # Git takes a file for clean whose content is the same, whatever its attributes were.
            is_unlike = any(path.rpartition("/")[2] == ATTRIBUTES for path in paths)
            return UNLIKE if is_unlike else min(len(paths), FAR)
        return FAR

    def _held(self, path: Path, settings: str) -> SlotLock | None:
        """Returns the lock of an idle slot that is fit for somebody; one that is not is thrown away."""
        lock = try_lock(path)
        if lock is None:
            return None
        record = read_record(path)
        if isinstance(record, Vacant):
            if _is_fit(record, settings) and self.registry.is_sound(path):
                return lock
            self.abolish(path, lock)
        lock.release()
        return None


def _is_fit(record: Vacant, settings: str) -> bool:
    return (record.ready or record.left) and record.settings == settings


def _is_idle_clone(path: Path) -> bool:
    record = read_record(path)
    return isinstance(record, Vacant) and record.kind != "worktree"
