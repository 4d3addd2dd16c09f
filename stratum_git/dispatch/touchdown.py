"""Lands the verified results of a step: plans it, looks what is in the way, says what is to move."""

from __future__ import annotations

from collections.abc import Sequence

from stratum_git.core import fanout, tally
from stratum_git.core.expr import judge
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.errand import title_of
from stratum_git.dispatch.judge import TreeFiles
from stratum_git.dispatch.landing import Item, Lander, LandingPlan, in_the_way
from stratum_git.dispatch.opening import tip_of
from stratum_git.dispatch.stack import Change
from stratum_git.errors import BugError
from stratum_git.git.objects import Signature
from stratum_git.model.ids import Json, Oid, RefName, StepId
from stratum_git.model.messages import Landed, LandedResult, LandingBlocked, ParkedResult
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.state import FannedOut, FlowState, Landing, Verified, Working


def land(context: Context, state: FlowState, step: StepId) -> Landed | LandingBlocked:
    """Returns what landing *step* comes to now. Nothing has moved when it returns."""
    landing, spec = state.step(step), state.program.steps[step]
    if not isinstance(landing, Landing):
        raise BugError(f"{step} has nothing to land")
    target = landing.work.target
    old = tip_of(context, state, target)
    at = now()
    who = context.identity
    committer = Signature(who.name, who.email, at, who.tz)
    lander = Lander(context.repo, context.merger, committer, state.flow, step)
    items = _items(state, spec, landing.work)
    plan = _unmoved(old, items) if _is_manual(spec) else lander.plan(old, items)
    if _is_refused(spec, plan):
        plan = LandingPlan(plan.old, plan.old, _parked(plan))
    context.writer.sync()
    blocked = in_the_way(context.repo, target, plan.old, plan.new)
    if blocked is not None:
        return LandingBlocked(at, "stratum-git", step, blocked.reason, blocked.paths)
    findings = _findings(context, state, spec, landing.work, plan)
    if findings:
        # Nothing lands that is not as it has to be.
        plan = LandingPlan(plan.old, plan.old, ())
    return _landed(at, step, target, plan, findings)


def _is_manual(step: Step) -> bool:
    return isinstance(step.work, Dispatch) and step.work.merge == "manual"


def _is_refused(step: Step, plan: LandingPlan) -> bool:
    """Returns whether nothing may land because results conflict."""
    return isinstance(step.work, Dispatch) and step.work.on_conflict == "fail" and bool(_parked(plan))


def _parked(plan: LandingPlan) -> tuple[ParkedResult, ...]:
    return tuple(entry for entry in plan.entries if isinstance(entry, ParkedResult))


def _unmoved(old: Oid, items: Sequence[Item]) -> LandingPlan:
    """Returns the plan of whoever merges by himself: the results stay on their branches."""
    return LandingPlan(old, old, tuple(LandedResult(i.change.task, i.change.result, None) for i in items))


def _landed(at: float, step: StepId, target: RefName, plan: LandingPlan, findings: tuple[str, ...]) -> Landed:
    return Landed(
        at=at,
        by="stratum-git",
        step=step,
        target=target,
        old=plan.old,
        new=plan.new,
        entries=plan.entries,
        findings=findings,
    )


def _items(state: FlowState, step: Step, work: Working | FannedOut) -> list[Item]:
    if isinstance(work, Working):
        now_ = work.task
        if not isinstance(now_, Verified):
            raise BugError(f"{step.id} is not verified")
        change = Change(None, now_.attempt, now_.base, now_.result)
        return [Item(change, title_of(state, step, None))]
    items = []
    for index in fanout.candidates(work):
        done, task = work.tasks[index], work.graph.tasks[index]
        if isinstance(done, Verified):
            change = Change(task.id, done.attempt, done.base, done.result)
            items.append(Item(change, title_of(state, step, task)))
    return items


def _findings(
    context: Context, state: FlowState, step: Step, work: Working | FannedOut, plan: LandingPlan
) -> tuple[str, ...]:
    """Returns the step's own postconditions that do not hold for the whole, asked of what would land."""
    if not isinstance(work, FannedOut) or not step.ensure or not isinstance(step.work, Dispatch):
        return ()
    whole = fanout.landed(work, plan.entries)
    if tally.shortfall(step.work, whole):
        return ()
    names: dict[str, Json] = {
        "result": tally.aggregate(whole, ok=True),
        "input": dict(state.inputs),
    }
    return judge(step.ensure, names, TreeFiles(context.repo, Oid(plan.new)))
