"""What the end of one task means for others: who may begin, who never will, who is not wanted any more."""

from __future__ import annotations

from stratum_git.core import contest, resolving
from stratum_git.model.changing import replace
from stratum_git.model.effects import Choose, Effect, Stop
from stratum_git.model.ids import StepId
from stratum_git.model.state import (
    Exhausted,
    FannedOut,
    Pending,
    Running,
    Standing,
    Stopped,
    TaskState,
    Verified,
)


def over(step: StepId, fan: FannedOut, index: int, effects: list[Effect]) -> FannedOut:
    """Returns the step after task *index* is over: others begin, never do, or its result may be chosen."""
    head = contest.head_of(fan.graph, index)
    if head is None:
        return freed(fan, index) if isinstance(fan.tasks[index], Verified) else buried(fan, index)
    if contest.is_due(fan, head):
        effects.append(Choose(step, fan.graph.tasks[head].id))
    lost = contest.defeat(fan, head)
    return fan if lost is None else buried(replace(fan, tasks=fan.tasks.replace(head, lost)), head)


def freed(fan: FannedOut, index: int) -> FannedOut:
    """Returns the step after task *index* succeeded: its dependents wait for one task less."""
    tasks, ready = fan.tasks, fan.ready
    done = [index]
    for finished in done:
        for other in fan.graph.dependents[finished]:
            now = tasks[other]
            if isinstance(now, Pending) and now.waits == 1 and now.done is not None:
                # What it did before counts again.
                tasks = tasks.replace(other, now.done)
                done.append(other)
            elif isinstance(now, Pending):
                tasks = tasks.replace(other, replace(now, waits=now.waits - 1))
                ready = ready.including(other) if now.waits == 1 else ready
    return replace(fan, tasks=tasks, ready=ready, verified=fan.verified + len(done))


def buried(fan: FannedOut, index: int) -> FannedOut:
    """Returns the step after task *index* failed: whatever depends on it, at any depth, never begins."""
    fan = replace(fan, dead=fan.dead + _counts(fan, index))
    doomed = [(other, index) for other in fan.graph.dependents[index]]
    while doomed:
        other, culprit = doomed.pop()
        if isinstance(fan.tasks[other], Pending) and not contest.has_begun(fan, other):
            why = f"needs {fan.graph.tasks[culprit].id}, which did not succeed"
            fan = dropped(fan, other, why)
            doomed += [(further, other) for further in fan.graph.dependents[other]]
    return fan


def given_up(step: StepId, fan: FannedOut, index: int, why: str, effects: list[Effect]) -> FannedOut:
    """Returns the step with a task that is not wanted any more stopped, whatever it is at."""
    match fan.tasks[index]:
        case Pending():
            return never_begun(fan, index, why)
        case Running(stopping=None):
            return stop_running(step, fan, index, why, effects)
        case Standing():
            return contest.withdrawn(fan, index, why)
        case _:
            return fan


def dropped(fan: FannedOut, index: int, why: str) -> FannedOut:
    """Returns the step with one more task that can no longer succeed, because it never begins."""
    return replace(never_begun(fan, index, why), dead=fan.dead + _counts(fan, index))


def never_begun(fan: FannedOut, index: int, why: str) -> FannedOut:
    """Returns the step with a pending task stopped before it began."""
    ready = fan.ready.without(index)
    now = fan.tasks[index]
    # An attempt that was interrupted counts: its number is not given again.
    attempt = now.attempt if isinstance(now, Pending) else 0
    after: TaskState = Stopped(attempt, why)
    if isinstance(now, Pending) and now.resolves is not None:
        after = resolving.given_up(now.resolves, attempt)
    elif isinstance(now, Pending) and now.done is not None:
        done = now.done
        after = Exhausted(done.attempt, "needs", (why,), done.result, done.output, done.base)
    return replace(fan, tasks=fan.tasks.replace(index, after), ready=ready)


def stop_running(step: StepId, fan: FannedOut, index: int, why: str, effects: list[Effect]) -> FannedOut:
    """Returns the step with the attempt at a task being ended."""
    now = fan.tasks[index]
    if isinstance(now, Running):
        effects.append(Stop(step, fan.graph.tasks[index].id, now.attempt, why))
        fan = replace(fan, tasks=fan.tasks.replace(index, replace(now, stopping=why)))
    return fan


def put_back(fan: FannedOut, index: int, now: Running) -> FannedOut:
    """Returns the step with a task that was interrupted waiting for its next attempt."""
    waiting = Pending(0, now.attempt - 1, now.failures, now.findings, now.resolves, goes_on=now.goes_on)
    tasks = fan.tasks.replace(index, waiting)
    return replace(fan, tasks=tasks, ready=fan.ready.including(index), running=fan.running - 1)


def _counts(fan: FannedOut, index: int) -> bool:
    return not contest.is_candidate(fan.graph, index)
