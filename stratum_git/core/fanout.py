"""A dispatch step at work: which task may start, what a report means, when the whole is decided.

Pure, and O(changed) per report: a task counts the needs it still waits for, so nothing is searched. What
comes out beside the new state are the effects for the tasks that start or are to be stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, assert_never

from stratum_git.core import contest, resolving, ripples
from stratum_git.core.conversations import goes_on
from stratum_git.core.quorum import HOPELESS, decide, needed
from stratum_git.core.ranking import reasons
from stratum_git.core.tally import ENOUGH, HOPELESS_STEP
from stratum_git.model.changing import replace
from stratum_git.model.choosing import Chosen
from stratum_git.model.chunks import Chunks
from stratum_git.model.effects import Choose, Effect, Launch
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Oid, StepId
from stratum_git.model.indices import Indices
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
    Standing,
    Stopped,
    TaskState,
    Verified,
)

SPENT = "the budget is spent"
Turn: TypeAlias = tuple[FannedOut, tuple[Effect, ...]]


def fan_out(step: StepId, work: Dispatch, graph: TaskGraph, event: Opened, tries: int) -> Turn:
    """Returns the step with its first tasks launched."""
    # A task with candidates waits for the choice among them, too.
    waits = [len(needs) + (i in graph.contests) for i, needs in enumerate(graph.needs)]
    tasks: Chunks[TaskState] = Chunks.of(Pending(count) for count in waits)
    ready = Indices.of(i for i, count in enumerate(waits) if not count)
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
    after = contest.entered(fan.graph, index, _judged(work, now, outcome), outcome)
    if isinstance(after, Running) and paused:
        return ripples.put_back(fan, index, after), ()
    tasks, under_way = fan.tasks.replace(index, after), isinstance(after, Running)
    fan = replace(fan, tasks=tasks, running=fan.running if under_way else fan.running - 1)
    if isinstance(after, Running):
        effects.append(_launch(step, fan, index, after))
        return fan, tuple(effects)
    fan = ripples.over(step, fan, index, effects)
    return _settle(step, work, fan, effects, paused=paused)


def chosen(step: StepId, work: Dispatch, fan: FannedOut, event: Chosen, *, paused: bool) -> Turn | None:
    """Returns the step with a task's result taken from one of its candidates, or ``None`` if it cannot be."""
    head, winner = fan.graph.index.get(event.task), fan.graph.index.get(event.candidate)
    if head is None or winner is None or winner not in fan.graph.contests.get(head, ()):
        return None
    if not contest.is_due(fan, head) or not isinstance(fan.tasks[winner], Standing):
        return None
    fan = ripples.freed(contest.decided(fan, head, winner, reasons(event.ranking)), head)
    return _settle(step, work, fan, [], paused=paused)


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
        if contest.is_candidate(fan.graph, index):
            continue
        waits = sum(not isinstance(fan.tasks[need], alive) for need in fan.graph.needs[index])
        attempt = 0 if isinstance(now, Pending) else now.attempt
        attempt = resolving.last_of(now) if isinstance(now, Parked) else attempt
        contested = index in fan.graph.contests
        tasks = tasks.replace(index, Pending(waits + contested, attempt, findings=_reproach(now)))
        tasks, more = contest.again(fan, tasks, index, waits)
        ready += more if contested or waits else [index]
    again = FannedOut(
        base=base,
        target=fan.target,
        graph=fan.graph,
        tasks=tasks,
        ready=Indices.of(ready),
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
        return ripples.stop_running(step, fan, index, why, effects), tuple(effects)
    if not isinstance(now, Pending | Standing):
        return None
    for other in (*fan.graph.contests.get(index, ()), index):
        fan = ripples.given_up(step, fan, other, why, effects)
    return _settle(step, work, ripples.over(step, fan, index, effects), effects, paused=False)


def wind_down(step: StepId, work: Dispatch, fan: FannedOut, why: str) -> Turn | None:
    """Returns the step with everything ended that would cost more, or ``None`` when there is nothing.

    Results that are there still count, and of candidates that have some one is still taken.
    """
    effects: list[Effect] = []
    before, due = fan, contest.due(fan)
    for index in range(len(fan.tasks)):
        now = fan.tasks[index]
        if isinstance(now, Running) and now.stopping is None:
            fan = ripples.stop_running(step, fan, index, why, effects)
        elif isinstance(now, Pending) and not contest.has_begun(fan, index):
            said = f"{SPENT}; before: {'; '.join(now.findings)}" if now.findings else SPENT
            fan = ripples.dropped(fan, index, said)
    if fan is before:
        return None
    effects.extend(Choose(step, fan.graph.tasks[head].id) for head in contest.due(fan) if head not in due)
    return _settle(step, work, fan, effects, paused=True)


def stop_all(step: StepId, fan: FannedOut, why: str) -> Turn:
    """Returns the step with everything that is not over given up."""
    effects: list[Effect] = []
    for index, now in enumerate(fan.tasks):
        if isinstance(now, Pending):
            fan = ripples.dropped(fan, index, why)
        else:
            fan = ripples.given_up(step, fan, index, why, effects)
    return replace(fan, ready=Indices()), tuple(effects)


def reopen(step: StepId, work: Dispatch, fan: FannedOut, *, paused: bool) -> Turn | None:
    """Returns the step at work again, where too few of the results that were enough could be landed.

    What was given up because enough results were in is taken up again; ``None`` when that cannot suffice.
    """
    alive = {index for index, now in enumerate(fan.tasks) if isinstance(now, Merged)}
    merged, ready, tasks = len(alive), [], fan.tasks
    for index in fan.graph.order:
        now, needs = fan.tasks[index], fan.graph.needs[index]
        if contest.is_candidate(fan.graph, index):
            continue
        if isinstance(now, Stopped) and now.why == ENOUGH and alive.issuperset(needs):
            alive.add(index)
            waits = sum(not isinstance(fan.tasks[need], Merged) for need in needs)
            # How many of its attempts failed is not known any more: all before the last, to be strict.
            failures = min(max(now.attempt - 1, 0), work.task_retries)
            contested = index in fan.graph.contests
            tasks = tasks.replace(index, Pending(waits + contested, now.attempt, failures))
            tasks, more = contest.again(fan, tasks, index, waits, only=ENOUGH)
            ready += more if contested or waits else [index]
    if len(alive) == merged or len(alive) < needed(work.require, fan.graph.size):
        return None
    fan = replace(
        fan,
        tasks=tasks,
        ready=Indices.of(ready),
        merged=merged,
        dead=fan.graph.size - len(alive),
        verdict="open",
    )
    return (fan, ()) if paused else _fill(step, work, fan, [])


def is_over(fan: FannedOut) -> bool:
    """Returns whether no task is running, none will start, and nothing is to be chosen."""
    return is_idle(fan) and not contest.due(fan)


def is_idle(fan: FannedOut) -> bool:
    """Returns whether no task is running and none will start before something is chosen."""
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
    verified = sum(isinstance(now, Verified) for now in fan.tasks)
    return replace(fan, verified=verified, collisions=())


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
    if isinstance(now, Pending) and contest.is_open(fan, index):
        return fan
    if isinstance(now, Pending) and (not now.waits or _is_empty(outcome)):
        now = Running(now.attempt + 1, now.failures)
        ready, tasks = fan.ready.without(index), fan.tasks.replace(index, now)
        fan = replace(fan, tasks=tasks, ready=ready, running=fan.running + 1)
    if isinstance(now, Verified | Standing) and isinstance(outcome, Rejected):
        said = outcome.output
        withdrawn = Exhausted(now.attempt, outcome.kind, outcome.findings, now.result, said)
        verified = fan.verified - isinstance(now, Verified)
        fan = replace(fan, tasks=fan.tasks.replace(index, withdrawn), verified=verified)
        return ripples.over(step, fan, index, effects)
    if not isinstance(now, Running):
        return fan
    after = contest.entered(fan.graph, index, _judged(work, now, outcome), outcome)
    fan = replace(fan, tasks=fan.tasks.replace(index, after))
    if isinstance(after, Running):
        effects.append(_launch(step, fan, index, after))
        return fan
    return ripples.over(step, replace(fan, running=fan.running - 1), index, effects)


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
            again = goes_on(outcome, now.goes_on)
            return Running(now.attempt + 1, now.failures + 1, findings=findings, goes_on=again)
        case Lost():
            return Running(now.attempt + 1, now.failures, findings=now.findings)
        case Halted(why, result):
            return Stopped(now.attempt, why, result)
        case _ as never:
            assert_never(never)


def _settle(step: StepId, work: Dispatch, fan: FannedOut, effects: list[Effect], *, paused: bool) -> Turn:
    if fan.verdict == "open":
        good = fan.verified + fan.merged
        verdict = decide(work.require, fan.graph.size, good=good, dead=fan.dead)
        if verdict != "open":
            fan = _wind_up(step, work, replace(fan, verdict=verdict), verdict, effects)
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
        waiting = contest.due(fan)
        for index in range(len(fan.tasks)):
            # Of candidates that are at work, or done, one is still taken.
            if isinstance(fan.tasks[index], Pending) and not contest.has_begun(fan, index):
                fan = ripples.dropped(fan, index, ENOUGH)
        more = (head for head in contest.due(fan) if head not in waiting)
        effects.extend(Choose(step, fan.graph.tasks[head].id) for head in more)
    return fan


def _fill(step: StepId, work: Dispatch, fan: FannedOut, effects: list[Effect]) -> Turn:
    starting = fan.ready.first(work.max_concurrent - fan.running)
    if not starting:
        return fan, tuple(effects)
    tasks = fan.tasks
    for index in starting:
        before = tasks[index]
        if isinstance(before, Pending):
            said, conflict = before.findings, before.resolves
            running = Running(
                before.attempt + 1, before.failures, None, said, conflict, goes_on=before.goes_on
            )
            tasks = tasks.replace(index, running)
            effects.append(_launch(step, fan, index, running))
    ready = fan.ready.without(*starting)
    fan = replace(fan, tasks=tasks, ready=ready, running=fan.running + len(starting))
    return fan, tuple(effects)


def _launch(step: StepId, fan: FannedOut, index: int, now: Running) -> Launch:
    return Launch(step, fan.graph.tasks[index].id, now.attempt, now.findings, now.resolves, now.goes_on)


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
