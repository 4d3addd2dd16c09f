"""What a dispatch step has come to: whether it is enough, what it hands on, who is to blame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from stratum_git.core import contest
from stratum_git.core.quorum import needed
from stratum_git.model.ids import Json, TaskId
from stratum_git.model.spec import Dispatch, Task
from stratum_git.model.state import (
    Elected,
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

ENOUGH = "enough results are in"
HOPELESS_STEP = "the step can no longer succeed"
BLAMED = 20


def shortfall(work: Dispatch, fan: FannedOut) -> tuple[str, ...]:
    """Returns what keeps a step that is over from success: unmet quorum, with the tasks to blame."""
    merged = sum(isinstance(now, Merged) for now in fan.tasks)
    total = fan.graph.size
    wanted = needed(work.require, total)
    if merged >= wanted:
        return ()
    head = f"require: {work.require} needs {wanted} of {total} tasks; {merged} landed"
    return (head, *blame(fan))


def aggregate(fan: FannedOut, *, ok: bool, conflict: bool = False, landed: bool = True) -> Json:
    """Returns the output of the step, as later steps and the protocol see it.

    A task counts as complete when it landed, or where nothing was to land, when it passed its checks.
    *conflict*: a client says that its own merge failed.
    """
    rows: list[Json] = []
    done: list[Json] = []
    failed: list[Json] = []
    for task, now in _counted(fan):
        good = isinstance(now, Merged) or (not landed and isinstance(now, Verified))
        row = {**_row(task.id, now, good=good), **_contest(fan, task.id)}
        (done if good else failed).append(row)
        rows.append(row)
    conflict = conflict or any(isinstance(now, Parked) for now in fan.tasks)
    return {
        "tasks": rows,
        "merge_status": "conflict" if conflict else "clean",
        "completed": done,
        "failed": failed,
        "outcome": "complete" if ok else "failed",
    }


def check(fan: FannedOut, max_concurrent: int) -> list[str]:
    """Returns the invariants that *fan* breaks; the tests ask after every event."""
    tasks = tuple(fan.tasks)
    broken = []
    if fan.running != sum(isinstance(t, Running) for t in tasks) or fan.running > max_concurrent:
        broken.append(f"running is {fan.running}")
    if fan.merged != sum(isinstance(t, Merged) for t in tasks):
        broken.append(f"merged is {fan.merged}")
    if fan.verified != sum(isinstance(t, Verified) for t in tasks):
        broken.append(f"verified is {fan.verified}")
    if tuple(fan.ready) != tuple(i for i, t in enumerate(tasks) if isinstance(t, Pending) and not t.waits):
        broken.append(f"ready is {fan.ready}")
    for index, now in enumerate(tasks):
        unmet = [n for n in fan.graph.needs[index] if not isinstance(tasks[n], Verified | Merged | Parked)]
        if isinstance(now, Merged):
            # It landed without what it was built on, whose conflict is being resolved.
            unmet = [n for n in unmet if getattr(tasks[n], "resolves", None) is None]
        waits = len(unmet) + contest.is_open(fan, index)
        if isinstance(now, Running | Verified | Merged | Standing) and unmet:
            broken.append(f"task {index} began before {unmet}")
        if isinstance(now, Pending) and now.waits != waits:
            broken.append(f"task {index} waits for {now.waits}, not {waits}")
    return [*broken, *_check_contests(fan)]


def _check_contests(fan: FannedOut) -> list[str]:
    broken = []
    dead = sum(isinstance(now, Exhausted | Stopped | Parked) for _, now in _counted(fan))
    # While conflicts are being resolved nothing is decided by what is dead.
    if fan.dead != dead and not fan.merged and fan.tip is None:
        broken.append(f"dead is {fan.dead}, not {dead}")
    for head, entered in fan.graph.contests.items():
        now, states = fan.tasks[head], [fan.tasks[i] for i in entered]
        taken = sum(isinstance(one, Elected) for one in states)
        if taken > 1 or (not taken and isinstance(now, Verified | Merged | Parked)):
            broken.append(f"of the candidates of task {head} {taken} are taken, and it is {now}")
        if not isinstance(now, Pending) and any(isinstance(one, Pending | Standing) for one in states):
            broken.append(f"task {head} is over, and candidates of it are not")
        if any(isinstance(one, Verified | Merged | Parked) for one in states):
            broken.append(f"a candidate of task {head} counts as a task")
    return broken


def _counted(fan: FannedOut) -> Iterator[tuple[Task, TaskState]]:
    """Yields the tasks that count, with their states: candidates do not, their task does."""
    pairs = zip(fan.graph.tasks, fan.tasks, strict=True)
    return ((task, now) for task, now in pairs if task.candidate_of is None)


def blame(fan: FannedOut) -> list[str]:
    """Returns who keeps a step from success, and why, in lines."""
    lines = []
    for task, now in _counted(fan):
        if isinstance(now, Exhausted):
            lines.append(f"{task.id}: {now.kind}: {'; '.join(now.findings)}")
        elif isinstance(now, Parked):
            lines.append(f"{task.id}: conflicts in {', '.join(now.paths)}")
        elif isinstance(now, Stopped) and now.why not in {ENOUGH, HOPELESS_STEP}:
            lines.append(f"{task.id}: {now.why}")
    more = len(lines) - BLAMED
    return [*lines[:BLAMED], f"and {more} more"] if more > 0 else lines


def _contest(fan: FannedOut, task: TaskId) -> dict[str, Json]:
    """Returns the candidates of a task that has such, and what became of each."""
    head = fan.graph.index[task]
    if head not in fan.graph.contests:
        return {}
    winner = contest.winner_of(fan, head)
    rows: list[Json] = [
        {
            "task_id": fan.graph.tasks[index].id,
            "state": type(fan.tasks[index]).__name__.lower(),
            "reason": contest.reason_of(fan.tasks[index]),
        }
        for index in fan.graph.contests[head]
    ]
    return {"candidates": rows, "chosen": None if winner is None else fan.graph.tasks[winner].id}


def _row(task: TaskId, now: TaskState, *, good: bool) -> dict[str, Json]:
    row: dict[str, Json] = {"task_id": task, "status": "complete" if good else "failed", "result": None}
    match now:
        case Merged(attempt, _, result, commit, output):
            row |= {"result": output, "attempt": attempt, "commit": commit or result}
        case Parked(attempt, _, result, conflict, paths, output):
            row |= {"result": output, "attempt": attempt, "commit": result, "conflict": conflict}
            row |= {"paths": list(paths), "reason": "conflict"}
        case Exhausted(attempt, kind, findings, left, output):
            row |= {"result": output, "attempt": attempt, "commit": left}
            row |= {"reason": kind, "findings": list(findings)}
        case Stopped(attempt, why, left):
            row |= {"attempt": attempt, "commit": left, "reason": why}
        case Verified(attempt, _, result, output):
            row |= {"result": output, "attempt": attempt, "commit": result, "reason": "not landed"}
        case Pending() | Running() | Standing() | Elected():
            row |= {"reason": "not over"}
        case _ as never:
            assert_never(never)
    return row
