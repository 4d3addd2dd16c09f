"""The newest flows with all of their events, so many and no more: what an estimate is made from.

Few git processes, however many flows there are, and few events in memory at once. A flow that cannot be read,
or is longer than what is read, is left out: whoever asks wants to know what is usual, not everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from stratum_git.core import codec
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.errors import StratumError
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Json, Oid
from stratum_git.model.messages import Event
from stratum_git.model.state import Program
from stratum_git.store.listing import PREFIX

LARGEST = 256 * 1024
"""Bytes of a ``state.json`` or a spec that are read; they have some thousand."""
AT_ONCE = 500
"""Events, about, that are read at one time."""


@dataclass(frozen=True, slots=True)
class Past:
    """A flow, and all of its events, oldest first."""

    flow: FlowId
    program: Program
    events: tuple[Event, ...]


def newest_flows(repo: Repository, most: int, most_events: int) -> Iterator[Past]:
    """Yields the flows that were written last, of which *most_events* in all hold the whole history."""
    listed = repo.git.run(
        "for-each-ref",
        "--sort=-committerdate",
        f"--count={most}",
        "--format=%(objectname) %(refname)",
        PREFIX,
    )
    rows = [line.split(" ", 1) for line in listed.stdout.decode("utf-8", "replace").splitlines()]
    tips = {FlowId(name.removeprefix(PREFIX)): Oid(oid) for oid, name in rows}
    parents = _history(repo, list(tips.values()), most_events)
    chains = {flow: chain for flow, tip in tips.items() if (chain := _chain(parents, tip))}
    some: dict[FlowId, tuple[str, ...]] = {}
    for flow, chain in chains.items():
        some[flow] = chain
        if sum(map(len, some.values())) >= AT_ONCE:
            yield from _read_some(repo, tips, some)
            some = {}
    yield from _read_some(repo, tips, some)


def _read_some(
    repo: Repository, tips: Mapping[FlowId, Oid], chains: Mapping[FlowId, tuple[str, ...]]
) -> Iterator[Past]:
    names = [f"{oid}:state.json" for chain in chains.values() for oid in chain]
    specs = [f"{tips[flow]}:spec.yaml" for flow in chains]
    try:
        found = read_small_objects(repo, [*names, *specs], LARGEST)
    except StratumError:
        return
    at = 0
    for (flow, chain), spec in zip(chains.items(), found[len(names) :], strict=True):
        blobs = found[at : at + len(chain)]
        at += len(chain)
        if spec is not None and None not in blobs:
            past = _read(flow, spec.data, [blob.data for blob in blobs if blob is not None])
            if past is not None:
                yield past


def _history(repo: Repository, tips: list[Oid], most: int) -> Mapping[str, str | None]:
    """Returns the commits of flows by their names, each with the one before it."""
    if not tips:
        return {}
    asked = ("rev-list", "--first-parent", "--parents", f"--max-count={most}", *tips)
    found: dict[str, str | None] = {}
    for line in repo.git.run(*asked).stdout.decode().splitlines():
        commit, *before = line.split(" ")
        found[commit] = before[0] if before else None
    return found


def _chain(parents: Mapping[str, str | None], tip: Oid) -> tuple[str, ...]:
    """Returns the commits of a flow's events, oldest first; none when not all of them were read."""
    chain: list[str] = []
    at: str | None = tip
    while at is not None:
        if at not in parents:
            return ()
        chain.append(at)
        at = parents[at]
    # Under the first event is a commit that has the spec alone.
    return tuple(reversed(chain[:-1]))


def _read(flow: FlowId, spec: bytes, states: list[bytes]) -> Past | None:
    try:
        heads = [codec.load(data) for data in states]
        loaded = load_spec(spec.decode())
        name = heads[0].get("name") if heads and isinstance(heads[0], dict) else None
        program = None if loaded.spec is None else compile_program(loaded.spec, str(name))
        if not isinstance(program, Program):
            return None
        events = tuple(cast("Event", codec.decode_any(_event(head))) for head in heads)
    except (StratumError, UnicodeDecodeError):
        return None
    return Past(flow, program, events)


def _event(head: Json) -> Json:
    return head.get("event") if isinstance(head, dict) else None
