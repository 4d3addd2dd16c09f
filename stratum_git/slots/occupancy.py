"""Who is in a slot: a lock that dies with its process, and a record that does not.

The lock says that somebody is there now, the record whose work lies there. A record without a lock is work
that somebody left behind when he died: it is never overwritten, only recovered. What a record says counts
only when it was read under the lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from stratum_git.agents.identity import own_identity
from stratum_git.errors import HostError
from stratum_git.git.exchange import put_in_place
from stratum_git.git.flushing import flush
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import asdict, dataclass
from stratum_git.slots.locking import SlotLock

Kind: TypeAlias = Literal["worktree", "branch"]


@dataclass(frozen=True, slots=True)
class Occupant:
    """The attempt whose work is in a slot."""

    flow: str
    step: str
    task: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Vacant:
    """Nobody's work is in the slot. ``ready`` says that it is clean, but for the patterns in ``kept``.

    ``boot`` is the boot of the machine in which it was cleaned: its files are not flushed, so after a power
    cut they may be empty, and have to be looked at again. ``left`` says that it is as its last tenant left
    it: whole, and to be cleaned. One that is neither is half made, or was being cleaned. ``settings`` is the
    word for those that its files were checked out with; none serves a tenant under other ones.
    """

    kind: Kind
    base: Oid
    ready: bool
    kept: tuple[str, ...] = ()
    boot: str = ""
    rung: str = ""
    left: bool = False
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Occupied:
    """Somebody's work is in the slot, or may be."""

    kind: Kind
    base: Oid
    branch: RefName
    occupant: Occupant
    kept: tuple[str, ...] = ()
    rung: str = ""
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The record is damaged, or of a later version. Such a slot is left alone: it may hold work."""


Record: TypeAlias = Vacant | Occupied | Unreadable


def try_lock(slot: Path) -> SlotLock | None:
    """Returns the lock of a slot, taken, or ``None`` when somebody has it. Any thread may release it."""
    path = f"{slot}.lock"
    try:
        return SlotLock.taken(path)
    except OSError as error:
        raise HostError(f"the lock {path} cannot be taken: {error.strerror}") from error


def read_record(slot: Path) -> Record | None:
    """Returns the record of a slot; ``None`` when there is none."""
    try:
        data = _record_path(slot).read_bytes()
        if not data.strip(b"\0"):
            # A power cut, before anybody was let in: what replaces a record of work was on the disk before.
            return Vacant("branch" if slot.name.startswith("clone") else "worktree", Oid(""), ready=False)
        return _parsed(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Unreadable()


def write_record(slot: Path, record: Vacant | Occupied, *, is_first: bool = False) -> None:
    """Writes the record of a slot, whole or not at all.

    That somebody is in it is on the disk before this returns: his work may begin then, and not before. That
    nobody is need not be: a power cut then brings back a record of work that is on a ref already. *is_first*:
    nobody's work is in the slot before this returns, so that record may be lost with this one.
    """
    path, fresh = _record_path(slot), _fresh_path(slot)
    data = json.dumps(asdict(record)).encode()
    if isinstance(record, Vacant):
        # What it was before somebody came is what it is after he went: then two names change, and no more.
        if not _is_as_written(fresh, data):
            _write(fresh, data)
        put_in_place(fresh, path)
        return
    _write(fresh, data, is_waited_for=not is_first)
    if not is_first:
        fresh.rename(path)
        flush([path.parent])
        return
    put_in_place(fresh, path)
    # Together with its name: a power cut before that leaves it empty, or not there.
    flush([path, path.parent])


def as_left(base: Oid, kept: tuple[str, ...], rung: str, settings: str) -> Vacant:
    """Returns the record of a worktree that was cleaned for whoever wants the same commit."""
    boot = own_identity().boot_id
    return Vacant("worktree", base, ready=True, kept=kept, boot=boot, rung=rung, settings=settings)


def record_age(slot: Path) -> float:
    """Returns how old the record of a slot is: a number that is smaller the later it was written."""
    try:
        return -_record_path(slot).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def work_in(slot: Path, is_wanted: Callable[[Occupant], bool]) -> Occupied | None:
    """Returns the record of a slot with somebody's work in it, if that is wanted."""
    record = read_record(slot)
    return record if isinstance(record, Occupied) and is_wanted(record.occupant) else None


def is_bare(slot: Path) -> bool:
    """Returns whether there is no file in a slot: nobody was ever in it."""
    return not slot.is_dir() or {entry.name for entry in slot.iterdir()} <= {".git"}


def forget(slot: Path) -> None:
    """Drops the record of a slot, and its lock file. The caller holds the lock."""
    # Whoever opened the lock file before finds no record under it, and nobody makes this name again.
    _record_path(slot).unlink(missing_ok=True)
    _fresh_path(slot).unlink(missing_ok=True)
    slot.with_name(f"{slot.name}.lock").unlink(missing_ok=True)


def _is_as_written(path: Path, data: bytes) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(len(data) + 1) == data
    except FileNotFoundError:
        return False


def _write(path: Path, data: bytes, *, is_waited_for: bool = False) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        # It may be the record before the last one: written over, it costs no wait for the disk.
        os.ftruncate(handle, len(data))
        if is_waited_for:
            os.fsync(handle)
    finally:
        os.close(handle)


def _record_path(slot: Path) -> Path:
    return slot.with_name(f"{slot.name}.json")


def _fresh_path(slot: Path) -> Path:
    return slot.with_name(f"{slot.name}.new")


def _parsed(data: bytes) -> Record:
    row = json.loads(data)
    kind: Kind = "branch" if row["kind"] == "branch" else "worktree"
    base, kept = Oid(str(row["base"])), tuple(map(str, row["kept"]))
    rung, settings = str(row.get("rung", "")), str(row.get("settings", ""))
    if "occupant" not in row:
        boot, left = str(row.get("boot", "")), bool(row.get("left", False))
        return Vacant(kind, base, bool(row["ready"]), kept, boot, rung, left, settings)
    who = row["occupant"]
    task = who["task"]
    occupant = Occupant(
        str(who["flow"]), str(who["step"]), None if task is None else str(task), int(who["attempt"])
    )
    return Occupied(kind, base, RefName(str(row["branch"])), occupant, kept, rung, settings)
