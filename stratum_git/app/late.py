"""Lands what a flow has left: results to be merged by hand, parked or left out ones, and what was undone.

Planned in memory and tested as any landing, recorded as an event of its own; a look at it moves nothing and
tests nothing. Nothing lands that breaks the step's own postconditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import trio

from stratum_git.app import afterwards
from stratum_git.app.afterwards import Bench, at_bench
from stratum_git.app.reading import step_of
from stratum_git.app.recovery import tidy
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.afterwards import is_manual, is_news, left, noted
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.errand import title_of
from stratum_git.dispatch.landing import Item, Lander, LandingPlan, Queue, in_the_way
from stratum_git.dispatch.opening import tip_of
from stratum_git.dispatch.proving import Prover
from stratum_git.dispatch.stack import Change
from stratum_git.dispatch.touchdown import Approach, item_of, unmet
from stratum_git.dispatch.turn import hold, landing_turn
from stratum_git.errors import BugError, UserError
from stratum_git.git.figures import Figures, FileSize, between, file_sizes
from stratum_git.git.objects import Signature
from stratum_git.model.ids import FlowId, Oid, RefName, StepId
from stratum_git.model.messages import (
    DroppedResult,
    Landed,
    LandedLater,
    LandedResult,
    LandingBlocked,
    LandingEntry,
)
from stratum_git.model.spec import Dispatch, Merge, Step
from stratum_git.model.state import FannedOut, FlowState, Landing, Merged
from stratum_git.store.moves import Lone, lone_results

TIDYING = 0.5
"""Seconds that are spent on deleting the slots of tests that nobody needs any more."""
LANDED, NO_RESULT = "has landed", "has no result that could land"


class LandingAheadError(UserError):
    """The flow has a landing of its own before it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to land: all that is left, or these tasks; in which way, where not as the step says."""

    tasks: tuple[str, ...] = ()
    strategy: Merge | None = None
    is_dry: bool = False


@dataclass(frozen=True, slots=True)
class Heap:
    """What a step has left: the results that may be tried, and those that build on one that is not there."""

    step: Step
    target: RefName
    items: tuple[Item, ...]
    unready: tuple[DroppedResult, ...] = ()


@dataclass
class StepLanding:
    """What landing the rest of a step came to. ``tree`` is what the target has then, or would have.

    ``findings`` are postconditions that do not hold, ``blocked`` says what is in the way: nothing lands then.
    """

    step: StepId
    target: RefName
    strategy: Merge
    old: Oid
    new: Oid
    tree: Oid
    entries: tuple[LandingEntry, ...]
    unready: tuple[DroppedResult, ...] = ()
    commits: tuple[Figures, ...] = ()
    files: tuple[FileSize, ...] = ()
    findings: tuple[str, ...] = ()
    blocked: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class LandReport:
    """What ``land`` did, or would do. ``others`` are tasks that were asked for and have nothing to land."""

    flow: FlowId
    is_dry: bool
    status: str
    steps: list[StepLanding] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    went_on: bool = False


def land(around: Surroundings, flow: FlowId, request: Request) -> LandReport:
    """Lands what a flow has left; raises UserError when that cannot be tried, or a checkout is in the way."""
    with at_bench(around, flow, is_look=request.is_dry) as bench:
        before = bench.state.status
        names = {StepId(step_of(bench.state, task)) for task in request.tasks}
        _check_ahead(bench.state, names)
        report = LandReport(flow, request.is_dry, before)
        steps = [step for step in bench.state.program.order if not names or step in names]
        report.steps = _looked(bench, steps, request)
        if not request.is_dry:
            report.steps = _all_landed(bench, report.steps, request)
            tidy(bench.context, TIDYING)
        report.status = bench.state.status
        report.went_on = before == "failed" and report.status != before
        report.others = dict(_others(bench.state, request, report))
        return report


def _check_ahead(state: FlowState, names: set[StepId]) -> None:
    now_ = None if state.cursor is None else state.step(state.cursor)
    if not isinstance(now_, Landing) or (names and state.cursor not in names):
        return
    why = f" and blocked: {', '.join(now_.blocked)}" if now_.blocked else ""
    raise LandingAheadError(
        f"the flow {state.flow} is at the landing of {state.cursor}{why}",
        hint=f"`stratum-git resume {state.flow}` lands it",
    )


# --- what is left -----------------------------------------------------------------------------------------


def _heap(bench: Bench, step: StepId, tasks: Sequence[str]) -> Heap | None:
    state, spec = bench.state, bench.state.program.steps[step]
    fan = fan_of(state.step(step))
    if fan is not None:
        return _of_tasks(state, spec, fan, tasks)
    alone = next(
        (one for one in lone_results(bench.context.repo, bench.stored.tip) if one.step == step), None
    )
    return None if alone is None else _of_one(state, spec, alone)


def _of_one(state: FlowState, step: Step, alone: Lone) -> Heap:
    change = Change(None, alone.attempt, alone.base, alone.result)
    return Heap(step, alone.target, (Item(change, title_of(state, step, None)),))


def _of_tasks(state: FlowState, step: Step, fan: FannedOut, tasks: Sequence[str]) -> Heap | None:
    rows = {index: (base, result) for index, base, result in left(step, state.step(step.id))}
    there = {i for i, task in enumerate(fan.tasks) if isinstance(task, Merged) and i not in rows}
    items: list[Item] = []
    unready: list[DroppedResult] = []
    for index, (base, result) in rows.items():
        task = fan.graph.tasks[index]
        if tasks and task.id not in tasks:
            continue
        lacking = [fan.graph.tasks[need].id for need in fan.graph.needs[index] if need not in there]
        if lacking:
            findings = (f"it builds on {', '.join(lacking)}, which did not land",)
            unready.append(DroppedResult(task.id, result, "needs", findings))
            continue
        change = Change(task.id, getattr(fan.tasks[index], "attempt", 0), base, result)
        items.append(item_of(state, step, fan, index, change))
        there.add(index)
    return Heap(step, fan.target, tuple(items), tuple(unready)) if items or unready else None


def _others(state: FlowState, request: Request, report: LandReport) -> Iterator[tuple[str, str]]:
    """Yields the tasks that were asked for and of which nothing was to land, with what they are."""
    tried = {str(entry.task or one.step) for one in report.steps for entry in (*one.entries, *one.unready)}
    for name in request.tasks:
        if name not in tried:
            fan = fan_of(state.step(StepId(step_of(state, name))))
            index = None if fan is None else next((i for t, i in fan.graph.index.items() if t == name), None)
            task = None if fan is None or index is None else fan.tasks[index]
            yield name, LANDED if isinstance(task, Merged) else NO_RESULT


# --- planning ---------------------------------------------------------------------------------------------


def _approach(bench: Bench, heap: Heap, request: Request, old: Oid) -> Approach:
    """Returns the landing of a heap on commit *old*."""
    context, at = bench.context, now()
    committer = Signature(context.identity.name, context.identity.email, at, context.identity.tz)
    strategy = request.strategy or _strategy_of(heap.step)
    lander = Lander(
        context.repo, context.merger, committer, bench.state.flow, heap.step.id, strategy, context.ladder
    )
    return Approach(heap.target, old, at, heap.step.id, Queue(lander, old, heap.items))


def _strategy_of(step: Step) -> Merge:
    if isinstance(step.work, Dispatch) and not is_manual(step):
        return step.work.merge
    return "sequential_apply"


def _outcome(bench: Bench, heap: Heap, request: Request, plan: LandingPlan) -> StepLanding:
    """Returns what a landing comes to. Moves nothing."""
    repo, findings = bench.context.repo, _findings(bench, heap, plan)
    if findings:
        plan = LandingPlan(plan.old, plan.old, ())
    bench.context.writer.sync()
    done = StepLanding(
        step=heap.step.id,
        target=heap.target,
        strategy=request.strategy or _strategy_of(heap.step),
        old=plan.old,
        new=plan.new,
        tree=bench.context.merger.trees.root(plan.new),
        entries=plan.entries,
        unready=heap.unready,
        findings=findings,
    )
    if plan.new != plan.old:
        done.commits = between(repo, plan.old, plan.new)
        done.files = file_sizes(repo, plan.old, plan.new)
    return done


def _findings(bench: Bench, heap: Heap, plan: LandingPlan) -> tuple[str, ...]:
    """Returns the step's own postconditions that would not hold for the whole."""
    state, step = bench.state, heap.step
    whole = noted(step, state.step(step.id), plan.entries)
    return unmet(bench.context, state, step, whole, plan.new)


def _looked(bench: Bench, steps: Sequence[StepId], request: Request) -> list[StepLanding]:
    """Returns what it would come to now, untested, each step on top of those before it. Moves nothing."""
    tips: dict[RefName, Oid] = {}
    found = []
    for step in steps:
        heap = _heap(bench, step, request.tasks)
        if heap is not None:
            old = tips.get(heap.target) or tip_of(bench.context, bench.state, heap.target)
            done = _outcome(bench, heap, request, _approach(bench, heap, request, old).plan())
            refused = in_the_way(
                bench.context.repo, heap.target, done.old, done.new, bench.context.merger.trees
            )
            if refused is not None:
                done.blocked = afterwards.in_the_way(refused, bench.state.flow, "land").message
            tips[heap.target] = done.new
            found.append(done)
    return found


# --- landing ----------------------------------------------------------------------------------------------


def _all_landed(bench: Bench, coming: Sequence[StepLanding], request: Request) -> list[StepLanding]:
    """Lands all of it, in order; nothing where a checkout is in the way of any."""
    for one in coming:
        if one.blocked:
            raise _stopped(bench, one.blocked)
    return [done for one in coming if (done := _land(bench, one.step, request)) is not None]


def _stopped(bench: Bench, why: str) -> afterwards.InTheWayError:
    hint = f"see to that, then `stratum-git land {bench.state.flow}` again"
    return afterwards.InTheWayError(why, hint=hint)


def _land(bench: Bench, step: StepId, request: Request) -> StepLanding | None:
    """Lands what a step has left, tested as the step wants it; the turn to land is taken when it is."""

    def look(_: Context, state: FlowState, name: StepId) -> Approach:
        heap = _heap(bench, name, request.tasks)
        if heap is None:
            raise BugError(f"{name} has nothing left")
        return _approach(bench, heap, request, tip_of(bench.context, state, heap.target))

    heap = _heap(bench, step, request.tasks)
    if heap is None:
        return None
    prover = Prover(bench.context, bench.state, step, look=look)
    for _ in range(afterwards.RACES):
        if prover.begin():
            trio.run(prover.prove)
        with landing_turn(bench.context):
            event = prover.event(bench.state)
            if isinstance(event, LandingBlocked):
                raise _stopped(
                    bench, f"{event.reason}: {', '.join(event.paths)}" if event.paths else event.reason
                )
            done = None if event is None else _landed(bench, heap, request, event)
            if done is not None:
                return done
    raise afterwards.restless(bench.state.flow)


def _landed(bench: Bench, heap: Heap, request: Request, proven: Landed) -> StepLanding | None:
    """Records a landing and lets checkouts follow; ``None`` when somebody was there before."""
    done = _outcome(bench, heap, request, LandingPlan(proven.old, proven.new, proven.entries))
    if done.findings or not _is_news(bench.state, heap, done):
        return done
    event = LandedLater(
        at=proven.at,
        by=bench.context.identity.name,
        step=done.step,
        target=done.target,
        old=done.old,
        new=done.new,
        entries=done.entries,
        proofs=proven.proofs,
    )
    with hold(bench.context, event) as held:
        if held is None or not bench.record([event]):
            return None
        done.notes = bench.catch_up(held)
        return done


def _is_news(state: FlowState, heap: Heap, done: StepLanding) -> bool:
    if done.old != done.new:
        return True
    now_ = state.step(heap.step.id)
    before, after = fan_of(now_), noted(heap.step, now_, done.entries)
    if before is None or after is None:
        return any(isinstance(entry, LandedResult) for entry in done.entries)
    return is_news(before, after)
