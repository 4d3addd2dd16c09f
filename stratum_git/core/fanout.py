"""A dispatch step at work: which task may start, what a report means, when the whole is decided.

Pure, and O(changed) per report: a task counts the needs it still waits for, so nothing is searched. What
comes out beside the new state are the effects for the tasks that start or are to be stopped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, assert_never

from stratum_git.core import resolving
from stratum_git.core.quorum import decide, needed
from stratum_git.core.tally import ENOUGH, HOPELESS_STEP
from stratum_git.model.chunks import Chunks
from stratum_git.model.effects import Effect, Launch, Stop
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Oid, StepId
from stratum_git.model.messages import (
    Completed,
    DroppedResult,
    Halted,
    LandedResult,
    LandingEntry,
    Lost,
    Opened,
    Outcome,
    ParkedResult,
    Rejected,
)
from stratum_git.model.spec import Dispatch
from stratum_git.model.state import (
    Exhausted,
    FannedOut,
    Merged,
    Parked,
    Pending,
    Running,
    Stopped,
    TaskState,
    Verified,
)

Turn: TypeAlias = tuple[FannedOut, tuple[Effect, ...]]

HOPELESS: frozenset[str] = frozenset({"start", "base"})
"""Kinds of rejection that another attempt cannot mend: the program is missing, or the needs conflict."""


def fan_out(step: StepId, work: Dispatch, graph: TaskGraph, event: Opened, tries: int) -> Turn:
    """Returns the step with its first tasks launched."""
    tasks: Chunks[TaskState] = Chunks.of(Pending(len(needs)) for needs in graph.needs)
    ready = tuple(i for i, needs in enumerate(graph.needs) if not needs)
    fan = FannedOut(event.base, event.target, graph, tasks, ready, since=event.at, tries=tries)
    return _fill(step, work, fan, [])


def report(
    step: StepId, work: Dispatch, fan: FannedOut, index: int, outcome: Outcome, *, paused: bool
) -> Turn | None:
    """Returns the step after a report about the running attempt of task *index*."""
    now = fan.tasks[index]
    if not isinstance(now, Running):
        return None
    effects: list[Effect] = []
    after = _judged(work, now, outcome)
    if isinstance(after, Running) and paused:
        return _put_back(fan, index, after), ()
    fan = replace(fan, tasks=fan.tasks.replace(index, after))
    if isinstance(after, Running):
        effects.append(Launch(step, fan.graph.tasks[index].id, after.attempt, after.findings, after.resolves))
        return fan, tuple(effects)
    fan = replace(fan, running=fan.running - 1)
    fan = _freed(fan, index) if isinstance(after, Verified) else _buried(fan, index)
    return _settle(step, work, fan, effects, paused=paused)


def take(step: StepId, work: Dispatch, fan: FannedOut, reports: Mapping[int, Outcome]) -> Turn:
    """Returns the step after reports about several tasks at once, none of which stops another of them.

    A task that had not been launched counts as done without a place of its own, even where what it needs was
    not done: nothing of it lands. Of a verified result whoever reports may still say that it is none.
    """
    effects: list[Effect] = []
    order = [index for index in fan.graph.order if index in reports]
    # Failures last: they bury what depends on them, and is not done yet.
    for index in sorted(order, key=lambda index: not isinstance(reports[index], Completed)):
        fan = _taken(step, work, fan, index, reports[index], effects)
    return _settle(step, work, fan, effects, paused=False)


def retry(step: StepId, work: Dispatch, fan: FannedOut, base: Oid, at: float) -> Turn:
    """Returns the step at work again on whatever is not done, from *base*, after it was not enough."""
    alive = (Verified, Merged)
    tasks, ready, counts = fan.tasks, [], {"verified": 0, "merged": 0}
    for index in fan.graph.order:
        now = fan.tasks[index]
        counts["verified"] += isinstance(now, Verified)
        counts["merged"] += isinstance(now, Merged)
        if isinstance(now, alive):
            continue
        waits = sum(not isinstance(fan.tasks[need], alive) for need in fan.graph.needs[index])
        attempt = 0 if isinstance(now, Pending) else now.attempt
        attempt = resolving.last_of(now) if isinstance(now, Parked) else attempt
        tasks = tasks.replace(index, Pending(waits, attempt, findings=_reproach(now)))
        ready += [] if waits else [index]
    again = FannedOut(
        base=base,
        target=fan.target,
        graph=fan.graph,
        tasks=tasks,
        ready=tuple(sorted(ready)),
        verified=counts["verified"],
        merged=counts["merged"],
        since=at,
        tries=fan.tries + 1,
    )
    return _fill(step, work, again, [])


def relaunch(step: StepId, work: Dispatch, fan: FannedOut) -> Turn:
    """Returns the step, after an interruption, with as many tasks launched as may run."""
    return _fill(step, work, fan, [])


def stop_task(step: StepId, work: Dispatch, fan: FannedOut, index: int, why: str) -> Turn | None:
    """Returns the step with one task given up, or ``None`` when that task is over already."""
    now = fan.tasks[index]
    effects: list[Effect] = []
    if isinstance(now, Running) and now.stopping is None:
        return _stop_running(step, fan, index, why, effects), tuple(effects)
    if not isinstance(now, Pending):
        return None
    return _settle(step, work, _buried(_never_begun(fan, index, why), index), effects, paused=False)


def stop_all(step: StepId, fan: FannedOut, why: str) -> Turn:
    """Returns the step with everything that is not over given up."""
    effects: list[Effect] = []
    for index, now in enumerate(fan.tasks):
        if isinstance(now, Pending):
            fan = replace(_never_begun(fan, index, why), dead=fan.dead + 1)
        elif isinstance(now, Running) and now.stopping is None:
            fan = _stop_running(step, fan, index, why, effects)
    return replace(fan, ready=()), tuple(effects)


def reopen(step: StepId, work: Dispatch, fan: FannedOut, *, paused: bool) -> Turn | None:
    """Returns the step at work again, where too few of the results that were enough could be landed.

    What was given up because enough results were in is taken up again; ``None`` when that cannot suffice.
    """
    alive = {index for index, now in enumerate(fan.tasks) if isinstance(now, Merged)}
    merged, ready, tasks = len(alive), [], fan.tasks
    for index in fan.graph.order:
        now, needs = fan.tasks[index], fan.graph.needs[index]
        if isinstance(now, Stopped) and now.why == ENOUGH and alive.issuperset(needs):
            alive.add(index)
            waits = sum(not isinstance(fan.tasks[need], Merged) for need in needs)
            # How many of its attempts failed is not known any more: all before the last, to be strict.
            failures = min(max(now.attempt - 1, 0), work.task_retries)
            tasks = tasks.replace(index, Pending(waits, now.attempt, failures))
            ready += [] if waits else [index]
    if len(alive) == merged or len(alive) < needed(work.require, len(fan.tasks)):
        return None
    fan = replace(
        fan,
        tasks=tasks,
        ready=tuple(sorted(ready)),
        merged=merged,
        dead=len(fan.tasks) - len(alive),
        verdict="open",
    )
    return (fan, ()) if paused else _fill(step, work, fan, [])


def is_over(fan: FannedOut) -> bool:
    """Returns whether no task is running and none will start."""
    return not fan.running and not fan.ready


def candidates(fan: FannedOut) -> tuple[int, ...]:
    """Returns the indices of the results to land, in the order in which they land."""
    return tuple(i for i in fan.graph.order if isinstance(fan.tasks[i], Verified))


def landed(fan: FannedOut, entries: Sequence[LandingEntry]) -> FannedOut:
    """Returns the step with the outcome of its landing noted on its tasks."""
    by_task = {entry.task: entry for entry in entries}
    for index in candidates(fan):
        now = fan.tasks[index]
        entry = by_task.get(fan.graph.tasks[index].id)
        if isinstance(now, Verified) and entry is not None:
            fan = replace(fan, tasks=fan.tasks.replace(index, _placed(now, entry)))
    return replace(fan, verified=sum(isinstance(now, Verified) for now in fan.tasks))


def _is_empty(outcome: Outcome) -> bool:
    return isinstance(outcome, Completed) and outcome.result == outcome.base


def _reproach(now: TaskState) -> tuple[str, ...]:
    """Returns what is to be said of a task that is done again."""
    match now:
        case Exhausted(findings=findings):
            return findings
        case Parked(paths=paths):
            return (f"the result conflicts with what landed before it, in {', '.join(paths)}",)
        case _:
            return ()


def _taken(
    step: StepId, work: Dispatch, fan: FannedOut, index: int, outcome: Outcome, effects: list[Effect]
) -> FannedOut:
    now = fan.tasks[index]
    if isinstance(now, Pending) and (not now.waits or _is_empty(outcome)):
        ready = tuple(other for other in fan.ready if other != index)
        now = Running(now.attempt + 1, now.failures)
        fan = replace(fan, tasks=fan.tasks.replace(index, now), ready=ready, running=fan.running + 1)
    if isinstance(now, Verified) and isinstance(outcome, Rejected):
        said = outcome.output
        withdrawn = Exhausted(now.attempt, outcome.kind, outcome.findings, now.result, said)
        fan = replace(fan, tasks=fan.tasks.replace(index, withdrawn), verified=fan.verified - 1)
        return _buried(fan, index)
    if not isinstance(now, Running):
        return fan
    after = _judged(work, now, outcome)
    fan = replace(fan, tasks=fan.tasks.replace(index, after))
    if isinstance(after, Running):
        effects.append(Launch(step, fan.graph.tasks[index].id, after.attempt, after.findings, after.resolves))
        return fan
    fan = replace(fan, running=fan.running - 1)
    return _freed(fan, index) if isinstance(after, Verified) else _buried(fan, index)


def _judged(work: Dispatch, now: Running, outcome: Outcome) -> TaskState:
    if now.resolves is not None:
        return resolving.judged(work, now, now.resolves, outcome)
    if now.stopping is not None:
        return Stopped(now.attempt, now.stopping, outcome.result)
    match outcome:
        case Completed(base, result, output):
            return Verified(now.attempt, base, result, output)
        case Rejected(kind, findings):
            if kind in HOPELESS or now.failures >= work.task_retries:
                return Exhausted(now.attempt, kind, findings, outcome.result, outcome.output)
            return Running(now.attempt + 1, now.failures + 1, findings=findings)
        case Lost():
            return Running(now.attempt + 1, now.failures, findings=now.findings)
        case Halted(why, result):
            return Stopped(now.attempt, why, result)
        case _ as never:
            assert_never(never)


def _settle(step: StepId, work: Dispatch, fan: FannedOut, effects: list[Effect], *, paused: bool) -> Turn:
    if fan.verdict == "open":
        verdict = decide(work.require, len(fan.tasks), good=fan.verified + fan.merged, dead=fan.dead)
        fan = replace(fan, verdict=verdict)
        if verdict != "open":
            fan = _wind_up(step, work, fan, verdict, effects)
    return (fan, tuple(effects)) if paused else _fill(step, work, fan, effects)


def _wind_up(
    step: StepId,
    work: Dispatch,
    fan: FannedOut,
    verdict: Literal["met", "missed"],
    effects: list[Effect],
) -> FannedOut:
    if verdict == "missed" or work.on_quorum == "cancel":
        why = ENOUGH if verdict == "met" else HOPELESS_STEP
        fan, stops = stop_all(step, fan, why)
        effects.extend(stops)
    elif work.on_quorum == "drain":
        for index in range(len(fan.tasks)):
            if isinstance(fan.tasks[index], Pending):
                fan = _never_begun(fan, index, ENOUGH)
                fan = replace(fan, dead=fan.dead + 1)
    return fan


def _fill(step: StepId, work: Dispatch, fan: FannedOut, effects: list[Effect]) -> Turn:
    free = max(0, work.max_concurrent - fan.running)
    tasks = fan.tasks
    for index in fan.ready[:free]:
        before = tasks[index]
        if isinstance(before, Pending):
            said, conflict = before.findings, before.resolves
            running = Running(before.attempt + 1, before.failures, findings=said, resolves=conflict)
            tasks = tasks.replace(index, running)
            effects.append(Launch(step, fan.graph.tasks[index].id, running.attempt, said, conflict))
    started = len(fan.ready[:free])
    fan = replace(fan, tasks=tasks, ready=fan.ready[free:], running=fan.running + started)
    return fan, tuple(effects)


def _freed(fan: FannedOut, index: int) -> FannedOut:
    """Returns the step after task *index* succeeded: its dependents wait for one task less."""
    tasks, ready = fan.tasks, fan.ready
    done = [index]
    for freed in done:
        for other in fan.graph.dependents[freed]:
            now = tasks[other]
            if isinstance(now, Pending) and now.waits == 1 and now.done is not None:
                # What it did before counts again.
                tasks = tasks.replace(other, now.done)
                done.append(other)
            elif isinstance(now, Pending):
                tasks = tasks.replace(other, replace(now, waits=now.waits - 1))
                ready = _inserted(ready, other) if now.waits == 1 else ready
    return replace(fan, tasks=tasks, ready=ready, verified=fan.verified + len(done))


def _inserted(ready: tuple[int, ...], index: int) -> tuple[int, ...]:
    place = bisect_left(ready, index)
    return (*ready[:place], index, *ready[place:])


def _put_back(fan: FannedOut, index: int, now: Running) -> FannedOut:
    """Returns the step with a task that was interrupted waiting for its next attempt."""
    waiting = Pending(0, now.attempt - 1, now.failures, now.findings, now.resolves)
    tasks = fan.tasks.replace(index, waiting)
    return replace(fan, tasks=tasks, ready=_inserted(fan.ready, index), running=fan.running - 1)


def _buried(fan: FannedOut, index: int) -> FannedOut:
    """Returns the step after task *index* failed: whatever depends on it, at any depth, never begins."""
    fan = replace(fan, dead=fan.dead + 1)
    doomed = [(other, index) for other in fan.graph.dependents[index]]
    while doomed:
        other, culprit = doomed.pop()
        if isinstance(fan.tasks[other], Pending):
            why = f"needs {fan.graph.tasks[culprit].id}, which did not succeed"
            fan = _never_begun(fan, other, why)
            fan = replace(fan, dead=fan.dead + 1)
            doomed += [(further, other) for further in fan.graph.dependents[other]]
    return fan


def _never_begun(fan: FannedOut, index: int, why: str) -> FannedOut:
    place = bisect_left(fan.ready, index)
    ready = fan.ready
    if place < len(ready) and ready[place] == index:
        ready = (*ready[:place], *ready[place + 1 :])
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


def _stop_running(step: StepId, fan: FannedOut, index: int, why: str, effects: list[Effect]) -> FannedOut:
    now = fan.tasks[index]
    if isinstance(now, Running):
        effects.append(Stop(step, fan.graph.tasks[index].id, now.attempt, why))
        fan = replace(fan, tasks=fan.tasks.replace(index, replace(now, stopping=why)))
    return fan


def _placed(now: Verified, entry: LandingEntry) -> TaskState:
    if now.resolves is not None:
        return resolving.placed(now, now.resolves, entry)
    match entry:
        case LandedResult(_, result, commit):
            return Merged(now.attempt, now.base, result, commit, now.output)
        case ParkedResult(_, result, conflict, paths):
            return Parked(now.attempt, now.base, result, conflict, paths, now.output)
        case DroppedResult(_, result, kind, findings):
            return Exhausted(now.attempt, kind, findings, result, now.output, now.base)
        case _ as never:
            assert_never(never)
