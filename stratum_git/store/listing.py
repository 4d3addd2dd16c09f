"""Which flows there are, and where: what can be told without reading a whole one.

It loads neither the engine nor the spec's language, so that looking is quick. A flow that cannot be read is
named and hides no other one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import ClassVar

from stratum_git.errors import HostError, UserError
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.objects import Object, read_objects
from stratum_git.git.refs import read_ref, survey_refs
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Oid, RefName
from stratum_git.store.headers import (
    HEADER,
    PREFIX,
    STATE,
    Header,
    Listing,
    every_flow,
    is_id,
    listing_of,
    only_open,
    open_flows,
)

__all__ = [
    "PREFIX",
    "Header",
    "Listing",
    "UnknownFlowError",
    "event_count",
    "flow_ref",
    "known_ref",
    "list_flows",
    "list_open",
]


class UnknownFlowError(UserError):
    """There is no flow with this id in the repository."""

    word: ClassVar[str] = "NOT_FOUND"

    def __init__(self, flow: FlowId) -> None:
        hint = "`stratum-git query flows` lists those of this repository"
        super().__init__(f"there is no flow called {flow}", hint=hint)


def flow_ref(flow: FlowId) -> RefName:
    """Returns the ref of a flow; raises UnknownFlowError for what is the id of none: ids are no paths."""
    if not is_id(flow):
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
    found = every_flow(str(repo.common_dir), _reader(repo), last)
    if found is None:
        tips, said = survey_refs(repo, PREFIX)
        return listing_of(str(repo.common_dir), _reader(repo), tips, said, last)
    return found


def list_open(repo: Repository) -> Listing:
    """Returns the flows that are not over, and sessions that are not closed; others hardly cost anything."""
    found = open_flows(str(repo.common_dir), _reader(repo))
    return only_open(list_flows(repo)) if found is None else found


def _reader(repo: Repository) -> Callable[[Sequence[Oid]], list[bytes | None]]:
    def read(tips: Sequence[Oid]) -> list[bytes | None]:
        found = _read(repo, [f"{tip}:{STATE}" for tip in tips])
        return [None if item is None else item.data for item in found]

    return read


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
