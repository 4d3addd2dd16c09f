"""A person resolves a parked conflict: a slot is opened with it, and what is made of it there is landed.

No process holds such a slot. Whose it is, the flow says (`ResolvingBegan`), so it outlives whatever starts or
dies meanwhile; it is given back when the flow says that he is done. Everything is recorded first and can be
done again: opening what is open, finishing what was cut off, giving up what is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from stratum_git.agents.command import inherited
from stratum_git.agents.output import replace_private
from stratum_git.app.afterwards import RACES, Bench, InTheWayError, at_bench, restless
from stratum_git.app.cases import (
    Case,
    NoConflictError,
    busy,
    clear,
    entered,
    merged_in,
    open_case,
    owner_of,
    parked_in,
    place_named,
)
from stratum_git.app.finishing import Again, Landing, land, plan
from stratum_git.app.recovery import place_of, rescued, see_out
from stratum_git.app.surroundings import Surroundings
from stratum_git.core import resolving
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.errand import Errand, Unclear, errand_for
from stratum_git.dispatch.judge import Finding, judge_output, judge_tree, run_commands
from stratum_git.dispatch.landing import in_the_way
from stratum_git.dispatch.resolving import (
    Conflict,
    as_commit,
    asked,
    author_of,
    conflict_at,
    parked_as,
    put_in_place,
    unresolved,
)
from stratum_git.dispatch.workplace import SlotPlace, WorkplaceError, fresh_folder, open_workplace
from stratum_git.errors import BugError, UserError
from stratum_git.git.planting import unmerged
from stratum_git.git.snapshot import Captured
from stratum_git.model.effects import Launch
from stratum_git.model.ids import FlowId, Oid, RefName, StepId, TaskId
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.state import Parked

READY = "conflict"
"""In the attempt's own folder, once its slot is ready: the commit of the conflict that lies there."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a conflict lies: ``path`` is the slot. ``is_new``: it was made just now."""

    step: StepId
    task: TaskId
    attempt: int
    by: str
    path: Path
    base: Oid
    target: RefName
    paths: tuple[str, ...]
    is_new: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """What is still to be done in the slot ``path``; nothing was recorded."""

    path: Path
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The resolution is on its target. ``went_on``: the flow that had failed goes on."""

    landing: Landing
    status: str
    went_on: bool


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The conflict stays parked; ``kept`` is what was done, if anything."""

    kept: Oid | None


def open_conflict(around: Surroundings, flow: FlowId, task: str) -> Opened:
    """Opens a slot with a parked conflict in it, or says where the one is that is open; raises UserError."""
    with at_bench(around, flow) as bench:
        step, name = place_named(bench, task)
        for _ in range(RACES):
            parked = parked_in(bench, step, name)
            if parked.resolving is not None:
                return _opened(Case(bench, step, name, parked, owner_of(bench, step, name, parked)))
            _begin(bench, step, name, parked)
    raise restless(flow)


def finish(around: Surroundings, flow: FlowId, task: str) -> Resolved | Unresolved | Again:
    """Takes what was made of a conflict: checked, verified, landed. What is wrong with it changes nothing."""
    with at_bench(around, flow) as bench:
        step, name = place_named(bench, task)
        done = merged_in(bench, step, name)
        if done is not None:
            clear(bench, step, name)
            return Resolved(Landing(done.result, done.commit), bench.state.status, went_on=False)
        case = open_case(bench, step, name)
        with entered(case) as place:
            found = _judged(case, place)
            if isinstance(found, Finding):
                return Unresolved(place.path, found.lines)
            before = bench.state.status
            landed = _landed(case, found)
            if isinstance(landed, Finding):
                return Unresolved(place.path, landed.lines)
            place.close()
        if isinstance(landed, Again):
            return landed
        status = bench.state.status
        return Resolved(landed, status, went_on=before == "failed" and status != before)


def give_up(around: Surroundings, flow: FlowId, task: str) -> GivenUp:
    """Gives the slot back; what was done in it is kept on a ref, and the conflict stays parked."""
    with at_bench(around, flow) as bench:
        step, name = place_named(bench, task)
        case = open_case(bench, step, name)
        if bench.context.pool.find(case.occupant) is None:
            bench.record([_given_up(case, None)])
            return GivenUp(None)
        with entered(case) as place:
            captured = _captured(case, place)
            bench.record([_given_up(case, captured.result)])
            place.close()
        return GivenUp(captured.result)


# --- opening ----------------------------------------------------------------------------------------------


def _begin(bench: Bench, step: StepId, task: TaskId, parked: Parked) -> None:
    """Records that somebody resolves a conflict, unless somebody was there before."""
    context, state = bench.context, bench.state
    conflict = conflict_at(context, state, step, parked)
    if conflict is None:
        hint = f"`stratum-git land {state.flow} {task}` lands it"
        raise NoConflictError(f"{task} conflicts no more: its target has changed since", hint=hint)
    event = ResolvingBegan(
        at=now(),
        by=context.identity.name,
        step=step,
        task=task,
        attempt=resolving.last_of(parked) + 1,
        base=conflict.base,
        conflict=as_commit(context, state.flow, step, task, conflict),
        paths=conflict.paths,
    )
    bench.record([event])


def _opened(case: Case) -> Opened:
    context = case.context
    found = context.pool.find(case.occupant, awake=True)
    is_new, note = False, ""
    if found is None or not (case.folder / READY).exists():
        note, is_new = _made(case), True
        found = context.pool.find(case.occupant)
    if found is None:
        raise busy(case)
    fan = fan_of(case.bench.state.step(case.step))
    target = case.bench.state.target if fan is None else fan.target
    who = case.who
    return Opened(
        case.step, case.task, who.attempt, who.by, found[0], who.base, target, who.paths, is_new, note
    )


def _made(case: Case) -> str:
    """Makes the slot, or makes it again where that was cut off; returns what its setup said, if it failed."""
    context, state = case.context, case.bench.state
    see_out(context, state.flow)
    _forget(case)
    errand = _errand(case)
    launch = _launch(case)
    folder = fresh_folder(context, state, launch)
    try:
        place = open_workplace(context, state, launch, errand, case.who.base, folder, visible=True)
    except WorkplaceError as error:
        hint = f"`stratum-git resolve {state.flow} {case.task} --abort` gives the conflict free"
        raise UserError(error.message, hint=error.hint or hint) from error
    if not isinstance(place, SlotPlace):
        raise BugError(f"{case.task} has no slot")
    unready = _run(case, place, errand, "setup")
    put_in_place(context, _conflict(case), place.path)
    replace_private(folder / READY, case.who.conflict.encode("ascii"))
    context.pool.leave(place.slot)
    return "" if unready is None else "; ".join(unready.lines)


def _forget(case: Case) -> None:
    """Gives back a slot that is not known to be ready: whoever made it was killed. What is in it is kept."""
    slot = case.context.pool.enter(case.occupant)
    if slot is not None:
        place = place_of(case.context, slot)
        rescued(case.context, place)
        place.close()


# --- finishing --------------------------------------------------------------------------------------------


def _judged(case: Case, place: SlotPlace) -> Oid | Finding:
    """Returns what was made of the conflict as a commit, or what is wrong with it."""
    context, conflict = case.context, _conflict(case)
    errand = asked(context, case.bench.state, _errand(case), conflict, place.path, ())
    still = unmerged(place.path)
    captured = _captured(case, place)
    result = captured.result
    found = judge_tree(context.repo, case.who.base, captured, errand.wants)
    found = found or unresolved(context, conflict, result, still)
    found = found or judge_output(context.repo, result, case.parked.output, errand.wants)
    return found or _run(case, place, errand, "verify") or result


def _captured(case: Case, place: SlotPlace) -> Captured:
    who = replace(author_of(case.context, case.parked), at=now(), tz=case.context.identity.tz)
    message = f"{case.task}: attempt {case.who.attempt}\n\nWhat {case.who.by} made of the conflict.\n"
    return place.capture(case.who.base, message, who)


def _given_up(case: Case, kept: Oid | None) -> ResolvingEnded:
    by = case.context.identity.name
    return ResolvingEnded(now(), by, case.step, case.task, case.who.attempt, kept)


def _landed(case: Case, result: Oid) -> Landing | Again | Finding:
    bench, who = case.bench, case.who
    by = bench.context.identity.name
    event = ResolvingEnded(now(), by, case.step, case.task, who.attempt, result, done=True)
    flow = bench.state.flow
    for _ in range(RACES):
        coming = plan(bench, event, who)
        if coming is None:
            continue
        if isinstance(coming, Finding):
            return coming
        refused = in_the_way(
            bench.context.repo, coming.target, coming.plan.old, coming.plan.new, bench.context.merger.trees
        )
        if refused is not None:
            what = f": {', '.join(refused.paths)}" if refused.paths else ""
            hint = f"commit it, or move it away, then `stratum-git resolve {flow} {case.task} --done` again"
            raise InTheWayError(f"{refused.reason}{what}", hint=hint)
        done = land(bench, coming, event)
        if done is not None:
            return done
    raise restless(bench.state.flow)


# --- in the slot ------------------------------------------------------------------------------------------


def _conflict(case: Case) -> Conflict:
    return parked_as(case.context, case.parked, case.who.base, case.who.conflict, case.who.paths)


def _launch(case: Case) -> Launch:
    return Launch(case.step, case.task, case.who.attempt, resolves=case.parked)


def _errand(case: Case) -> Errand:
    errand = errand_for(case.bench.state, _launch(case))
    if isinstance(errand, Unclear):
        raise NoConflictError("; ".join(errand.why))
    # A person has the whole repository, whatever agents are given.
    return replace(errand, isolation="worktree")


def _run(case: Case, place: SlotPlace, errand: Errand, kind: Literal["setup", "verify"]) -> Finding | None:
    commands = errand.setup if kind == "setup" else errand.wants.verify
    if not commands:
        return None
    environment, context = place.guard(inherited(case.context.environment)), case.context
    work = partial(run_commands, environment, commands, place.path, place.folder, kind, context.secrets)
    return trio.run(work)
