"""Lands what a person made of a conflict, with what had been left out because of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import assert_never

import trio

from stratum_git.app.afterwards import Bench
from stratum_git.core import resolving
from stratum_git.core.afterwards import left, noted
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.journal import Beaten
from stratum_git.dispatch.judge import Finding
from stratum_git.dispatch.landing import Item, LandingPlan
from stratum_git.dispatch.proving import Passed, Prover, Unproven
from stratum_git.dispatch.publishing import result_updates
from stratum_git.dispatch.resolving import remember_as
from stratum_git.dispatch.stack import Change
from stratum_git.dispatch.touchdown import Approach, item_of, plan_landing, unmet
from stratum_git.dispatch.turn import hold, landing_turn
from stratum_git.errors import BugError
from stratum_git.model.ids import Oid, RefName, StepId
from stratum_git.model.messages import DroppedResult, Event, LandedLater, LandedResult, Mend, ParkedResult
from stratum_git.model.proofs import Proof
from stratum_git.model.resolutions import ResolvingEnded
from stratum_git.model.state import Exhausted, FannedOut, FlowState, Merged, Resolving


@dataclass(frozen=True, slots=True)
class Landing:
    """What landed: the result, its commit if it changed anything, other tasks that landed with it."""

    result: Oid
    commit: Oid | None
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """The resolution is kept, and conflicts with what has come to the target meanwhile, in ``paths``."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coming:
    """A landing that was tested: where it goes, what it comes to, and for what of the flow."""

    step: StepId
    target: RefName
    plan: LandingPlan
    who: Resolving
    proofs: tuple[Proof, ...] = ()


def plan(bench: Bench, event: ResolvingEnded, who: Resolving) -> Coming | Finding | None:
    """Returns what landing a resolution would come to, or what is wrong with it. Moves nothing.

    ``None`` when the target moved while it was tested.
    """
    state = resolving.ended(bench.state, event)
    fan = fan_of(state.step(event.step))
    if fan is None or event.result is None:
        raise BugError(f"{event.task} has nothing to land")
    mends = tuple(Mend(path, "person", event.by) for path in who.paths)
    items = tuple(_items(state, event, fan, mends))

    def look(context: Context, at: FlowState, step: StepId) -> Approach:
        return replace(plan_landing(context, at, step, fan.target, items), moves=True, refuses=False)

    prover = Prover(bench.context, state, event.step, look=look)
    if prover.begin():
        trio.run(prover.prove)
    match prover.conclusion():
        case None:
            return None
        case Unproven(reason, findings):
            return Finding("land_verify", (reason, *findings))
        case Passed(made, proofs):
            bench.context.writer.sync()
            found = _failures(state, event, made, bench.context)
            return found or Coming(event.step, fan.target, _kept(made), who, proofs)
        case _ as never:
            assert_never(never)


def _failures(state: FlowState, event: ResolvingEnded, made: LandingPlan, context: Context) -> Finding | None:
    """Returns what does not hold of what would land: checks of the landing, postconditions of the step."""
    first, step = made.entries[0], state.program.steps[event.step]
    if isinstance(first, DroppedResult):
        return Finding("land_verify", first.findings)
    whole = noted(step, state.step(event.step), made.entries)
    lines = unmet(context, state, step, whole, made.new)
    return Finding("ensure", lines) if lines else None


def _kept(made: LandingPlan) -> LandingPlan:
    """Returns a plan with what is news in it: the resolution, and others that land with it."""
    first, *others = made.entries
    news = (first, *(entry for entry in others if isinstance(entry, LandedResult)))
    return replace(made, entries=news)


def land(bench: Bench, coming: Coming, event: ResolvingEnded) -> Landing | Again | None:
    """Records a resolution and its landing at once; ``None`` when the target moved: plan it again."""
    first = coming.plan.entries[0]
    if isinstance(first, ParkedResult):
        again = replace(event, conflict=first.conflict, paths=first.paths)
        return Again(first.paths) if _record(bench, again) else None
    later = LandedLater(
        at=now(),
        by=event.by,
        step=event.step,
        target=coming.target,
        old=coming.plan.old,
        new=coming.plan.new,
        entries=coming.plan.entries,
        proofs=coming.proofs,
    )
    with landing_turn(bench.context), hold(bench.context, later) as held:
        if held is None:
            return None
        if not _record(bench, event, later):
            return None
        notes = bench.catch_up(held)
    remember_as(bench.context, bench.state.flow, event, coming.who)
    commit = first.commit if isinstance(first, LandedResult) else None
    others = tuple(str(entry.task) for entry in coming.plan.entries[1:] if isinstance(entry, LandedResult))
    return Landing(first.result, commit, others, notes)


def _items(
    state: FlowState, event: ResolvingEnded, fan: FannedOut, mends: tuple[Mend, ...]
) -> Iterator[Item]:
    """Yields the resolution, and the results that wait for it and for nothing else."""
    step = state.program.steps[event.step]
    rows = {index: (base, result) for index, base, result in left(step, state.step(event.step))}
    own = fan.graph.index[event.task]
    there = {index for index, now_ in enumerate(fan.tasks) if isinstance(now_, Merged) and index not in rows}
    base = resolving.parked_at(state, event.step, event.task)
    if base is None or event.result is None:
        raise BugError(f"{event.task} is not parked")
    wanted = {own: (base.base, event.result)}
    for index in fan.graph.order:
        task, now_ = fan.graph.tasks[index], fan.tasks[index]
        if index not in wanted:
            waits = isinstance(now_, Exhausted) and resolving.result_of(now_) is not None
            if not waits or index not in rows or not there.issuperset(fan.graph.needs[index]):
                continue
        attempt = getattr(now_, "attempt", 0)
        change = Change(task.id, attempt, *wanted.get(index, rows.get(index, (base.base, base.result))))
        there.add(index)
        yield item_of(state, step, fan, index, change, mends if index == own else ())


def _record(bench: Bench, *events: Event) -> bool:
    """Appends *events* with what moves with them, all or none; returns whether that was done."""
    repo, flow = bench.context.repo, bench.state.flow
    written = bench.journal.record(events, lambda *_: result_updates(repo, flow, events))
    recorded = {id(entry.event) for entry in written.entries}
    return not isinstance(written, Beaten) and all(id(event) in recorded for event in events)
