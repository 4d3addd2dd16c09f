"""What a runner that is gone left behind: its slots, its leases, the attempts that it never reported.

A function of the refs, the slots' records and the process table. What a live process holds is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from filelock import FileLock, Timeout

from stratum_git.core.questions import in_flight, is_over
from stratum_git.core.resolving import open_resolutions
from stratum_git.core.sessions import STEP, is_open
from stratum_git.dispatch.clock import monotonic, now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.talking import noted_conversation
from stratum_git.dispatch.workplace import SlotPlace
from stratum_git.errors import StratumError
from stratum_git.git import stale_locks
from stratum_git.git.objects import Signature
from stratum_git.model.ids import FlowId, Oid, StepId, TaskId
from stratum_git.model.messages import Event, Lost, StepReported, TaskReported
from stratum_git.model.state import FlowState
from stratum_git.slots.leases import lease_ref, read_leases
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.slot import Slot
from stratum_git.spawn.orphans import end_orphans
from stratum_git.spawn.temporary import sweep_temporary
from stratum_git.store.flows import load

Key = tuple[StepId, TaskId | None]
WHY = "whoever ran it is gone"


@dataclass(frozen=True, slots=True)
class Recovered:
    """The events that tell of lost attempts, the leases that are still there, and how to free the slots."""

    events: tuple[Event, ...]
    leases: Mapping[Key, Oid]
    places: tuple[SlotPlace, ...]
    inhabited: bool = False
    """Whoever was in the slots is no process of ours, and may still be there."""

    def release(self) -> None:
        """Gives the slots back. Called when the events, and with them the work, are in the repository."""
        for place in self.places:
            if self.inhabited:
                place.retire()
            else:
                place.close()


def recover(context: Context, state: FlowState) -> Recovered:
    """Makes a commit of whatever lies in the slots of a flow, and says which attempts are lost.

    The caller has the flow's lock, so whoever ran it before is gone; what he had started is seen out first.
    """
    see_out(context, state.flow)
    # Of a session whose turn was cut off, its slot is looked at, too, and left to it again.
    spare = inhabited(state) if not (is_open(state) and in_flight(state)) else frozenset()
    places = tuple(
        replace(place_of(context, slot), stays=is_open(state))
        for slot in context.pool.recover(state.flow, spare=spare)
    )
    work = {_key(place.slot): rescued(context, place) for place in places}
    events: list[Event] = []
    for step, task, attempt in in_flight(state):
        lost = Lost(WHY, work.get((step, task, attempt)))
        if state.book.session is not None:
            folder = context.folders.attempt_path(state.flow, step, task, attempt)
            lost = replace(lost, usage=noted_conversation(folder))
        if task is None:
            events.append(StepReported(now(), context.holder, step, attempt, lost))
        else:
            events.append(TaskReported(now(), context.holder, step, task, attempt, lost))
    held = read_leases(context.repo, state.flow)
    refs = {lease_ref(state.flow, step, task): (step, task) for step, task, _ in in_flight(state)}
    leases = {refs[ref]: lease.token for ref, lease in held.items() if ref in refs}
    return Recovered(tuple(events), leases, places, inhabited=state.driver == "client")


def see_out(context: Context, flow: FlowId) -> None:
    """Returns when nothing is at work any more that processes had started for *flow* and that are gone."""
    folders, repo = context.folders, context.repo
    end_orphans(folders.attempts(flow), (repo.root, repo.common_dir, folders.root))
    clear_locks(context, flow)


def clear_locks(context: Context, flow: FlowId) -> None:
    """Deletes the locks that killed gits left on the refs of a flow: once it is over nobody meets them."""
    refs = context.repo.common_dir / "refs"
    locks = [refs / "stratum/flows" / f"{flow}.lock"]
    for folder in ("stratum/leases", "stratum/attempts", "stratum/conflicts", "heads/stratum"):
        locks += (refs / folder / flow).rglob("*.lock")
    for lock in locks:
        if lock.exists():
            stale_locks.clear(context.repo.common_dir, lock)


def give_back(context: Context) -> None:
    """Gives back the slots of flows that are over: whoever ran them was killed when he had reported.

    Of a flow that somebody holds nothing is touched, nor of one that cannot be read.
    """
    if not (context.folders.root / "slots").is_dir():
        return
    for flow in sorted({FlowId(who.flow) for who in context.pool.occupants()}):
        lock = FileLock(context.folders.locks / f"flow-{flow}.lock", thread_local=False, mode=0o600)
        try:
            # Looked at before: the lock of one that is going on is not to be taken, be it for a moment.
            if not is_over(load(context.repo, flow)[0].state):
                continue
            with lock.acquire(timeout=0):
                give_back_of(context, load(context.repo, flow)[0].state)
        except (Timeout, StratumError):
            # Somebody has it, or it cannot be read; `doctor` tells of it.
            continue


def inhabited(state: FlowState) -> frozenset[Occupant]:
    """Returns whose slots stay although no process holds them.

    They are people's, who resolve conflicts of a flow in them, or a session's between its turns.
    """
    found = open_resolutions(state)
    people = frozenset(Occupant(state.flow, step, task, who.attempt) for step, task, who in found)
    session = state.book.session
    if session is None or not is_open(state):
        return people
    numbers = range(1, session.attempts + 2)
    return people | {Occupant(state.flow, STEP, None, number) for number in numbers}


def give_back_of(context: Context, state: FlowState) -> None:
    """Gives back what a flow has left, if it is over. The caller has its lock."""
    if not is_over(state):
        return
    see_out(context, state.flow)
    left = [place_of(context, slot) for slot in context.pool.recover(state.flow, spare=inhabited(state))]
    try:
        while left:
            rescued(context, left[-1])
            place = left.pop()
            if state.driver == "client":
                place.retire()
            else:
                place.close()
    finally:
        for place in left:
            place.abandon()


def tidy(context: Context, limit: float) -> None:
    """Throws away what nobody needs, and deletes for about *limit* seconds of what was thrown away."""
    sweep_temporary()
    if (context.folders.root / "slots").is_dir():
        context.pool.tidy()
        context.pool.empty_trash(limit, monotonic)


def _key(slot: Slot) -> tuple[StepId, TaskId | None, int]:
    who = slot.occupant
    return StepId(who.step), None if who.task is None else TaskId(who.task), who.attempt


def place_of(context: Context, slot: Slot) -> SlotPlace:
    """Returns the place that a slot is."""
    who = slot.occupant
    return SlotPlace(
        context, slot, context.folders.attempt(who.flow, who.step, who.task, who.attempt), slot.base
    )


def rescued(context: Context, place: SlotPlace) -> Oid | None:
    """Makes a commit of what lies in a place that nobody is in; ``None`` when that is nothing."""
    who = place.slot.occupant
    name = who.task or who.step
    author = Signature(context.identity.name, context.identity.email, now(), context.identity.tz)
    message = f"{name}: attempt {who.attempt}\n\nWhat was in its slot when its runner died.\n"
    captured = place.capture(place.base, message, author)
    return None if captured.result == place.base else captured.result
