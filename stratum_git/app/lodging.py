"""The places in which clients and workers do tasks: made when a task is handed out, and left to them.

No process holds such a place while its tenant is at work: what says whose it is is its record, and how long,
the lease. Whoever takes the report enters it, makes a commit of what is there, judges it, and gives it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import trio
from filelock import Timeout

from stratum_git.agents.command import inherited
from stratum_git.agents.output import replace_private
from stratum_git.app.locks import locked
from stratum_git.app.recovery import inhabited, place_of, rescued, see_out
from stratum_git.app.refused import Refused
from stratum_git.core.questions import in_flight
from stratum_git.dispatch.bases import Clash, base_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.errand import Errand, Unclear, errand_for
from stratum_git.dispatch.judge import Finding, judge_output, judge_tree, run_commands
from stratum_git.dispatch.names import branch_ref
from stratum_git.dispatch.workplace import SlotPlace, Workplace, WorkplaceError, fresh_folder, open_workplace
from stratum_git.errors import BugError, HostError
from stratum_git.git.objects import Signature
from stratum_git.git.snapshot import Captured
from stratum_git.model.effects import Launch
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Completed, Lost, Outcome, Rejected
from stratum_git.model.spec import Command
from stratum_git.model.state import FannedOut, FlowState, Running
from stratum_git.slots.occupancy import Occupant
from stratum_git.spawn.orphans import is_dead, own_mark

BEFORE = "stash.json"
"""What was in the stash before, in the attempt's own folder: what is new in it then is the attempt's."""
MAKING, ENTERED = "making", "entered"
"""Beside it: who makes a place, and who was the last to take a report of what is in it."""
PATIENCE = 120.0


class PlaceBusy(Refused):
    """Another process has entered the place of an attempt: its report is being taken."""


@dataclass(frozen=True, slots=True)
class Lodging:
    """Where a task is to be done, and what is to be done there."""

    path: Path
    base: Oid
    branch: RefName | None
    errand: Errand


def launch_of(fan: FannedOut, step: StepId, index: int) -> Launch:
    """Returns the attempt of a task that is under way."""
    now_ = fan.tasks[index]
    if not isinstance(now_, Running):
        raise BugError(f"task {index} of {step} is not under way")
    return Launch(step, fan.graph.tasks[index].id, now_.attempt, now_.findings)


def lodge(context: Context, state: FlowState, launch: Launch) -> Lodging | Rejected:
    """Returns the place of an attempt, made if it is not there yet; or why there can be none."""
    errand = errand_for(state, launch)
    if isinstance(errand, Unclear):
        return Rejected("base", errand.why)
    if errand.isolation == "none":
        return Lodging(context.repo.root, state.base, None, errand)
    who = _occupant(state, launch)
    with _turn(context, who):
        folder = context.folders.attempt(state.flow, launch.step, launch.task, launch.attempt)
        if _is_cut_off(folder / MAKING):
            _unmake(context, who)
        found = context.pool.find(who, awake=True) or _made(context, state, launch, errand)
    if isinstance(found, Rejected):
        return found
    return Lodging(*found, branch_ref(state.flow, launch.step, launch.task), errand)


def report(
    context: Context,
    state: FlowState,
    launch: Launch,
    *,
    failure: str | None,
    output: Json,
    launched: bool = True,
) -> tuple[Outcome, Workplace | None]:
    """Makes a commit of what an attempt left, and returns what it comes to, by git's facts.

    ``failure`` is what whoever did it says went wrong. The place is given back by the caller, after the
    outcome was recorded. One that was never *launched* has none, and none is looked for.
    """
    errand = errand_for(state, launch)
    place = enter(context, state, launch) if launched else None
    if isinstance(errand, Unclear):
        return Rejected("base", errand.why), place
    if place is None:
        return _without_place(state, launch, errand, failure, output), None
    wants = errand.wants
    # What looks at the result before it is recorded wants it to be on the disk.
    captured = capture(context, launch, place, held=not (wants.ensure or wants.verify))
    base, result = place.base, captured.result
    if failure is not None:
        return Rejected("agent", (failure,), base, result, output=output), place
    finding = place.violation() or judge_tree(context.repo, base, captured, wants)
    finding = finding or judge_output(context.repo, result, output, wants)
    finding = finding or _run(context, wants.verify, place, "verify")
    if finding is not None:
        return Rejected(finding.kind, finding.lines, base, result, output=output), place
    return Completed(base, result, output), place


def vacate(context: Context, state: FlowState, launch: Launch, why: str) -> tuple[Lost, Workplace | None]:
    """Makes a commit of what an attempt left that nobody will report, and returns what it comes to."""
    place = enter(context, state, launch)
    if place is None:
        return Lost(why), None
    captured = capture(context, launch, place)
    return Lost(why, None if captured.result == place.base else captured.result), place


def enter(context: Context, state: FlowState, launch: Launch) -> SlotPlace | None:
    """Returns the place of an attempt, held by this process; ``None`` when it has none."""
    who = _occupant(state, launch)
    with _turn(context, who):
        slot = context.pool.enter(who)
        if slot is None and context.pool.find(who) is not None:
            # Without the place nothing of the work would be seen.
            hint = "call again when that is over"
            raise PlaceBusy(
                "place_busy", f"another process is in the place of {who.task or who.step}", hint=hint
            )
        if slot is None:
            return None
        folder = context.folders.attempt(state.flow, launch.step, launch.task, launch.attempt)
        if _is_cut_off(folder / ENTERED):
            see_out(context, state.flow)
        replace_private(folder / ENTERED, own_mark().encode("ascii"))
        return SlotPlace(context, slot, folder, slot.base, _stash_before(folder))


@contextmanager
def parting(*, retired: bool = False) -> Iterator[list[Workplace]]:
    """Takes places whose work is being recorded, and gives them back when it is; else they stay as they are.

    With *retired* nobody gets them again: their tenants were not asked to leave, and may still be there.
    """
    places: list[Workplace] = []
    try:
        yield places
    except BaseException:
        for place in places:
            if isinstance(place, SlotPlace):
                place.forgo()
            place.abandon()
        raise
    for place in places:
        if retired:
            place.retire()
        else:
            place.close()


def reclaim(context: Context, state: FlowState) -> None:
    """Gives back the places of attempts that are over: whoever took their reports died before he did.

    The caller keeps others from acting for the flow: what is under way is as *state* has it.
    """
    spare = frozenset(Occupant(state.flow, *attempt) for attempt in in_flight(state)) | inhabited(state)
    for slot in context.pool.recover(state.flow, spare=spare):
        place = place_of(context, slot)
        rescued(context, place)
        place.retire()


def capture(context: Context, launch: Launch, place: Workplace, *, held: bool = False) -> Captured:
    """Makes a commit of what is in a place; *held*, it comes to be with the event that speaks of it."""
    name = str(launch.task or launch.step)
    message = f"{name}: attempt {launch.attempt}\n\nWhat was left uncommitted.\n"
    who = context.identity
    author = Signature(who.name, who.email, now(), who.tz)
    return place.capture(place.base, message, author, held=held)


def _made(context: Context, state: FlowState, launch: Launch, errand: Errand) -> tuple[Path, Oid] | Rejected:
    base = _base(context, state, launch)
    if isinstance(base, Clash):
        paths = ", ".join(base.paths)
        return Rejected("base", (f"the results it depends on conflict: {base.task} in {paths}",))
    folder = fresh_folder(context, state, launch)
    replace_private(folder / MAKING, own_mark().encode("ascii"))
    try:
        place = open_workplace(context, state, launch, errand, base, folder, visible=True)
    except WorkplaceError as error:
        return Rejected("setup", (error.message,), base)
    if not isinstance(place, SlotPlace):
        raise BugError(f"{launch.task} has no slot")
    _note_stash(place)
    unready = _run(context, errand.setup, place, "setup")
    if unready is not None:
        place.close()
        return Rejected("setup", unready.lines, base)
    (folder / MAKING).unlink()
    context.pool.leave(place.slot)
    return place.path, base


def _base(context: Context, state: FlowState, launch: Launch) -> Oid | Clash:
    fan = state.step(launch.step)
    if not isinstance(fan, FannedOut) or launch.task is None:
        raise BugError(f"{launch.step} is not at work")
    who = context.identity
    author = Signature("stratum-git", who.email, now(), who.tz)
    index = fan.graph.index[launch.task]
    return base_of(context.repo, context.merger, author, fan, index, context.ladder)


def _without_place(
    state: FlowState, launch: Launch, errand: Errand, failure: str | None, output: Json
) -> Outcome:
    """Returns what a report comes to about a task that was done wherever the client likes."""
    fan = state.step(launch.step)
    base = fan.base if isinstance(fan, FannedOut) else state.base
    if failure is not None:
        return Rejected("agent", (failure,), base, output=output)
    if errand.wants.changes == "required":
        why = ("nothing was changed in the place that it was given",)
        return Rejected("no_change", why, base, output=output)
    return Completed(base, base, output)


def _run(
    context: Context, commands: tuple[Command, ...], place: SlotPlace, kind: Literal["setup", "verify"]
) -> Finding | None:
    if not commands:
        return None
    environment = place.guard(inherited(context.environment))
    return trio.from_thread.run(
        partial(run_commands, environment, commands, place.path, place.folder, kind, context.secrets)
    )


def _occupant(state: FlowState, launch: Launch) -> Occupant:
    return Occupant(state.flow, launch.step, launch.task, launch.attempt)


@contextmanager
def _turn(context: Context, who: Occupant) -> Iterator[None]:
    """Lets one at a time make, or enter, the place of an attempt."""
    name = f"place-{who.flow}-{who.task}.lock"
    try:
        with locked(context.folders.locks / name, PATIENCE):
            yield
    except Timeout as error:
        raise HostError(f"the place of {who.task} was busy for {PATIENCE:g} s") from error


def _is_cut_off(path: Path) -> bool:
    """Returns whether whoever noted himself in *path* is gone: what he had started may still be at work."""
    try:
        return is_dead(path.read_text(encoding="ascii", errors="replace"))
    except FileNotFoundError:
        return False


def _unmake(context: Context, who: Occupant) -> None:
    """Gives back a place of which nobody was told: whoever made it was killed before it was ready."""
    see_out(context, FlowId(who.flow))
    slot = context.pool.enter(who)
    if slot is not None:
        context.pool.release(slot)


def _note_stash(place: SlotPlace) -> None:
    replace_private(place.folder / BEFORE, json.dumps(sorted(place.stashed)).encode("ascii"))


def _stash_before(folder: Path) -> frozenset[str]:
    try:
        return frozenset(map(str, json.loads((folder / BEFORE).read_text(encoding="ascii"))))
    except (FileNotFoundError, ValueError):
        return frozenset()


def wants_of(errand: Errand) -> Mapping[str, Json]:
    """Returns what a result has to keep to, in short."""
    return {"files_owned": list(errand.wants.owned), "changes": errand.wants.changes}


def task_of(launch: Launch) -> TaskId:
    """Returns the task of an attempt at one."""
    if launch.task is None:
        raise BugError(f"{launch.step} has no tasks")
    return launch.task
