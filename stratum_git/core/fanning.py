"""A dispatch step as a part of its flow: opened, reported on, landed, tried again.

What happens among its tasks is in ``fanout.py``; here is what it means for the step. A runner's step has one
go. A client is told what was wrong, and may report the tasks that are not done once more.
"""

from __future__ import annotations

from stratum_git.core import fanout, resolving, single, tally
from stratum_git.core.budgets import over
from stratum_git.core.route import Turn, abandoned, failed, succeeded, with_step
from stratum_git.core.source import graph_of
from stratum_git.model.changing import replace
from stratum_git.model.choosing import Chosen
from stratum_git.model.effects import Ask, Effect, Land
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Oid, TaskId
from stratum_git.model.messages import Gathered, Landed, Opened, TaskReported
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.state import (
    Exhausted,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Merged,
    Opening,
    Parked,
    Running,
    Setback,
    StepState,
    Succeeded,
    Verified,
)

CONFLICT = "merge conflict: merge_status='conflict'"
"""What a client is told who says that its own merge failed; the words are the protocol's."""
NOT_LANDED = "on_conflict: fail lands nothing where results conflict"


def opened(state: FlowState, step: Step, now: Opening, event: Opened) -> Turn:
    """Fans the step out, or hands it to its agent."""
    if not isinstance(step.work, Dispatch):
        return single.opened(state, step, event)
    graph = graph_of(state, step.work)
    if not isinstance(graph, TaskGraph):
        return failed(state, step, Failed(graph), (), event.at)
    fan, effects = fanout.fan_out(step.id, step.work, graph, event, now.tries)
    if state.driver == "client":
        return with_step(state, step.id, fan), (Ask(step.id), *effects)
    return with_step(state, step.id, fan), effects


def task_reported(state: FlowState, step: Step, now: FannedOut, event: TaskReported) -> Turn:
    """Goes on after an attempt at a task."""
    index = now.graph.index.get(event.task)
    if index is None or not isinstance(step.work, Dispatch):
        return state, ()
    task = now.tasks[index]
    if not isinstance(task, Running) or task.attempt != event.attempt:
        return state, ()
    turn = fanout.report(step.id, step.work, now, index, event.outcome, paused=state.paused)
    return (state, ()) if turn is None else _fanned(state, step, *turn, event.at)


def chosen(state: FlowState, step: Step, now: FannedOut, event: Chosen) -> Turn:
    """Goes on after one of a task's candidates was taken."""
    if not isinstance(step.work, Dispatch):
        return state, ()
    turn = fanout.chosen(step.id, step.work, now, event, paused=state.paused)
    return (state, ()) if turn is None else _fanned(state, step, *turn, event.at)


def gathered(state: FlowState, step: Step, now: FannedOut, event: Gathered) -> Turn:
    """Goes on after the client reported on several tasks."""
    if not isinstance(step.work, Dispatch):
        return state, ()
    found = {now.graph.index[r.task]: r.outcome for r in event.reports if r.task in now.graph.index}
    fan, effects = fanout.take(step.id, step.work, now, found)
    if event.conflict and fanout.is_idle(fan):
        return _again(state, step, fan, (CONFLICT,), fan.base, event.at)
    return _fanned(state, step, fan, effects, event.at)


def task_cancelled(state: FlowState, step: Step, now: StepState, task: TaskId, why: str) -> Turn:
    """Gives one task up."""
    if not isinstance(now, FannedOut) or not isinstance(step.work, Dispatch):
        return state, ()
    index = now.graph.index.get(task)
    turn = None if index is None else fanout.stop_task(step.id, step.work, now, index, why)
    return (state, ()) if turn is None else _fanned(state, step, *turn, state.updated)


def all_cancelled(state: FlowState, step: Step, now: FannedOut, why: str, at: float) -> Turn:
    """Gives every task up."""
    return _fanned(state, step, *fanout.stop_all(step.id, now, why), at)


def wound_down(state: FlowState, step: Step, now: FannedOut, why: str, at: float) -> Turn | None:
    """Ends what would cost more than a budget has; ``None`` when there is nothing of that."""
    if not isinstance(step.work, Dispatch):
        return None
    turn = fanout.wind_down(step.id, step.work, now, why)
    return None if turn is None else _fanned(state, step, *turn, at)


def resumed(
    state: FlowState, step: Step, work: Dispatch, now: FannedOut
) -> tuple[FlowState, tuple[Effect, ...]]:
    """Launches as many tasks as may run, after an interruption."""
    fan, launches = fanout.relaunch(step.id, work, now)
    return with_step(state, step.id, fan), launches


def landed(state: FlowState, step: Step, fan: FannedOut, event: Landed) -> Turn:
    """Goes on after the step's results were landed. With nothing landed, its postconditions do not hold."""
    if event.findings and not event.entries:
        return _missed(state, step, fan, event.findings, fan.base, event.at)
    fan = fanout.landed(fan, event.entries)
    fan = fan if fan.tip is None else replace(fan, tip=event.new)
    short = tally.shortfall(step.work, fan) if isinstance(step.work, Dispatch) else ()
    if isinstance(step.work, Dispatch) and step.work.on_conflict == "fail" and _has_parked(fan):
        return _missed(state, step, fan, (NOT_LANDED, *tally.blame(fan)), fan.base, event.at)
    if isinstance(step.work, Dispatch) and state.cancelling is None:
        again = _resolving(state, step, step.work, fan, event.new)
        if again is None and short and not over(state, step):
            again = fanout.reopen(step.id, step.work, fan, paused=state.paused)
        if again is not None:
            return with_step(state, step.id, again[0]), again[1]
    findings = (*short, *event.findings)
    if findings:
        return _missed(state, step, fan, findings, event.new, event.at)
    done = Succeeded(fan, fan.tries + 1)
    return succeeded(state, step, done, (tally.aggregate(fan, ok=True),), event.at)


def _resolving(
    state: FlowState, step: Step, work: Dispatch, fan: FannedOut, tip: Oid | None
) -> fanout.Turn | None:
    """Returns the step with agents at work on conflicts, if there are any that they are to resolve."""
    again = None if over(state, step) else resolving.taken_up(work, fan, tip)
    if again is None:
        return None
    return (again, ()) if state.paused else fanout.relaunch(step.id, work, again)


def _has_parked(fan: FannedOut) -> bool:
    return any(isinstance(now, Parked) for now in fan.tasks)


def _fanned(state: FlowState, step: Step, fan: FannedOut, effects: tuple[Effect, ...], at: float) -> Turn:
    state = with_step(state, step.id, fan)
    if not fanout.is_over(fan):
        return state, effects
    if state.cancelling is not None:
        after, more = abandoned(state, step, state.cancelling, fan)
    elif (again := _next_conflict(state, step, fan)) is not None:
        after, more = with_step(state, step.id, again[0]), again[1]
    elif fan.verdict == "missed":
        after, more = _missed(state, step, fan, _why(state, step, fan), fan.base, at)
    else:
        after, more = with_step(state, step.id, Landing(fan)), (Land(step.id),)
    return after, (*effects, *more)


def _next_conflict(state: FlowState, step: Step, fan: FannedOut) -> fanout.Turn | None:
    """Returns the step at work on the next conflict, where the last one left nothing to land."""
    if fan.tip is None or fan.verified or not isinstance(step.work, Dispatch):
        return None
    return _resolving(state, step, step.work, fan, fan.tip)


def _why(state: FlowState, step: Step, fan: FannedOut) -> tuple[str, ...]:
    if not isinstance(step.work, Dispatch):
        return ()
    if state.driver == "runner":
        return tally.shortfall(step.work, fan)
    done = sum(isinstance(now, Verified | Merged) for now in fan.tasks)
    failed_ = fan.graph.size - done
    head = f"require={step.work.require!r} not satisfied: {done} completed, {failed_} failed"
    return (head, *_facts(fan))


def _facts(fan: FannedOut) -> list[str]:
    """Returns what git and the checks say against tasks; what the client said itself is no news to it."""
    pairs = zip(fan.graph.tasks, fan.tasks, strict=True)
    failures = [(t, now) for t, now in pairs if isinstance(now, Exhausted) and now.kind != "agent"]
    failures = [(t, now) for t, now in failures if t.candidate_of is None]
    return [f"{task.id}: {now.kind}: {'; '.join(now.findings)}" for task, now in failures[: tally.BLAMED]]


def _missed(state: FlowState, step: Step, fan: FannedOut, why: tuple[str, ...], base: Oid, at: float) -> Turn:
    spent = over(state, step)
    if state.driver == "client" and spent is None:
        return _again(state, step, fan, why, base, at)
    lost = Failed(why if spent is None else (spent, *why), fan, fan.tries)
    return failed(state, step, lost, (tally.aggregate(fan, ok=False),), at)


def _again(state: FlowState, step: Step, fan: FannedOut, why: tuple[str, ...], base: Oid, at: float) -> Turn:
    """Lets the client report once more what is not done, from *base*, unless that was the last try."""
    setback = Setback("ensure_failed", step.id, why)
    tries = fan.tries + 1
    if tries < step.retries and isinstance(step.work, Dispatch):
        again, effects = fanout.retry(step.id, step.work, fan, base, at)
        state = replace(with_step(state, step.id, again), setback=setback)
        return state, (Ask(step.id), *effects)
    state = replace(with_step(state, step.id, fan), setback=replace(setback, last=True))
    lost = Failed(why, fan, tries)
    output = tally.aggregate(fan, ok=False, conflict=why == (CONFLICT,), landed=False)
    return failed(state, step, lost, (output,), at)
