"""Lands what a flow has left: results to be merged by hand, parked or left out ones, and what was undone.

Planned in memory as any landing, recorded as an event of its own; a look at it moves nothing. Nothing lands
that breaks the step's own postconditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from stratum_git.app import afterwards
from stratum_git.app.afterwards import Bench, at_bench
from stratum_git.app.reading import step_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.core import tally
from stratum_git.core.afterwards import is_manual, is_news, left, noted
from stratum_git.core.expr import judge
from stratum_git.core.questions import fan_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.errand import title_of
from stratum_git.dispatch.judge import TreeFiles
from stratum_git.dispatch.landing import Item, Lander, LandingPlan, Queue, in_the_way
from stratum_git.dispatch.opening import tip_of
from stratum_git.dispatch.stack import Change
from stratum_git.dispatch.turn import hold, landing_turn
from stratum_git.errors import UserError
from stratum_git.git.figures import Figures, FileSize, between, file_sizes
from stratum_git.git.objects import Signature
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId
from stratum_git.model.messages import DroppedResult, LandedLater, LandedResult, LandingEntry
from stratum_git.model.spec import Dispatch, Merge, Step
from stratum_git.model.state import FannedOut, FlowState, Landing, Merged
from stratum_git.store.moves import Lone, lone_results

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
        needs = tuple(fan.graph.tasks[need].id for need in fan.graph.needs[index])
        change = Change(task.id, getattr(fan.tasks[index], "attempt", 0), base, result)
        items.append(Item(change, title_of(state, step, task), needs))
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


def _plan(bench: Bench, heap: Heap, request: Request, old: Oid) -> tuple[StepLanding, float]:
    """Returns what landing a heap on commit *old* would come to, and when that was. Moves nothing."""
    context, at = bench.context, now()
    committer = Signature(context.identity.name, context.identity.email, at, context.identity.tz)
    strategy = request.strategy or _strategy_of(heap.step)
    lander = Lander(context.repo, context.merger, committer, bench.state.flow, heap.step.id, strategy)
    plan = Queue(lander, old, heap.items).plan({})
    findings = _findings(bench, heap, plan)
    if findings:
        plan = LandingPlan(plan.old, plan.old, ())
    context.writer.sync()
    tree = context.merger.trees.root(plan.new)
    done = StepLanding(heap.step.id, heap.target, strategy, plan.old, plan.new, tree, plan.entries)
    done.unready, done.findings = heap.unready, findings
    if plan.new != plan.old:
        done.commits = between(context.repo, plan.old, plan.new)
        done.files = file_sizes(context.repo, plan.old, plan.new)
    refused = in_the_way(context.repo, heap.target, plan.old, plan.new)
    if refused is not None:
        done.blocked = afterwards.in_the_way(refused, bench.state.flow, "land").message
    return done, at


def _strategy_of(step: Step) -> Merge:
    if isinstance(step.work, Dispatch) and not is_manual(step):
        return step.work.merge
    return "sequential_apply"


def _findings(bench: Bench, heap: Heap, plan: LandingPlan) -> tuple[str, ...]:
    """Returns the step's own postconditions that would not hold for the whole."""
    state, step = bench.state, heap.step
    whole = noted(step, state.step(step.id), plan.entries)
    if whole is None or not step.ensure or not isinstance(step.work, Dispatch):
        return ()
    if tally.shortfall(step.work, whole):
        return ()
    names: dict[str, Json] = {"result": tally.aggregate(whole, ok=True), "input": dict(state.inputs)}
    return judge(step.ensure, names, TreeFiles(bench.context.repo, plan.new))


# --- landing ----------------------------------------------------------------------------------------------


def _looked(bench: Bench, steps: Sequence[StepId], request: Request) -> list[StepLanding]:
    """Returns what it would come to now, each step on top of those before it. Moves nothing."""
    tips: dict[RefName, Oid] = {}
    found = []
    for step in steps:
        heap = _heap(bench, step, request.tasks)
        if heap is not None:
            old = tips.get(heap.target) or tip_of(bench.context, bench.state, heap.target)
            done, _ = _plan(bench, heap, request, old)
            tips[heap.target] = done.new
            found.append(done)
    return found


def _all_landed(bench: Bench, coming: Sequence[StepLanding], request: Request) -> list[StepLanding]:
    """Lands all of it, in order; nothing where a checkout is in the way of any."""
    for one in coming:
        _check_free(bench, one)
    done = [_land(bench, one.step, request) for one in coming]
    return [one for one in done if one is not None]


def _check_free(bench: Bench, one: StepLanding) -> None:
    if one.blocked:
        hint = f"commit it, or move it away, then `stratum-git land {bench.state.flow}` again"
        raise afterwards.InTheWayError(one.blocked, hint=hint)


def _land(bench: Bench, step: StepId, request: Request) -> StepLanding | None:
    with landing_turn(bench.context):
        for _ in range(afterwards.RACES):
            heap = _heap(bench, step, request.tasks)
            if heap is None:
                return None
            done, at = _plan(bench, heap, request, tip_of(bench.context, bench.state, heap.target))
            _check_free(bench, done)
            if _landed(bench, heap, done, at):
                return done
    raise afterwards.restless(bench.state.flow)


def _landed(bench: Bench, heap: Heap, done: StepLanding, at: float) -> bool:
    """Records a landing and lets checkouts follow; returns whether nobody was there before."""
    if done.findings or not _is_news(bench.state, heap, done):
        return True
    event = LandedLater(
        at=at,
        by=bench.context.identity.name,
        step=done.step,
        target=done.target,
        old=done.old,
        new=done.new,
        entries=done.entries,
    )
    with hold(bench.context, event) as held:
        if held is None or not bench.record([event]):
            return False
        done.notes = bench.catch_up(held)
        return True


def _is_news(state: FlowState, heap: Heap, done: StepLanding) -> bool:
    if done.old != done.new:
        return True
    now_ = state.step(heap.step.id)
    before, after = fan_of(now_), noted(heap.step, now_, done.entries)
    if before is None or after is None:
        return any(isinstance(entry, LandedResult) for entry in done.entries)
    return is_news(before, after)
