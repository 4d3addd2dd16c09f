"""Pull workers: whoever has time takes a task, does it in the place it is given, and reports.

A task is a worker's by its lease. The lease has a name that is nobody else's, and an end; whether that has
come is judged whenever somebody claims, renews or reports. Whoever is late is told so, and his work is kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from stratum_git.app.asked import Asked, Fence
from stratum_git.app.batches import row_of
from stratum_git.app.clients import CLAIM, note, session_of
from stratum_git.app.desk import Desk
from stratum_git.app.leasing import OFFERED, granted, is_over, lease_id
from stratum_git.app.lodging import Lodging, PlaceBusy, launch_of, lodge, parting, report, vacate
from stratum_git.app.refused import Refused
from stratum_git.app.reports import record
from stratum_git.core.answers import Answer
from stratum_git.dispatch.clock import now
from stratum_git.errors import BugError
from stratum_git.git.refs import RefUpdate, tip_nowait
from stratum_git.model.effects import Launch
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Event, Lost, Outcome, Rejected, TaskReported
from stratum_git.model.state import FannedOut, FlowState, Running
from stratum_git.slots.lease_words import LONGEST
from stratum_git.slots.leases import HeldLease, Lease, lease_ref
from stratum_git.store.listing import list_open

RACES = 100
WORDS = ("complete", "failed")
Offer: TypeAlias = tuple[int, HeldLease, Lease]
"""A task by its index, and its lease."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease that somebody names, as it stands."""

    held: HeldLease
    lease: Lease
    state: FlowState

    @property
    def launch(self) -> Launch:
        """Returns the attempt that it is for."""
        task = None if self.lease.task is None else TaskId(self.lease.task)
        return Launch(StepId(self.lease.step), task, self.lease.attempt)


def claim(desk: Desk, flow: FlowId | None, worker: str, seconds: float) -> Answer:
    """Gives *worker* a task, of *flow* or of any flow; of several who want the same, one gets it."""
    if not worker.strip():
        raise Refused("invalid_worker", "worker must be a name")
    _bounded(seconds)
    for name in _flows(desk, flow):
        taken = _claimed_of(desk, name, worker.strip(), seconds)
        if taken is not None:
            return taken
    return {"status": "idle", "message": "there is no task to be had now", "flow_id": flow}


def renew(desk: Desk, lease: str, seconds: float) -> Answer:
    """Lets a worker keep his task for longer."""
    found = _claimed(desk, lease)
    later = granted(found.lease, _bounded(seconds))
    ref = lease_ref(later.flow, later.step, later.task)
    if not desk.move(RefUpdate(ref, desk.write_lease(later), found.held.token)):
        raise _lost(lease)
    return {"status": "renewed", "lease": lease, "expires_at": later.expires}


def complete(desk: Desk, lease: str, status: str, result: Json) -> Answer:
    """Takes a worker's report; what he claims is checked."""
    if status not in WORDS:
        raise Refused("invalid_status", f"status must be one of {list(WORDS)}, got {status!r}")
    found = _claimed(desk, lease)
    failure = _words(result) if status == "failed" else None
    with parting() as places:
        outcome, place = report(desk.context, found.state, found.launch, failure=failure, output=result)
        places.extend(() if place is None else (place,))
        answer = _reported(desk, lease, outcome)
    return {**answer, **_verdict(outcome)}


def abandon(desk: Desk, lease: str, reason: str) -> Answer:
    """Takes a task back from a worker who will not do it: another one gets it. What he left is kept."""
    found = _claimed(desk, lease)
    why = f"given back by {found.lease.holder}: {reason}"
    with parting() as places:
        lost, place = vacate(desk.context, found.state, found.launch, why)
        places.extend(() if place is None else (place,))
        answer = _reported(desk, lease, lost)
    return {**answer, "status": "abandoned", "kept": lost.result}


def _flows(desk: Desk, flow: FlowId | None) -> Iterator[FlowId]:
    if flow is not None:
        yield flow
        return
    for header in list_open(desk.context.repo).headers:
        if header.status == "running" and header.driver == "client" and header.tasks:
            yield header.flow


def _claimed_of(desk: Desk, flow: FlowId, worker: str, seconds: float) -> Answer | None:
    """Returns a task of *flow*, or ``None``: what others changed while this looked is looked at again."""
    for _ in range(RACES):
        state = desk.look(flow)
        offers = tuple(_offers(desk, state))
        for index, held, lease in offers:
            if lease.holder != OFFERED and is_over(lease):
                _take_back(desk, state, index, held, lease)
        taken = _taken(desk, state, offers, worker, seconds)
        if taken is not None or desk.look(flow).seq == state.seq:
            return taken
    return None


def _offers(desk: Desk, state: FlowState) -> Iterator[Offer]:
    """Yields the tasks that are no process's, from a random one on, so that not all want the same."""
    fan = None if state.cursor is None else state.step(state.cursor)
    if not isinstance(fan, FannedOut) or state.cursor is None:
        return
    leases = desk.leases.of(state.flow)
    under_way = [i for i, at in enumerate(fan.tasks) if isinstance(at, Running) and at.stopping is None]
    start = secrets.randbelow(len(under_way)) if under_way else 0
    for index in (*under_way[start:], *under_way[:start]):
        held = leases.get(lease_ref(state.flow, state.cursor, fan.graph.tasks[index].id))
        # The leases were read after the state: one of a later attempt is not for what is known of the task.
        attempt = launch_of(fan, state.cursor, index).attempt
        lease = None if held is None else held.lease
        if held is not None and lease is not None and (lease.kind, lease.attempt) == ("open", attempt):
            yield index, held, lease


def _taken(
    desk: Desk, state: FlowState, offers: Sequence[Offer], worker: str, seconds: float
) -> Answer | None:
    fan = None if state.cursor is None else state.step(state.cursor)
    if not isinstance(fan, FannedOut) or state.cursor is None:
        return None
    for index, held, lease in offers:
        if lease.holder != OFFERED:
            continue
        session = session_of(desk.around.environment)
        mine = replace(lease, holder=worker, nonce=secrets.token_hex(8), session=session)
        mine = granted(mine, seconds)
        ref = lease_ref(lease.flow, lease.step, lease.task)
        token = _token_of(desk, ref, held, mine)
        if token is None:
            continue
        launch = launch_of(fan, state.cursor, index)
        try:
            lodged = lodge(desk.context, state, launch)
        except BaseException:
            # The worker hears of no lease, so nobody could give it back.
            desk.move(RefUpdate(ref, held.token, token))
            raise
        if isinstance(lodged, Lodging):
            note(desk.context.folders.root, session, state.flow, CLAIM)
            row = row_of(launch, lodged, HeldLease(token, mine))
            return {"status": "claimed", "flow_id": state.flow, "step_id": state.cursor, **row}
        _reported(desk, lease_id(mine), lodged)
    return None


def _token_of(desk: Desk, ref: RefName, held: HeldLease, mine: Lease) -> Oid | None:
    """Returns the token of *mine*, the lease in place of the offer *held*; ``None`` if somebody has that."""
    with desk.wanting(ref) as is_first:
        # Who tries all the same loses the race, and has waited for the disk.
        if not is_first or tip_nowait(desk.context.repo, ref) != held.token:
            return None
        token = desk.write_lease(mine)
        return token if desk.move(RefUpdate(ref, token, held.token)) else None


def _take_back(desk: Desk, state: FlowState, index: int, held: HeldLease, lease: Lease) -> None:
    """Takes a task back from a worker who is late; his work is kept.

    Nothing is done where somebody was first, or the worker himself is just reporting.
    """
    fan = None if state.cursor is None else state.step(state.cursor)
    if not isinstance(fan, FannedOut) or state.cursor is None:
        return
    launch = launch_of(fan, state.cursor, index)
    fence = Fence(lease_ref(lease.flow, lease.step, lease.task), held.token)
    with desk.alone(state.flow), suppress(_TakenMeanwhile, PlaceBusy), parting(retired=True) as places:
        if tip_nowait(desk.context.repo, fence.ref) != fence.token:
            return
        lost, place = vacate(desk.context, state, launch, f"the lease of {lease.holder} ended")
        places.extend(() if place is None else (place,))
        _ended(desk, state.flow, _event(lease, lost), fence)


def _ended(desk: Desk, flow: FlowId, event: Event, fence: Fence) -> None:
    try:
        desk.act(flow, lambda _: [event], fence)
    except Refused as refused:
        if refused.kind == "lease_lost":
            raise _TakenMeanwhile from refused
        raise


class _TakenMeanwhile(Exception):  # noqa: N818 - no error: somebody else, or the worker himself, was quicker
    """A lease is not any more what it was."""


def _is_over(state: FlowState, launch: Launch) -> bool:
    """Returns whether an attempt is not under way any more."""
    fan = state.step(launch.step)
    if not isinstance(fan, FannedOut) or launch.task is None:
        return True
    at = fan.tasks[fan.graph.index[launch.task]]
    return not isinstance(at, Running) or at.attempt != launch.attempt


def _claimed(desk: Desk, name: str) -> Claim:
    """Returns the lease called *name*; refuses when it is not that worker's any more."""
    parts = name.split("/")
    if len(parts) != 4:
        raise Refused("lease_not_found", f"there is no lease called {name}")
    flow, step, task, _ = parts
    state = desk.look(FlowId(flow))
    held = desk.leases.one(lease_ref(flow, step, task))
    if held is None or held.lease is None or lease_id(held.lease) != name or held.lease.holder == OFFERED:
        raise _lost(name)
    if is_over(held.lease):
        message = f"the lease {name} has ended"
        raise Refused("lease_expired", message, hint="claim a task; what you left is kept")
    return Claim(held, held.lease, state)


def _reported(desk: Desk, name: str, outcome: Outcome) -> Answer:
    """Records what became of a task, if the lease is still what it was."""
    found = _claimed(desk, name)
    lease = found.lease
    fence = Fence(lease_ref(lease.flow, lease.step, lease.task), found.held.token)
    event = _event(lease, outcome)
    flow = FlowId(lease.flow)

    def decide(state: FlowState) -> list[Event]:
        if state.seq != found.state.seq:
            _claimed(desk, name)
        return [event]

    asked = Asked(decide, (fence,))
    state = record(desk, flow, asked)
    if not _is_over(state, found.launch):
        raise BugError(f"the report of {name} was not taken")
    return {"lease": name, "flow_id": flow, "task_id": lease.task, "flow_status": state.status}


def _event(lease: Lease, outcome: Outcome) -> TaskReported:
    if lease.task is None:
        raise BugError("a lease of no task")
    step, task = StepId(lease.step), TaskId(lease.task)
    return TaskReported(now(), lease.holder or "stratum-git", step, task, lease.attempt, outcome)


def _verdict(outcome: Outcome) -> Answer:
    match outcome:
        case Rejected(kind=kind, findings=findings):
            return {"status": "rejected", "reason": kind, "findings": list(findings)}
        case Lost():
            return {"status": "abandoned"}
        case _:
            return {"status": "accepted", "result": outcome.result}


def _words(result: Json) -> str:
    if isinstance(result, dict):
        said = result.get("error") or result.get("message")
        if isinstance(said, str):
            return said[:1000]
    return "the worker says that it failed"


def _bounded(seconds: float) -> float:
    if not 0 < seconds <= LONGEST:
        message = f"seconds must be above 0 and at most {LONGEST:.0f}, got {seconds:g}"
        raise Refused("invalid_seconds", message)
    return seconds


def _lost(name: str) -> Refused:
    hint = "claim a task; what you left is kept"
    return Refused("lease_lost", f"the lease {name} is not yours any more", hint=hint)
