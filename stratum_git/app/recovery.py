"""What a runner that is gone left behind: its slots, its leases, the attempts that it never reported.

A function of the refs, the slots' records and the process table. What a live process holds is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from stratum_git.core.questions import in_flight
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.workplace import SlotPlace
from stratum_git.git.objects import Signature
from stratum_git.model.ids import Oid, StepId, TaskId
from stratum_git.model.messages import Event, Lost, StepReported, TaskReported
from stratum_git.model.state import FlowState
from stratum_git.slots.leases import lease_ref, read_leases
from stratum_git.slots.pool import Slot

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
    """Makes a commit of whatever lies in the slots of a flow, and says which attempts are lost."""
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
