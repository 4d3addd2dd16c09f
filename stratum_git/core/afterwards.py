"""What becomes of a landing when its step is over: what was left lands later, or all of it is undone.

Both are events of their own, accepted in any state of the flow. What a late landing says of a task counts
where that task's result is still left. A step that had failed because too little landed, and only because of
that, succeeds when it is enough, and the flow goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from stratum_git.core import tally
from stratum_git.core.questions import fan_of
from stratum_git.core.route import Turn, succeeded, with_output, with_step
from stratum_git.model.effects import Effect, Sync
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.messages import (
    DroppedResult,
    LandedLater,
    LandedResult,
    LandingEntry,
    ParkedResult,
    Undone,
)
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.state import (
    Abandoned,
    Exhausted,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Merged,
    Parked,
    PendingSync,
    PutBack,
    StepState,
    Succeeded,
    TaskState,
    Verified,
)

Kept = Succeeded | Failed | Abandoned | Landing
"""States of a step that is done with its tasks, and keeps them."""


def landed_later(state: FlowState, event: LandedLater) -> Turn:
    """Notes what landed when its step was over, and goes on where the flow had failed for want of it."""
    step = state.program.steps.get(event.step)
    now = None if step is None else state.step(event.step)
    if step is None or not isinstance(now, Kept):
        return state, ()
    fan, after = fan_of(now), noted(step, now, event.entries)
    if after is fan and event.old == event.new:
        return state, ()
    fresh = tuple(one for one in state.undone if one.target != event.target)
    state, effects = _moving(replace(state, undone=fresh), event.target, event.old, event.new)
    if after is None or fan is None:
        return _alone(state, step, now, event, effects)
    if _suffices(state, step, now, fan, after, event):
        done = Succeeded(after, after.tries + 1)
        output = (tally.aggregate(after, ok=True),)
        state, more = succeeded(state, step, done, output, event.at)
        return state, (*effects, *more)
    return _with_fan(state, step, now, after), effects


def _alone(
    state: FlowState, step: Step, now: StepState, event: LandedLater, effects: tuple[Effect, ...]
) -> Turn:
    """Notes that the result of a step landed which one agent did."""
    is_there = any(isinstance(entry, LandedResult) for entry in event.entries)
    if not is_there or event.findings or not _is_waited_for(state, step, now):
        return state, effects
    output = state.outputs[state.program.position[step.id]]
    state, more = succeeded(state, step, Succeeded(), output, event.at)
    return state, (*effects, *more)


def undone(state: FlowState, event: Undone) -> Turn:
    """Notes that a target was put back: whatever of the flow had landed there is not on it any more."""
    if event.old == event.new:
        return state, ()
    state = without(state, event.target)
    others = tuple(one for one in state.undone if one.target != event.target)
    back = PutBack(event.target, event.old, event.new)
    return _moving(replace(state, undone=(*others, back)), event.target, event.old, event.new)


def without(state: FlowState, target: RefName) -> FlowState:
    """Returns the flow with nothing of it on *target*."""
    for name in state.program.order:
        now = state.step(name)
        fan = fan_of(now)
        if fan is None or fan.target != target:
            continue
        tasks = fan.tasks
        for index, task in enumerate(fan.tasks):
            # One that changed nothing there may have found what it had landed in an earlier round.
            if isinstance(task, Merged) and not task.undone:
                tasks = tasks.replace(index, replace(task, undone=True))
        if tasks is not fan.tasks:
            state = with_step(state, name, _carrying(now, replace(fan, tasks=tasks)))
    return state


def left(step: Step, now: StepState) -> Iterator[tuple[int, Oid, Oid]]:
    """Yields what a step that is over has to land yet: index, base and result of its tasks, in landing order.

    These are results that were parked or left out, that are to be merged by hand, that passed their checks
    where too few did, and what an undo took off the target.
    """
    fan = fan_of(now) if isinstance(now, Kept) else None
    if fan is None:
        return
    for index in fan.graph.order:
        found = _result(step, now, fan.tasks[index])
        # Of a conflict that was resolved by taking what is there, nothing is left but to say so.
        if found is not None and (found[0] != found[1] or isinstance(fan.tasks[index], Parked)):
            yield index, *found


def _result(step: Step, now: StepState, task: TaskState) -> tuple[Oid, Oid] | None:
    match task:
        case Verified(base=base, result=result) if not isinstance(now, Landing):
            return base, result
        case Parked(base=base, result=result):
            return base, result
        case Exhausted(base=base, result=result) if base is not None and result is not None:
            return base, result
        case Merged(base=base, result=result, commit=commit, undone=is_undone):
            return (base, result) if is_undone or (commit is None and is_manual(step)) else None
        case _:
            return None


def is_manual(step: Step) -> bool:
    """Returns whether the results of a step stay on their branches until somebody lands them."""
    return isinstance(step.work, Dispatch) and step.work.merge == "manual"


def noted(step: Step, now: StepState, entries: Sequence[LandingEntry]) -> FannedOut | None:
    """Returns the tasks of a step with what became of them; the very same when that is nothing new."""
    fan = fan_of(now)
    if fan is None:
        return None
    by_task = {entry.task: entry for entry in entries}
    tasks = fan.tasks
    for index, base, _ in left(step, now):
        entry = by_task.get(fan.graph.tasks[index].id)
        if entry is not None:
            after = _placed(fan.tasks[index], base, entry)
            tasks = tasks if after == fan.tasks[index] else tasks.replace(index, after)
    if tasks is fan.tasks:
        return fan
    count = sum(isinstance(task, Merged) for task in tasks)
    merged = count if isinstance(now, Landing) else fan.merged
    return replace(fan, tasks=tasks, merged=merged)


def _placed(task: TaskState, base: Oid, entry: LandingEntry) -> TaskState:
    attempt, output = getattr(task, "attempt", 0), getattr(task, "output", None)
    match entry:
        case LandedResult(result=result, commit=commit):
            return Merged(attempt, base, result, commit, output)
        case ParkedResult(result=result, conflict=conflict, paths=paths):
            return Parked(attempt, base, result, conflict, paths, output)
        case DroppedResult(result=result, kind=kind, findings=findings):
            return Exhausted(attempt, kind, findings, result, output, base)


def is_news(before: FannedOut, after: FannedOut) -> bool:
    """Returns whether more became of a task than what it was: that it conflicts still is nothing new."""
    pairs = zip(before.tasks, after.tasks, strict=True)
    return any(
        one is not other and (type(one) is not type(other) or isinstance(other, Merged))
        for one, other in pairs
    )


def _is_waited_for(state: FlowState, step: Step, now: StepState) -> bool:
    if not isinstance(now, Failed) or state.status != "failed" or state.cursor != step.id:
        return False
    return state.cancelling is None


def _suffices(
    state: FlowState, step: Step, now: StepState, before: FannedOut, after: FannedOut, event: LandedLater
) -> bool:
    """Returns whether the flow had failed because too little landed, and does not any more."""
    if not _is_waited_for(state, step, now) or event.findings or not isinstance(step.work, Dispatch):
        return False
    return bool(tally.shortfall(step.work, before)) and not tally.shortfall(step.work, after)


def _with_fan(state: FlowState, step: Step, now: StepState, fan: FannedOut) -> FlowState:
    state = with_step(state, step.id, _carrying(now, fan))
    if isinstance(now, Succeeded):
        state = with_output(state, step.id, (tally.aggregate(fan, ok=True),))
    return state


def _carrying(now: StepState, fan: FannedOut) -> StepState:
    match now:
        case Succeeded() | Failed() | Abandoned() | Landing():
            return replace(now, work=fan)
        case FannedOut():
            return fan
        case _:
            return now


def _moving(state: FlowState, target: RefName, old: Oid, new: Oid) -> tuple[FlowState, tuple[Effect, ...]]:
    if old == new:
        return state, ()
    pending = PendingSync(target, old, new)
    return replace(state, unsynced=(*state.unsynced, pending)), (Sync(target, old, new),)
