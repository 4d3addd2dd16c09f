"""Which flows there are, and where: what can be told without reading a whole one.

It loads neither the engine nor the spec's language, so that looking is quick. A flow that cannot be read is
named and hides no other one.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, TypeVar

from stratum_git.errors import HostError, UserError
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.objects import Object, read_objects
from stratum_git.git.ref_files import Stamp, loose_refs, packed_refs, packed_stamp
from stratum_git.git.refs import read_ref, survey_refs
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Json, Oid, RefName
from stratum_git.store.header_cache import known_open, known_rows, remember_open, remember_rows

T = TypeVar("T")
Row = dict[str, Json]

PREFIX = "refs/stratum/flows/"
OVER = frozenset({"complete", "failed", "cancelled", "killed"})
HEADER = 16 * 1024 * 1024
"""Bytes of a ``state.json``. It has the newest records and a few states, and they are short."""
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class UnknownFlowError(UserError):
    """There is no flow with this id in the repository."""

    word: ClassVar[str] = "NOT_FOUND"

    def __init__(self, flow: FlowId) -> None:
        hint = "`stratum-git query flows` lists those of this repository"
        super().__init__(f"there is no flow called {flow}", hint=hint)


@dataclass(frozen=True, slots=True)
class Header:
    """A flow in short. ``gate`` says what is to be decided, of one that waits at a gate."""

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
    session: Row | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The flows that can be read, oldest first, and a sentence for each that cannot."""

    headers: tuple[Header, ...]
    remarks: tuple[str, ...]


def flow_ref(flow: FlowId) -> RefName:
    """Returns the ref of a flow; raises UnknownFlowError for what is the id of none: ids are no paths."""
    if not ID.fullmatch(flow) or ".." in flow:
        raise UnknownFlowError(FlowId(flow[:100]))
    return RefName(PREFIX + flow)


def known_ref(repo: Repository, flow: FlowId) -> RefName:
    """Returns the ref of a flow; raises UnknownFlowError when there is none."""
    ref = flow_ref(flow)
    if read_ref(repo, ref) is None:
        raise UnknownFlowError(flow)
    return ref


def event_count(repo: Repository, flow: FlowId) -> int:
    """Returns how many events a flow has."""
    found = read_objects(repo, [f"{flow_ref(flow)}:state.json"])[0]
    row = {} if found is None else json.loads(found.data)
    return int(row.get("seq", 0))


def list_flows(repo: Repository, last: int | None = None) -> Listing:
    """Returns every flow in short, or the *last* ones that began; a git process or two, however many."""
    loose = loose_refs(repo, PREFIX)
    if loose is None:
        tips, said = survey_refs(repo, PREFIX)
        return _listing(repo, tips, said, last)
    packed, stamp = packed_refs(repo, PREFIX)
    found = _listing(repo, {**packed, **loose}, "", last)
    if last is None:
        _remember_open(repo, stamp, packed, found)
    return found


def list_open(repo: Repository) -> Listing:
    """Returns the flows that are not over, and sessions that are not closed; others hardly cost anything."""
    loose = loose_refs(repo, PREFIX)
    known = None if loose is None else known_open(repo, packed_stamp(repo))
    if loose is None or known is None:
        found = list_flows(repo)
    else:
        found = _told(_read_headers(repo, {**known, **loose}))
    return Listing(tuple(header for header in found.headers if not is_over(header)), found.remarks)


def _listing(repo: Repository, tips: Mapping[RefName, Oid], said: str, last: int | None) -> Listing:
    kept = known_rows(repo)
    rows = {ref: kept[tip] for ref, tip in tips.items() if tip in kept}
    if last is not None:
        # Of what is remembered only so many are even taken apart.
        late = heapq.nlargest(last, rows, key=lambda ref: (rows[ref].started, ref))
        tips = {ref: tip for ref, tip in tips.items() if ref not in rows} | {ref: tips[ref] for ref in late}
        rows = {ref: rows[ref] for ref in late}
    headers = {ref: _remembered(ref, row.row) for ref, row in rows.items()}
    known = {ref: header for ref, header in headers.items() if header is not None}
    fresh = _read_headers(repo, {ref: tip for ref, tip in tips.items() if ref not in known})
    over = {tips[ref]: asdict(h) for ref, h in fresh.items() if h is not None and is_over(h)}
    remember_rows(repo, over, kept, len(tips) if last is None else len(kept))
    return _told({**known, **fresh}, said, last)


def _told(found: Mapping[RefName, Header | None], said: str = "", last: int | None = None) -> Listing:
    headers = sorted((h for h in found.values() if h is not None), key=lambda h: (h.started, h.flow))
    lost = sorted(ref.removeprefix(PREFIX) for ref, header in found.items() if header is None)
    remarks = [*said.splitlines(), *(f"the flow {flow} cannot be read; see `git fsck`" for flow in lost)]
    return Listing(tuple(headers if last is None else headers[-last:]), tuple(remarks))


def _read_headers(repo: Repository, tips: Mapping[RefName, Oid]) -> dict[RefName, Header | None]:
    read = _read(repo, [f"{tip}:state.json" for tip in tips.values()])
    return {ref: _header(_flow(ref), item) for ref, item in zip(tips, read, strict=True)}


def _flow(ref: RefName) -> FlowId:
    return FlowId(ref.removeprefix(PREFIX))


def is_over(header: Header) -> bool:
    """Returns whether nothing is to be done for a flow: it is over, and no session that may go on."""
    closed = header.session is None or header.session.get("closed") is not None
    return header.status in OVER and closed


def _remember_open(repo: Repository, stamp: Stamp, packed: Mapping[RefName, Oid], found: Listing) -> None:
    if packed and known_open(repo, stamp) is None:
        over = {f"{PREFIX}{header.flow}" for header in found.headers if is_over(header)}
        remember_open(repo, stamp, {ref: tip for ref, tip in packed.items() if ref not in over})


def _remembered(ref: RefName, line: bytes) -> Header | None:
    try:
        return Header(**{**json.loads(line), "flow": _flow(ref)})
    except (ValueError, TypeError, RecursionError):
        return None


def _read(repo: Repository, names: Sequence[str]) -> list[Object | None]:
    """Returns the objects with these names, ``None`` for those that are missing or damaged."""
    try:
        return list(read_small_objects(repo, names, HEADER))
    except HostError:
        # Git gives up at an object that is damaged in its middle; halving finds out which one that is.
        if len(names) == 1:
            return [None]
        half = len(names) // 2
        return _read(repo, names[:half]) + _read(repo, names[half:])


def _header(flow: FlowId, item: Object | None) -> Header | None:
    try:
        row = json.loads(b"" if item is None else item.data)
        book = _field(row, "book", dict)
        return Header(
            flow=flow,
            name=_field(row, "name", str),
            status=_field(row, "status", str),
            killed=book.get("killed") is True,
            cursor=_optional(row, "cursor", str),
            position=_field(row, "position", int),
            steps=_field(row, "steps", int),
            round=_field(book, "round", int) if "round" in book else 0,
            events=_field(row, "seq", int),
            base=_field(row, "base", str),
            target=_field(row, "target", str),
            driver=_optional(row, "driver", str) or "runner",
            started=float(_field(row, "started", (int, float))),
            updated=float(_field(row, "updated", (int, float))),
            tasks=_optional(row, "tasks", dict),
            gate=_optional(row, "gate", dict),
            session=_optional(row, "session", dict),
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
