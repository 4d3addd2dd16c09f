"""What an installation would do: first everything is looked at, then either all of it is done or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.install import disk
from stratum_git.install.client_lock import client_lock
from stratum_git.install.parts import Part
from stratum_git.install.record import Record, Records, Row, digest_of
from stratum_git.install.refusing import Refusal, Unusable

Action: TypeAlias = Literal["create", "change", "delete"]
Original: TypeAlias = Callable[[str], bytes]
"""Returns a file as it was before, by its digest."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file that is to be something else. *original* is what uninstall is to bring back."""

    path: Path
    place: Path
    before: bytes | None
    after: bytes | None
    original: bytes | None
    executable: bool = False
    secret: bool = False

    @property
    def action(self) -> Action:
        """Returns what becomes of the file."""
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "change"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be changed, what was left because somebody changed it, and what stands in the way."""

    changes: tuple[Change, ...] = ()
    kept: tuple[Refusal, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class MovedError(Exception):
    """A file is no longer what it was when it was looked at; whoever plans again sees it as it is."""


def plan_install(parts: Iterable[Part], bounds: Sequence[Path], record: Record, original: Original) -> Plan:
    """Returns what makes every part be there."""

    def wanted(part: Part, file: disk.File) -> tuple[bytes | None, str]:
        made = part.put(file.data)
        return made.data, made.kept

    return _plan(parts, bounds, record, original, wanted)


def plan_uninstall(parts: Iterable[Part], bounds: Sequence[Path], record: Record, original: Original) -> Plan:
    """Returns what brings every file back, or, where it was changed since, takes our part out."""

    def wanted(part: Part, file: disk.File) -> tuple[bytes | None, str]:
        if file.data is None:
            return None, ""
        row = record.files.get(str(part.path))
        before = None if row is None or row.before is None else original(row.before)
        if row is not None and digest_of(file.data) == row.after:
            return before, ""
        if file.data == before:
            return before, ""
        made = part.take(file.data, before)
        return made.data, made.kept

    return _plan(parts, bounds, record, original, wanted)


def carry_out(plan: Plan, scope: str, root: Path, record: Record, records: Records, *, forget: bool) -> None:
    """Does what *plan* says: notes it, then writes; raises MovedError, HostError.

    With *forget* the record is deleted at the end, with the folders that were made.
    """
    places = [change.place for change in plan.changes if change.after is not None]
    folders = [] if forget else disk.missing_folders(places)
    if not forget and plan.changes:
        _note(plan, scope, root, record, records, folders)
    disk.make_folders(folders or disk.missing_folders(places))
    for change in plan.changes:
        with client_lock(change.place) if change.secret else nullcontext():
            _change(change)
    if forget:
        made = [Path(folder) for folder in record.folders]
        disk.remove_empty(made or _emptied(plan, root))
        records.forget(scope, root)


def _change(change: Change) -> None:
    if disk.look(change.path, [change.place]).data != change.before:
        raise MovedError(str(change.path))
    if change.after is None:
        disk.remove(change.place)
    else:
        disk.write(change.place, change.after, executable=change.executable, secret=change.secret)


def _note(
    plan: Plan, scope: str, root: Path, record: Record, records: Records, folders: Sequence[Path]
) -> None:
    originals = {digest_of(c.original): c.original for c in plan.changes if c.original is not None}
    rows = {
        str(change.path): Row(
            None if change.original is None else digest_of(change.original),
            None if change.after is None else digest_of(change.after),
        )
        for change in plan.changes
    }
    made = {*record.folders, *map(str, folders)}
    records.write(scope, root, Record({**record.files, **rows}, tuple(made)), originals)


def _plan(
    parts: Iterable[Part],
    bounds: Sequence[Path],
    record: Record,
    original: Original,
    wanted: Callable[[Part, disk.File], tuple[bytes | None, str]],
) -> Plan:
    changes: list[Change] = []
    kept: list[Refusal] = []
    refusals: list[Refusal] = []
    for part in parts:
        try:
            file = disk.look(part.path, bounds)
            after, why = wanted(part, file)
            if why:
                kept.append(Refusal(part.path, why, "--force does it all the same"))
            if after != file.data:
                first = _original(part, file, record, original)
                changes.append(
                    Change(part.path, file.place, file.data, after, first, part.executable, part.secret)
                )
        except Unusable as error:
            refusals.append(Refusal(part.path, error.why, error.hint))
    return Plan(tuple(changes), tuple(kept), tuple(refusals))


def _original(part: Part, file: disk.File, record: Record, original: Original) -> bytes | None:
    """Returns what a file would be without us."""
    row = record.files.get(str(part.path))
    before = None if row is None or row.before is None else original(row.before)
    if file.data is None:
        return None
    if row is not None and (digest_of(file.data) == row.after or file.data == before):
        return before
    return part.take(file.data, before).data


def _emptied(plan: Plan, root: Path) -> list[Path]:
    """Returns the folders around what was deleted: without a record nobody knows who made them."""
    gone = [change.place for change in plan.changes if change.after is None]
    top = root.resolve()
    return [above for place in gone for above in place.parents if above.is_relative_to(top) and above != top]
