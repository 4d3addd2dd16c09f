"""Flows in short, and lists of them: what is told without reading a whole one, by whoever has no time.

Neither ``pathlib``, ``dataclasses`` nor git is loaded; who asks says how objects are read. A flow that cannot
be read is named and hides no other one.
"""

from __future__ import annotations

import json
import re

from stratum_git.git.ref_files import loose_refs, packed_refs, packed_stamp
from stratum_git.store.header_cache import known_open, known_rows, remember_open, remember_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeVar

    from stratum_git.git.ref_files import Stamp
    from stratum_git.git.unaided import Unaided
    from stratum_git.model.ids import FlowId, Json, Oid, RefName

    T = TypeVar("T")
    Row = dict[str, Json]
    Read = Callable[[Sequence[Oid]], Sequence[bytes | None]]
    """Returns the ``state.json`` of commits, ``None`` for one that cannot be read."""
else:
    FlowId = Oid = RefName = str

PREFIX = "refs/stratum/flows/"
STATE = "state.json"
OVER = frozenset({"complete", "failed", "cancelled", "killed"})
HEADER = 16 * 1024 * 1024
"""Bytes of a ``state.json``. It has the newest records and a few states, and they are short."""
ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
FIELDS = (
    "flow", "name", "status", "killed", "cursor", "position", "steps", "round", "events", "base", "target",
    "driver", "started", "updated", "tasks", "gate", "session",
)  # fmt: skip


class Header:
    """A flow in short. ``gate`` says what is to be decided, of one that waits at a gate."""

    __slots__ = FIELDS
    flow: FlowId
    name: str
    status: str
    killed: bool
    cursor: str | None
    position: int
    steps: int
    round: int
    events: int
    base: str
    target: str
    driver: str
    started: float
    updated: float
    tasks: Row | None
    gate: Row | None
    session: Row | None

    def __init__(self, row: Mapping[str, Any]) -> None:
        """Takes the fields out of *row*; raises KeyError for one that is missing."""
        for name in FIELDS[:-1]:
            setattr(self, name, row[name])
        self.session = row.get("session")

    def row(self) -> dict[str, Json]:
        """Returns the fields."""
        return {name: getattr(self, name) for name in FIELDS}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and self.row() == other.row()

    __hash__ = None  # type: ignore[assignment] # what it has are dicts


class Listing:
    """The flows that can be read, oldest first, and a sentence for each that cannot."""

    __slots__ = ("headers", "remarks")

    def __init__(self, headers: Iterable[Header], remarks: Iterable[str]) -> None:
        self.headers = tuple(headers)
        self.remarks = tuple(remarks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listing) and (self.headers, self.remarks) == (other.headers, other.remarks)

    __hash__ = None  # type: ignore[assignment] # as above


def every_flow(common_dir: str, read: Read, last: int | None = None) -> Listing | None:
    """Returns every flow in short, or the *last* ones that began; ``None`` where git has to list the refs."""
    loose = loose_refs(common_dir, PREFIX)
    if loose is None:
        return None
    packed, stamp = packed_refs(common_dir, PREFIX)
    found = listing_of(common_dir, read, {**packed, **loose}, "", last)
    if last is None:
        _remember_open(common_dir, stamp, packed, found)
    return found


def open_flows(common_dir: str, read: Read) -> Listing | None:
    """Returns the flows that are not over, and sessions that are not closed; ``None`` as above."""
    loose = loose_refs(common_dir, PREFIX)
    known = None if loose is None else known_open(common_dir, packed_stamp(common_dir))
    if loose is None or known is None:
        found = every_flow(common_dir, read)
    else:
        found = _told(_read_headers(read, {**known, **loose}))
    return None if found is None else only_open(found)


def seen_open(there: Unaided) -> Listing | None:
    """Returns the flows that are not over, without git; raises Undecided."""
    return open_flows(there.common_dir, reader_of(there))


def reader_of(there: Unaided) -> Read:
    """Returns what reads states without git, or raises Undecided."""
    return lambda tips: [there.file(tip, STATE, HEADER) for tip in tips]


def only_open(found: Listing) -> Listing:
    """Returns of a list the flows that are not over."""
    return Listing((header for header in found.headers if not is_over(header)), found.remarks)


def listing_of(
    common_dir: str, read: Read, tips: Mapping[RefName, Oid], said: str, last: int | None
) -> Listing:
    """Returns the flows that stand at *tips* in short; *said* is a remark."""
    kept = known_rows(common_dir)
    rows = {ref: kept[tip] for ref, tip in tips.items() if tip in kept}
    if last is not None:
        # Of what is remembered only so many are even taken apart.
        late = sorted(rows, key=lambda ref: (rows[ref].started, ref))[-last:]
        tips = {ref: tip for ref, tip in tips.items() if ref not in rows} | {ref: tips[ref] for ref in late}
        rows = {ref: rows[ref] for ref in late}
    headers = {ref: _remembered(ref, row.row) for ref, row in rows.items()}
    known = {ref: header for ref, header in headers.items() if header is not None}
    fresh = _read_headers(read, {ref: tip for ref, tip in tips.items() if ref not in known})
    over = {tips[ref]: h.row() for ref, h in fresh.items() if h is not None and is_over(h)}
    remember_rows(common_dir, over, kept, len(tips) if last is None else len(kept))
    return _told({**known, **fresh}, said, last)


def _told(found: Mapping[RefName, Header | None], said: str = "", last: int | None = None) -> Listing:
    headers = sorted((h for h in found.values() if h is not None), key=lambda h: (h.started, h.flow))
    lost = sorted(ref.removeprefix(PREFIX) for ref, header in found.items() if header is None)
    remarks = [*said.splitlines(), *(f"the flow {flow} cannot be read; see `git fsck`" for flow in lost)]
    return Listing(headers if last is None else headers[-last:], remarks)


def _read_headers(read: Read, tips: Mapping[RefName, Oid]) -> dict[RefName, Header | None]:
    return {ref: header_of(_flow(ref), data) for ref, data in zip(tips, read([*tips.values()]), strict=True)}


def _flow(ref: RefName) -> FlowId:
    return FlowId(ref.removeprefix(PREFIX))


def is_id(name: str) -> bool:
    """Returns whether a flow may be called *name*: ids are no paths."""
    return re.fullmatch(ID, name) is not None and ".." not in name


def is_over(header: Header) -> bool:
    """Returns whether nothing is to be done for a flow: it is over, and no session that may go on."""
    closed = header.session is None or header.session.get("closed") is not None
    return header.status in OVER and closed


def _remember_open(common_dir: str, stamp: Stamp, packed: Mapping[RefName, Oid], found: Listing) -> None:
    if packed and known_open(common_dir, stamp) is None:
        over = {f"{PREFIX}{header.flow}" for header in found.headers if is_over(header)}
        remember_open(common_dir, stamp, {ref: tip for ref, tip in packed.items() if ref not in over})


def _remembered(ref: RefName, line: bytes) -> Header | None:
    try:
        return Header({**json.loads(line), "flow": _flow(ref)})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def header_of(flow: FlowId, data: bytes | None) -> Header | None:
    """Returns a flow in short, by its ``state.json``; ``None`` where that is none."""
    try:
        row = json.loads(data or b"")
        book = _field(row, "book", dict)
        return Header(
            {
                "flow": flow,
                "name": _field(row, "name", str),
                "status": _field(row, "status", str),
                "killed": book.get("killed") is True,
                "cursor": _optional(row, "cursor", str),
                "position": _field(row, "position", int),
                "steps": _field(row, "steps", int),
                "round": _field(book, "round", int) if "round" in book else 0,
                "events": _field(row, "seq", int),
                "base": _field(row, "base", str),
                "target": _field(row, "target", str),
                "driver": _optional(row, "driver", str) or "runner",
                "started": float(_field(row, "started", (int, float))),
                "updated": float(_field(row, "updated", (int, float))),
                "tasks": _optional(row, "tasks", dict),
                "gate": _optional(row, "gate", dict),
                "session": _optional(row, "session", dict),
            }
        )
    except (ValueError, TypeError, RecursionError):
        return None


def _field(row: Json, key: str, kind: type[T] | tuple[type[T], ...]) -> T:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        raise TypeError(key)
    return value


def _optional(row: Json, key: str, kind: type[T]) -> T | None:
    missing = isinstance(row, dict) and row.get(key) is None
    return None if missing else _field(row, key, kind)
