"""The leases of tasks that clients and pull workers do.

They are made in the transaction that hands a task out and end in the one that takes its report. No process
holds them: they live until they expire, so that a client may come back with another server.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

from stratum_git.agents.identity import own_identity
from stratum_git.dispatch.clock import now, uptime
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.names import attempt_ref, seen_ref
from stratum_git.git.refs import RefUpdate, tip_nowait
from stratum_git.model.effects import Effect, Launch
from stratum_git.model.ids import FlowId, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Event, Gathered, TaskReported
from stratum_git.slots.leases import HeldLease, Lease, has_ended, lease_ref, prolonged

OFFERED = ""
"""The holder of a task that nobody has claimed: it is offered to whoever drives the flow, or to workers."""
LIFETIME = 3600.0


def lease_updates(
    context: Context,
    flow: FlowId,
    events: Sequence[Event],
    effects: Iterable[Effect],
    known: Mapping[RefName, Oid],
    write: Callable[[Lease], Oid],
) -> list[RefUpdate]:
    """Returns the updates that end the leases of reported tasks and make those of tasks handed out.

    ``known`` are leases that the caller relies on; the others are taken as they are. New ones are written
    by ``write``.
    """
    wanted: dict[RefName, Oid | None] = {}
    for event in events:
        if isinstance(event, Gathered):
            wanted |= {lease_ref(flow, event.step, report.task): None for report in event.reports}
            wanted |= {_seen(flow, event.step, told.task, told.attempt): None for told in event.reports}
        elif isinstance(event, TaskReported):
            wanted[lease_ref(flow, event.step, event.task)] = None
            wanted[_seen(flow, event.step, event.task, event.attempt)] = None
    for effect in effects:
        if isinstance(effect, Launch):
            token = write(offer(flow, effect))
            wanted[lease_ref(flow, effect.step, effect.task)] = token
    if not wanted:
        return []
    moves = ((ref, known.get(ref) or tip_nowait(context.repo, ref), new) for ref, new in wanted.items())
    return [RefUpdate(ref, new, old) for ref, old, new in moves if old != new]


def lease_id(lease: Lease) -> str:
    """Returns the name of a lease: it stays the same when the lease is renewed, and no other has it."""
    return f"{lease.flow}/{lease.step}/{lease.task}/{lease.attempt}-{lease.nonce}"


def granted(lease: Lease, seconds: float) -> Lease:
    """Returns *lease*, for *seconds* from now on; this process answers for the clocks."""
    return prolonged(lease, seconds, now=now(), uptime=uptime())


def is_over(lease: Lease) -> bool:
    """Returns whether the time of a lease is over."""
    return has_ended(lease, now=now(), uptime=uptime())


def is_offered(held: HeldLease | None) -> bool:
    """Returns whether a task is anybody's who drives its flow."""
    return held is not None and held.lease is not None and held.lease.kind == "open" and not held.lease.holder


def is_claimed(held: HeldLease) -> bool:
    """Returns whether a worker is at a task, and not late."""
    lease = held.lease
    return lease is not None and lease.kind == "open" and lease.holder != OFFERED and not is_over(lease)


def offer(flow: FlowId, launch: Launch) -> Lease:
    """Returns the lease of a task that anybody may take."""
    lease = Lease(
        flow=flow,
        step=launch.step,
        task=launch.task,
        attempt=launch.attempt,
        holder=OFFERED,
        identity=own_identity(),
        nonce=secrets.token_hex(8),
        expires=0.0,
        kind="open",
    )
    return granted(lease, LIFETIME)


def _seen(flow: FlowId, step: StepId, task: TaskId, attempt: int) -> RefName:
    """Returns the ref of what a hook saw of an attempt: once it is reported, that is on a ref of its own."""
    return seen_ref(attempt_ref(flow, step, task, attempt))
