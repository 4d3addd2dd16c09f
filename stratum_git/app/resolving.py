"""A person resolves a parked conflict: a slot is opened with it, and what is made of it there is landed.

No process holds such a slot. Whose it is, the flow says (`ResolvingBegan`), so it outlives whatever starts or
dies meanwhile; it is given back when the flow says that he is done. Everything is recorded first and can be
done again: opening what is open, finishing what was cut off, giving up what is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from stratum_git.agents.command import inherited
from stratum_git.agents.output import replace_private
from stratum_git.app.afterwards import RACES, Bench, InTheWayError, at_bench, restless
from stratum_git.app.finishing import Again, Landing, land, plan
from stratum_git.app.reading import step_of
from stratum_git.app.recovery import inhabited, place_of, rescued, see_out
from stratum_git.app.surroundings import Surroundings
from stratum_git.core import resolving
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
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
from stratum_git.model.state import FannedOut, Merged, Parked, Resolving
from stratum_git.slots.occupancy import Occupant

READY = "conflict"
"""In the attempt's own folder, once its slot is ready: the commit of the conflict that lies there."""


class NoConflictError(UserError):
    """The task has no conflict that could be resolved now."""

    word = "NO_CONFLICT"


class BeingResolvedError(UserError):
    """Somebody else resolves the conflict."""

    word = "BEING_RESOLVED"


class NotOpenError(UserError):
    """Nobody resolves the conflict, or its slot is gone."""

    word = "NOT_OPEN"


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


@dataclass(frozen=True, slots=True)
class _Case:
    """A conflict of a flow in hand, that somebody resolves."""

    bench: Bench
    step: StepId
    task: TaskId
    parked: Parked
    who: Resolving

    @property
    def context(self) -> Context:
        return self.bench.context

    @property
    def occupant(self) -> Occupant:
        return Occupant(self.bench.state.flow, self.step, self.task, self.who.attempt)

    @property
    def folder(self) -> Path:
        return self.context.folders.attempt(self.bench.state.flow, self.step, self.task, self.who.attempt)


def open_conflict(around: Surroundings, flow: FlowId, task: str) -> Opened:
    """Opens a slot with a parked conflict in it, or says where the one is that is open; raises UserError."""
    with at_bench(around, flow) as bench:
        step, name = _place_of(bench, task)
        for _ in range(RACES):
            parked = _parked(bench, step, name)
            if parked.resolving is not None:
                return _opened(_Case(bench, step, name, parked, _mine(bench, step, name, parked)))
            _begin(bench, step, name, parked)
    raise restless(flow)


def finish(around: Surroundings, flow: FlowId, task: str) -> Resolved | Unresolved | Again:
    """Takes what was made of a conflict: checked, verified, landed. What is wrong with it changes nothing."""
    with at_bench(around, flow) as bench:
        step, name = _place_of(bench, task)
        done = _merged(bench, step, name)
        if done is not None:
            _clear(bench, step, name)
            return Resolved(Landing(done.result, done.commit), bench.state.status, went_on=False)
        case = _open_case(bench, step, name)
        with _entered(case) as place:
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
        step, name = _place_of(bench, task)
        case = _open_case(bench, step, name)
        if bench.context.pool.find(case.occupant) is None:
            bench.record([_given_up(case, None)])
            return GivenUp(None)
        with _entered(case) as place:
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


def _opened(case: _Case) -> Opened:
    context = case.context
    found = context.pool.find(case.occupant)
    is_new, note = False, ""
    if found is None or not (case.folder / READY).exists():
        note, is_new = _made(case), True
        found = context.pool.find(case.occupant)
    if found is None:
        raise _busy(case)
    fan = fan_of(case.bench.state.step(case.step))
    target = case.bench.state.target if fan is None else fan.target
    who = case.who
    return Opened(
        case.step, case.task, who.attempt, who.by, found[0], who.base, target, who.paths, is_new, note
    )


def _made(case: _Case) -> str:
    """Makes the slot, or makes it again where that was cut off; returns what its setup said, if it failed."""
    context, state = case.context, case.bench.state
    see_out(context, state.flow)
    _forget(case)
    errand = _errand(case)
    launch = _launch(case)
    folder = fresh_folder(context, state, launch)
    try:
        place = open_workplace(context, state, launch, errand, case.who.base, folder)
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


def _forget(case: _Case) -> None:
    """Gives back a slot of which nobody was told: whoever made it was killed before it was ready."""
    slot = case.context.pool.enter(case.occupant)
    if slot is not None:
        case.context.pool.release(slot)


# --- finishing --------------------------------------------------------------------------------------------


def _judged(case: _Case, place: SlotPlace) -> Oid | Finding:
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


def _captured(case: _Case, place: SlotPlace) -> Captured:
    who = replace(author_of(case.context, case.parked), at=now(), tz=case.context.identity.tz)
    message = f"{case.task}: attempt {case.who.attempt}\n\nWhat {case.who.by} made of the conflict.\n"
    return place.capture(case.who.base, message, who)


def _given_up(case: _Case, kept: Oid | None) -> ResolvingEnded:
    by = case.context.identity.name
    return ResolvingEnded(now(), by, case.step, case.task, case.who.attempt, kept)


def _landed(case: _Case, result: Oid) -> Landing | Again | Finding:
    bench, who = case.bench, case.who
    by = bench.context.identity.name
    event = ResolvingEnded(now(), by, case.step, case.task, who.attempt, result, done=True)
    flow = bench.state.flow
    for _ in range(RACES):
        coming = plan(bench, event, who)
        if isinstance(coming, Finding):
            return coming
        refused = in_the_way(bench.context.repo, coming.target, coming.plan.old, coming.plan.new)
        if refused is not None:
            what = f": {', '.join(refused.paths)}" if refused.paths else ""
            hint = f"commit it, or move it away, then `stratum-git resolve {flow} {case.task} --done` again"
            raise InTheWayError(f"{refused.reason}{what}", hint=hint)
        done = land(bench, coming, event)
        if done is not None:
            return done
    raise restless(bench.state.flow)


# --- what all of them need --------------------------------------------------------------------------------


def _place_of(bench: Bench, task: str) -> tuple[StepId, TaskId]:
    step = StepId(step_of(bench.state, task))
    if step == task:
        raise NoConflictError(f"{task} is a step; only conflicts of tasks can be resolved")
    if isinstance(bench.state.step(step), FannedOut):
        hint = f"`stratum-git resume {bench.state.flow}` goes on with it"
        raise NoConflictError(f"the step {step} is still at work on its tasks", hint=hint)
    return step, TaskId(task)


def _parked(bench: Bench, step: StepId, task: TaskId) -> Parked:
    found = resolving.parked_at(bench.state, step, task)
    if found is not None:
        return found
    hint = f"`stratum-git conflicts {bench.state.flow}` tells what is parked"
    if _merged(bench, step, task) is not None:
        raise NoConflictError(f"{task} has landed; there is no conflict", hint=hint)
    raise NoConflictError(f"{task} is not parked in a conflict", hint=hint)


def _merged(bench: Bench, step: StepId, task: TaskId) -> Merged | None:
    fan = fan_of(bench.state.step(step))
    now_ = None if fan is None else fan.tasks[fan.graph.index[task]]
    return now_ if isinstance(now_, Merged) else None


def _open_case(bench: Bench, step: StepId, task: TaskId) -> _Case:
    parked = _parked(bench, step, task)
    if parked.resolving is None:
        hint = f"`stratum-git resolve {bench.state.flow} {task}` opens it"
        raise NotOpenError(f"nobody resolves the conflict of {task}", hint=hint)
    return _Case(bench, step, task, parked, _mine(bench, step, task, parked))


def _mine(bench: Bench, step: StepId, task: TaskId, parked: Parked) -> Resolving:
    who = parked.resolving
    if who is None:
        raise BugError(f"nobody resolves {task}")
    if who.by != bench.context.identity.name:
        found = bench.context.pool.find(Occupant(bench.state.flow, step, task, who.attempt))
        where = f" in {found[0]}" if found is not None else ""
        hint = "agree with him; his `--abort` gives it free and keeps what he did"
        raise BeingResolvedError(f"{who.by} resolves the conflict of {task}{where}", hint=hint)
    return who


@contextmanager
def _entered(case: _Case) -> Iterator[SlotPlace]:
    """Gives the slot, held by this process; it stays its tenant's, until the flow says otherwise."""
    slot = case.context.pool.enter(case.occupant)
    if slot is None and case.context.pool.find(case.occupant) is not None:
        raise _busy(case)
    if slot is None:
        hint = f"`stratum-git resolve {case.bench.state.flow} {case.task}` opens it again"
        raise NotOpenError(f"the slot with the conflict of {case.task} is gone", hint=hint)
    try:
        yield SlotPlace(case.context, slot, case.folder, slot.base)
    finally:
        if slot.lock.is_locked:
            case.context.pool.leave(slot)


def _clear(bench: Bench, step: StepId, task: TaskId) -> None:
    """Gives back slots of a task that nobody works in any more; what is in them is on refs, or gets one."""
    spare = inhabited(bench.state)
    others = frozenset(who for who in bench.context.pool.occupants() if (who.step, who.task) != (step, task))
    for slot in bench.context.pool.recover(bench.state.flow, spare=spare | others):
        place = place_of(bench.context, slot)
        rescued(bench.context, place)
        place.close()


def _conflict(case: _Case) -> Conflict:
    return parked_as(case.context, case.parked, case.who.base, case.who.conflict, case.who.paths)


def _launch(case: _Case) -> Launch:
    return Launch(case.step, case.task, case.who.attempt, resolves=case.parked)


def _errand(case: _Case) -> Errand:
    errand = errand_for(case.bench.state, _launch(case))
    if isinstance(errand, Unclear):
        raise NoConflictError("; ".join(errand.why))
    # A person has the whole repository, whatever agents are given.
    return replace(errand, isolation="worktree")


def _run(case: _Case, place: SlotPlace, errand: Errand, kind: Literal["setup", "verify"]) -> Finding | None:
    commands = errand.setup if kind == "setup" else errand.wants.verify
    if not commands:
        return None
    environment, context = place.guard(inherited(case.context.environment)), case.context
    work = partial(run_commands, environment, commands, place.path, place.folder, kind, context.secrets)
    return trio.run(work)


def _busy(case: _Case) -> UserError:
    return NotOpenError(
        f"another process is in the slot of {case.task}", hint="call it again when that is over"
    )
