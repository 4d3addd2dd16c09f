"""Which flows there are, and where: what can be told without reading a whole one.

It loads neither the engine nor the spec's language, so that looking is quick.
"""

from __future__ import annotations

import json
from typing import cast

from stratum_git.errors import UserError
from stratum_git.git.objects import read_objects
from stratum_git.git.refs import read_ref, read_refs
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Json, RefName

PREFIX = "refs/stratum/flows/"


class UnknownFlowError(UserError):
    """There is no flow with this id in the repository."""

    def __init__(self, flow: FlowId) -> None:
        hint = "`stratum-git query flows` lists those of this repository"
        super().__init__(f"there is no flow called {flow}", hint=hint)


def flow_ref(flow: FlowId) -> RefName:
    """Returns the ref of a flow."""
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


def headers(repo: Repository) -> tuple[dict[str, Json], ...]:
    """Returns every flow in short, oldest first, with two git processes however many there are."""
    refs = read_refs(repo, PREFIX)
    found = read_objects(repo, [f"{tip}:state.json" for tip in refs.values()])
    rows = [json.loads(item.data) for item in found if item is not None]
    flows = [row for row in rows if isinstance(row, dict)]
    return tuple(sorted(flows, key=lambda row: (cast("float", row["started"]), str(row["flow"]))))
