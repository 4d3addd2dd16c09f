"""Lands the verified results of a step: plans it, looks what is in the way, says what is to move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from stratum_git.core import contest, fanout, tally
from stratum_git.core.expr import judge
from stratum_git.core.template import MissingField
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.errand import message_of, title_of
from stratum_git.dispatch.judge import TreeFiles
from stratum_git.dispatch.landing import Item, Lander, LandingPlan, Placed, Queue, in_the_way
from stratum_git.dispatch.opening import tip_of
from stratum_git.dispatch.ordering import landing_sequence
from stratum_git.dispatch.resolving import mends_of
from stratum_git.dispatch.stack import Change
from stratum_git.errors import BugError
from stratum_git.git.objects import Signature
from stratum_git.model.ids import Json, Oid, RefName, StepId
from stratum_git.model.messages import (
    Landed,
    LandedResult,
    LandingBlocked,
    Mend,
    ParkedResult,
)
from stratum_git.model.proofs import Proof
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.state import FannedOut, FlowState, Landing, Verified, Working


@dataclass(frozen=True, slots=True)
class Approach:
    """A landing that may begin: what is to land, on what, and since when that is so.

    Whatever is planned of it twice comes to the very same commits.
    """

    target: RefName
    old: Oid
    at: float
    step: StepId
    queue: Queue
    moves: bool = True
    """Whether the target is to move at all: with ``merge: manual`` the results stay on their branches."""
    refuses: bool = False
    """Whether nothing is to land where results conflict."""

    def walk(self, dropped: frozenset[int] = frozenset()) -> Iterator[tuple[int, Placed]]:
        """Yields each item in its place, without those that are *dropped*; none where nothing is to move."""
        return self.queue.walk(dict.fromkeys(dropped, ())) if self.moves else iter(())

    def without(self, mends: frozenset[Mend]) -> Approach:
        """Returns the landing without files merged in these ways: they conflict."""
        lander = self.queue.lander
        if not mends or lander.ladder is None:
            return self
        lander = replace(lander, ladder=lander.ladder.without(mends))
        return replace(self, queue=self.queue.under(lander))

    def by_git_alone(self) -> Approach:
        """Returns the landing without anything that resolves what git cannot merge."""
        lander = replace(self.queue.lander, ladder=None)
        return replace(self, queue=self.queue.under(lander))

    def goes_together(self) -> bool:
        """Returns whether all of it lands as it is, on top of each other."""
        if all(isinstance(place.entry, LandedResult) for _, place in self.walk()):
            return True
        # What was written so far, whoever comes next has to write as well.
        self.queue.settle()
        return False

    def plan(self, dropped: Mapping[int, tuple[str, ...]] = MappingProxyType({})) -> LandingPlan:
        """Returns what it comes to without the items that are *dropped*. Writes objects, moves nothing."""
        plan = self.queue.plan(dropped) if self.moves else _unmoved(self.old, self.queue.items)
        parked = _parked(plan)
        return LandingPlan(plan.old, plan.old, parked) if self.refuses and parked else plan


def approach(context: Context, state: FlowState, step: StepId) -> Approach:
    """Returns the landing of a step that is at that.

    Where all of it goes together in the order of the graph, there is no better one to be looked for.
    """
    landing = state.step(step)
    if not isinstance(landing, Landing):
        raise BugError(f"{step} has nothing to land")
    spec, work = state.program.steps[step], landing.work
    if isinstance(work, Working):
        return plan_landing(context, state, step, work.target, [_lone_item(state, spec, work)])
    order = fanout.candidates(work)
    coming = plan_landing(context, state, step, work.target, _items(state, spec, work, order))
    alone = coming.by_git_alone()
    if alone.goes_together():
        return alone
    better = landing_sequence(context, state.flow, spec, work)
    if better == order:
        return coming
    return plan_landing(context, state, step, work.target, _items(state, spec, work, better))


def plan_landing(
    context: Context, state: FlowState, step: StepId, target: RefName, items: Sequence[Item]
) -> Approach:
    """Returns the landing of *items*, as the step has it, on *target* where that is now."""
    spec, at, who = state.program.steps[step], now(), context.identity
    committer = Signature(who.name, who.email, at, who.tz)
    merge = spec.work.merge if isinstance(spec.work, Dispatch) else "sequential_apply"
    lander = Lander(context.repo, context.merger, committer, state.flow, step, merge, context.ladder)
    old = tip_of(context, state, target)
    refuses = isinstance(spec.work, Dispatch) and spec.work.on_conflict == "fail"
    return Approach(
        target, old, at, step, Queue(lander, old, items), moves=merge != "manual", refuses=refuses
    )


def settled(
    context: Context, state: FlowState, coming: Approach, plan: LandingPlan, proofs: tuple[Proof, ...] = ()
) -> Landed | LandingBlocked:
    """Returns the event of a landing that is planned, and tested where that is wanted."""
    context.writer.sync()
    blocked = in_the_way(context.repo, coming.target, plan.old, plan.new, context.merger.trees)
    if blocked is not None:
        return LandingBlocked(now(), "stratum-git", coming.step, blocked.reason, blocked.paths)
    spec, landing = state.program.steps[coming.step], state.step(coming.step)
    findings = _findings(context, state, spec, landing.work, plan) if isinstance(landing, Landing) else ()
    if findings:
        # Nothing lands that is not as it has to be.
        plan = LandingPlan(plan.old, plan.old, ())
    return Landed(
        at=now(),
        by="stratum-git",
        step=coming.step,
        target=coming.target,
        old=plan.old,
        new=plan.new,
        entries=plan.entries,
        findings=findings,
        proofs=proofs,
    )


def _parked(plan: LandingPlan) -> tuple[ParkedResult, ...]:
    return tuple(entry for entry in plan.entries if isinstance(entry, ParkedResult))


def _unmoved(old: Oid, items: Sequence[Item]) -> LandingPlan:
    """Returns the plan of whoever merges by himself: the results stay on their branches."""
    return LandingPlan(old, old, tuple(LandedResult(i.change.task, i.change.result, None) for i in items))


def _lone_item(state: FlowState, step: Step, work: Working) -> Item:
    now_ = work.task
    if not isinstance(now_, Verified):
        raise BugError(f"{step.id} is not verified")
    return Item(Change(None, now_.attempt, now_.base, now_.result), title_of(state, step, None))


def _items(state: FlowState, step: Step, work: FannedOut, order: Sequence[int]) -> list[Item]:
    items = []
    for index in order:
        done, task = work.tasks[index], work.graph.tasks[index]
        if isinstance(done, Verified):
            change = Change(task.id, done.attempt, done.base, done.result)
            items.append(item_of(state, step, work, index, change, mends_of(step, task, done)))
    return items


def item_of(
    state: FlowState, step: Step, fan: FannedOut, index: int, change: Change, mends: tuple[Mend, ...] = ()
) -> Item:
    """Returns the change that task *index* made as it is to land."""
    task = fan.graph.tasks[index]
    message = message_of(state, step, task, change.attempt)
    if isinstance(message, MissingField):
        # Of a task that was handed out this was looked at before; a client may have done it without.
        message = title_of(state, step, task)
    needs = tuple(fan.graph.tasks[need].id for need in fan.graph.needs[index])
    return Item(change, message, needs, mends, contest.words_of(fan, index))


def _findings(
    context: Context, state: FlowState, step: Step, work: Working | FannedOut, plan: LandingPlan
) -> tuple[str, ...]:
    """Returns the step's own postconditions that do not hold for the whole."""
    if not isinstance(work, FannedOut):
        return ()
    return unmet(context, state, step, fanout.landed(work, plan.entries), plan.new)


def unmet(
    context: Context, state: FlowState, step: Step, whole: FannedOut | None, commit: Oid
) -> tuple[str, ...]:
    """Returns the postconditions of a step that do not hold with its target at *commit*.

    *whole* are its tasks with what landed by then. Nothing is asked where too little has.
    """
    if whole is None or not step.ensure or not isinstance(step.work, Dispatch):
        return ()
    if tally.shortfall(step.work, whole):
        return ()
    names: dict[str, Json] = {"result": tally.aggregate(whole, ok=True), "input": dict(state.inputs)}
    return judge(step.ensure, names, TreeFiles(context.repo, commit))
