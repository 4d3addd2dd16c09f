"""What a runner that is gone left behind: its slots, its leases, the attempts that it never reported.

A function of the refs, the slots' records and the process table. What a live process holds is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from filelock import FileLock, Timeout

from stratum_git.core.questions import in_flight, is_over
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.names import attempt_ref
from stratum_git.dispatch.workplace import SlotPlace
from stratum_git.errors import StratumError
from stratum_git.git.commits import commits_of
from stratum_git.git.objects import Signature
from stratum_git.git.refs import RefUpdate, tip_nowait, transact
from stratum_git.model.ids import FlowId, Oid, StepId, TaskId
from stratum_git.model.messages import Event, Lost, StepReported, TaskReported
from stratum_git.model.state import FlowState
from stratum_git.slots.leases import lease_ref, read_leases
from stratum_git.slots.pool import Slot
from stratum_git.spawn.orphans import end_orphans
from stratum_git.store.flows import load

Key = tuple[StepId, TaskId | None]
WHY = "whoever ran it is gone"


@dataclass(frozen=True, slots=True)
class Recovered:
    """The events that tell of lost attempts, the leases that are still there, and how to free the slots."""

    events: tuple[Event, ...]
    leases: Mapping[Key, Oid]
    context: Context
    slots: tuple[Slot, ...]

    def release(self) -> None:
        """Gives the slots back. Called when the events, and with them the work, are in the repository."""
        for slot in self.slots:
            self.context.pool.release(slot)


def recover(context: Context, state: FlowState) -> Recovered:
    """Makes a commit of whatever lies in the slots of a flow, and says which attempts are lost.

    The caller has the flow's lock, so whoever ran it before is gone; what he had started is seen out first.
    """
    see_out(context, state.flow)
    slots = context.pool.recover(state.flow)
    work = {_key(slot): _rescued(context, slot) for slot in slots}
    events: list[Event] = []
    for step, task, attempt in in_flight(state):
        lost = Lost(WHY, work.get((step, task, attempt)))
        if task is None:
            events.append(StepReported(now(), context.holder, step, attempt, lost))
        else:
            events.append(TaskReported(now(), context.holder, step, task, attempt, lost))
    held = read_leases(context.repo, state.flow)
    refs = {lease_ref(state.flow, step, task): (step, task) for step, task, _ in in_flight(state)}
    leases = {refs[ref]: lease.token for ref, lease in held.items() if ref in refs}
    return Recovered(tuple(events), leases, context, slots)


def see_out(context: Context, flow: FlowId) -> None:
    """Returns when nothing is at work any more that processes had started for *flow* and that are gone."""
    folders, repo = context.folders, context.repo
    end_orphans(folders.attempts(flow), (repo.root, repo.common_dir, folders.root))


def give_back(context: Context) -> None:
    """Gives back the slots of flows that are over: whoever ran them was killed when he had reported.

    Of a flow that somebody holds nothing is touched, nor of one that cannot be read.
    """
    for flow in sorted({FlowId(who.flow) for who in context.pool.occupants()}):
        lock = FileLock(context.folders.locks / f"flow-{flow}.lock", thread_local=False)
        try:
            with lock.acquire(timeout=0):
                give_back_of(context, load(context.repo, flow)[0].state)
        except (Timeout, StratumError):
            # Somebody has it, or it cannot be read; `doctor` tells of it.
            continue


def give_back_of(context: Context, state: FlowState) -> None:
    """Gives back what a flow has left, if it is over. The caller has its lock."""
    if not is_over(state):
        return
    see_out(context, state.flow)
    left = list(context.pool.recover(state.flow))
    try:
        while left:
            _keep(context, left[-1], _rescued(context, left[-1]))
            context.pool.release(left.pop())
    finally:
        for slot in left:
            context.pool.leave(slot)


def _keep(context: Context, slot: Slot, work: Oid | None) -> None:
    """Puts what lies in a slot on the ref of its attempt, unless what was reported is just that."""
    key = _key(slot)
    ref = attempt_ref(FlowId(slot.occupant.flow), *key)
    known = [tip_nowait(context.repo, name) for name in (slot.branch, ref)]
    commits = commits_of(context.repo, [oid for oid in (work, *known) if oid is not None])
    if work is None or commits[work].tree in {commits[oid].tree for oid in known if oid is not None}:
        return
    transact(context.repo, [RefUpdate(ref, work, known[1])], message="stratum-git", durable=True)


def _key(slot: Slot) -> tuple[StepId, TaskId | None, int]:
    who = slot.occupant
    return StepId(who.step), None if who.task is None else TaskId(who.task), who.attempt


def _rescued(context: Context, slot: Slot) -> Oid | None:
    who = slot.occupant
    name = who.task or who.step
    folder = context.folders.attempt(who.flow, who.step, who.task, who.attempt)
    place = SlotPlace(context, slot, folder, slot.base)
    author = Signature(context.identity.name, context.identity.email, now(), context.identity.tz)
    message = f"{name}: attempt {who.attempt}\n\nWhat was in its slot when its runner died.\n"
    captured = partial(place.capture, slot.base, message, author)()
    return None if captured.result == slot.base else captured.result
