"""Dispatch steps that a client does: the tasks that it may do now, and what it says became of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from stratum_git.app.asked import Decide, Fence
from stratum_git.app.clients import BATCH, note, session_of
from stratum_git.app.desk import Desk
from stratum_git.app.leasing import is_offered, lease_id
from stratum_git.app.lodging import (
    Lodging,
    PlaceBusy,
    launch_of,
    lodge,
    parting,
    report,
    task_of,
    vacate,
    wants_of,
)
from stratum_git.app.refused import Refused
from stratum_git.core import contest
from stratum_git.core.answers import Answer
from stratum_git.core.questions import in_flight
from stratum_git.core.records import mode_of
from stratum_git.core.usage import Usage, usage_of
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.keeping import moves_to
from stratum_git.dispatch.names import attempt_ref
from stratum_git.dispatch.workplace import Workplace
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.model.effects import Launch
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.messages import (
    Completed,
    Event,
    Gathered,
    Halted,
    Lost,
    Outcome,
    TaskReport,
    TaskReported,
)
from stratum_git.model.state import FannedOut, FlowState, Pending, Running, Verified
from stratum_git.slots.leases import HeldLease, lease_ref

LODGED = 16
"""Tasks that one answer makes places for; each takes some tens of milliseconds. The others come later."""
WORDS = ("complete", "failed")
ELSEWHERE = "the flow went elsewhere"
MERGES = ("clean", "conflict")


@dataclass(frozen=True, slots=True)
class Row:
    """One task of a report."""

    task: str
    status: str
    result: Json
    why: str
    usage: Usage = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """The tasks that may be done now, and reports of those that can have no place."""

    rows: tuple[Answer, ...] = ()
    hopeless: tuple[Event, ...] = ()


def batch_of(desk: Desk, state: FlowState) -> Batch:
    """Returns the tasks that the client may do now, each with its place; those of workers are left out."""
    fan = None if state.cursor is None else state.step(state.cursor)
    if not isinstance(fan, FannedOut) or state.cursor is None or state.driver != "client":
        return Batch()
    leases = desk.leases.of(state.flow)
    rows: list[Answer] = []
    hopeless: list[Event] = []
    for index, task in enumerate(fan.graph.tasks):
        held = leases.get(lease_ref(state.flow, state.cursor, task.id))
        now_ = fan.tasks[index]
        if not isinstance(now_, Running) or held is None or not _is_offered(held, now_.attempt):
            continue
        if len(rows) == LODGED:
            break
        launch = launch_of(fan, state.cursor, index)
        lodged = lodge(desk.context, state, launch)
        if isinstance(lodged, Lodging):
            rows.append(row_of(launch, lodged, held))
        else:
            hopeless.append(_told(launch, lodged))
    if rows:
        note(desk.context.folders.root, session_of(desk.around.environment), state.flow, BATCH)
    return Batch(tuple(rows), tuple(hopeless))


def row_of(launch: Launch, lodged: Lodging, held: HeldLease) -> Answer:
    """Returns a task that may be done now, as it is told."""
    return {
        "task_id": launch.task,
        "attempt": launch.attempt,
        "lease": None if held.lease is None else lease_id(held.lease),
        "expires_at": None if held.lease is None else held.lease.expires,
        "path": str(lodged.path),
        "branch": lodged.branch,
        "base": lodged.base,
        "intent": lodged.errand.words,
        "findings": list(launch.findings),
        **wants_of(lodged.errand),
    }


def halt_unwanted(desk: Desk, state: FlowState) -> FlowState:
    """Ends the tasks of a client whose results are not wanted any more; what they left is kept."""
    if state.cursor is None or state.driver != "client":
        return state
    fan = state.step(state.cursor)
    if not isinstance(fan, FannedOut):
        return state
    for index, now_ in enumerate(fan.tasks):
        if isinstance(now_, Running) and now_.stopping is not None:
            launch = launch_of(fan, state.cursor, index)
            # Whoever is in its place is taking its report, from which the same follows.
            with suppress(PlaceBusy), parting(retired=True) as places:
                lost = _vacated(desk, state, launch, now_.stopping, places)
                event = _told(launch, Halted(now_.stopping, lost.result))
                state = desk.act(state.flow, lambda _, event=event: [event])  # type: ignore[misc]
    return state


def is_anybody_unwanted(state: FlowState) -> bool:
    """Returns whether a client is at a task whose result is not wanted any more."""
    fan = None if state.cursor is None else state.step(state.cursor)
    if state.driver != "client" or not isinstance(fan, FannedOut):
        return False
    return any(isinstance(now_, Running) and now_.stopping is not None for now_ in fan.tasks)


def leave(desk: Desk, state: FlowState, decide: Decide) -> FlowState:
    """Records what *decide* says, by which the flow goes elsewhere; returns its state after that.

    Whatever was handed out ends before: what lies in its places is kept as what those attempts left.
    """
    decide(state)
    with parting(retired=True) as places:
        launches = [Launch(*attempt) for attempt in in_flight(state)]
        found = [(launch, _vacated(desk, state, launch, ELSEWHERE, places)) for launch in launches]
        reports = [_told(launch, lost) for launch, lost in found if lost.result is not None]
        desk.act(state.flow, lambda now_: [*reports, *decide(now_)])
    state = desk.look(state.flow)
    evict(desk, state)
    return state


def evict(desk: Desk, state: FlowState) -> None:
    """Ends whatever of a client's flow is handed out and not wanted any more: the flow went elsewhere.

    What lies in its places is kept as what those attempts left.
    """
    context = desk.context
    wanted = {lease_ref(state.flow, step, task): number for step, task, number in in_flight(state)}
    for ref, held in desk.leases.of(state.flow).items():
        lease = held.lease
        if lease is None or lease.task is None or wanted.get(ref) == lease.attempt:
            continue
        launch = Launch(StepId(lease.step), TaskId(lease.task), lease.attempt)
        with parting(retired=True) as places:
            lost = _vacated(desk, state, launch, ELSEWHERE, places)
            moves = [RefUpdate(ref, None, held.token)]
            if lost.result is not None:
                kept = attempt_ref(state.flow, launch.step, launch.task, launch.attempt)
                moves += moves_to(context.repo, kept, lost.result)
            transact(context.repo, moves, message="stratum-git", durable=True)


def gather(
    desk: Desk, flow: FlowId, step: StepId, task_results: Sequence[Json], merge_status: str, by: str
) -> FlowState:
    """Takes the client's report about some of the tasks; what is wrong with it changes nothing."""
    state = desk.look(flow)
    fan = _fan_at(state, step)
    rows = _rows(fan.graph, task_results)
    _for_candidates(fan, rows)
    if merge_status not in MERGES:
        message = f"merge_status must be one of {list(MERGES)}, got {merge_status!r}"
        raise Refused("invalid_merge_status", message)
    if merge_status == "conflict":
        _whole(fan, rows)
    fences = _unclaimed(desk, state, step, rows)
    with parting() as places:
        reports = tuple(_judged(desk, state, fan, step, row, places) for row in _ordered(fan.graph, rows))
        event = Gathered(now(), by, step, reports, conflict=merge_status == "conflict")
        try:
            return desk.act(flow, lambda at: [event] if at.seq == state.seq else _stale(flow), *fences)
        except Refused as refused:
            if refused.kind != "lease_lost":
                raise
            # His place must not be given back under him, nor his report be taken for late.
            message = "a worker took one of the tasks while the report was judged"
            raise Refused(
                "task_claimed", message, hint="he reports it by himself; report the others"
            ) from refused


def _vacated(desk: Desk, state: FlowState, launch: Launch, why: str, places: list[Workplace]) -> Lost:
    """Returns what an attempt that nobody will report comes to; its place is added to *places*."""
    lost, place = vacate(desk.context, state, launch, why)
    places += [] if place is None else [place]
    return lost


def _whole(fan: FannedOut, rows: Sequence[Row]) -> None:
    """Refuses a report of some of the tasks: that a merge failed is about all that the step has."""
    told = {row.task for row in rows}
    pairs = zip(fan.graph.tasks, fan.tasks, strict=True)
    waiting = [task.id for task, at in pairs if isinstance(at, Running | Pending) and task.id not in told]
    # What has candidates is not reported itself.
    left = [name for name in waiting if fan.graph.index[name] not in fan.graph.contests]
    if left:
        message = f"merge_status 'conflict' is about all tasks, and not reported are: {', '.join(left[:20])}"
        hint = "report as failed what does not merge, or say it together with the last task"
        raise Refused("premature_conflict", message, hint=hint)


def _for_candidates(fan: FannedOut, rows: Sequence[Row]) -> None:
    """Refuses a report of a task that its candidates do."""
    for row in rows:
        head = fan.graph.index[TaskId(row.task)]
        if contest.is_open(fan, head):
            names = ", ".join(fan.graph.tasks[i].id for i in fan.graph.contests[head])
            message = f"task {row.task!r} is done by its candidates"
            raise Refused("task_has_candidates", message, task_id=row.task, hint=f"report {names}")


def _stale(flow: FlowId) -> list[Event]:
    message = f"the flow {flow} went on while the report was being judged"
    raise Refused("flow_busy", message, hint="call stratum_resume to see where it is, then report again")


def _judged(
    desk: Desk, state: FlowState, fan: FannedOut, step: StepId, row: Row, places: list[Workplace]
) -> TaskReport:
    index = fan.graph.index[TaskId(row.task)]
    now_, task = fan.tasks[index], fan.graph.tasks[index].id
    failure = row.why if row.status == "failed" else None
    if isinstance(now_, Running):
        launch = launch_of(fan, step, index)
    else:
        attempt = now_.attempt + 1 if isinstance(now_, Pending) else now_.attempt
        launch = Launch(step, task, attempt)
    if isinstance(now_, Verified) and failure is None:
        # Said once more: its place is gone, and what was found in it still stands.
        return TaskReport(task, Completed(now_.base, now_.result, now_.output), now_.attempt)
    # Should it be launched meanwhile, the flow is not any more as it was, and the report is not taken.
    launched = not isinstance(now_, Pending)
    outcome, place = report(
        desk.context, state, launch, failure=failure, output=row.result, launched=launched
    )
    if place is not None:
        places.append(place)
    # What is said of a result that is there already was counted when it came.
    usage = row.usage if isinstance(now_, Running | Pending) else {}
    return TaskReport(task, replace(outcome, usage=usage), launch.attempt)


def _told(launch: Launch, outcome: Outcome) -> TaskReported:
    return TaskReported(now(), "stratum-git", launch.step, task_of(launch), launch.attempt, outcome)


def _fan_at(state: FlowState, step: StepId) -> FannedOut:
    if state.cursor is None:
        raise Refused("flow_complete", "Flow is already complete")
    if state.cursor != step:
        raise Refused("step_mismatch", f"Expected step '{state.cursor}', got '{step}'")
    spec, fan = state.program.steps[step], state.step(step)
    mode = mode_of(spec)
    if mode != "parallel_dispatch":
        message = (
            f"Step '{step}' is a {mode} step, not parallel_dispatch. Use stratum_step_done for such steps."
        )
        raise Refused("wrong_step_type", message)
    if not isinstance(fan, FannedOut) or state.driver != "client":
        message = f"the tasks of {step} are not the client's to report now"
        raise Refused("step_not_open", message, hint="call stratum_resume to see where the flow is")
    return fan


def _rows(graph: TaskGraph, given: Sequence[Json]) -> list[Row]:
    rows: list[Row] = []
    seen: set[str] = set()
    known = [task.id for task in graph.tasks]
    for place, entry in enumerate(given):
        task = entry.get("task_id") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(task, str):
            raise Refused("invalid_task_results", f"entry {place} of task_results has no task_id")
        if task not in graph.index:
            message = f"there is no task {task!r} in this step (there is: {', '.join(known[:20])})"
            raise Refused("unknown_task", message, task_id=task)
        if task in seen:
            raise Refused("duplicate_task", f"task {task!r} is reported twice", task_id=task)
        seen.add(task)
        status = entry.get("status")
        if status not in WORDS:
            message = f"the status of {task!r} must be one of {list(WORDS)}, got {status!r}"
            raise Refused("invalid_status", message, task_id=task)
        rows.append(Row(task, str(status), entry.get("result"), _reason(entry), usage_of(entry.get("usage"))))
    return rows


def _reason(entry: Mapping[str, Json]) -> str:
    said = next((entry[key] for key in ("error", "message", "result") if entry.get(key)), None)
    if said is None:
        return "the client says that it failed"
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return text[:1000]


def _ordered(graph: TaskGraph, rows: Sequence[Row]) -> list[Row]:
    by_task = {row.task: row for row in rows}
    names = (graph.tasks[index].id for index in graph.order)
    return [by_task[name] for name in names if name in by_task]


def _unclaimed(desk: Desk, state: FlowState, step: StepId, rows: Sequence[Row]) -> list[Fence]:
    """Returns the leases of the tasks, none of which a worker has; raises Refused where one has."""
    leases = desk.leases.of(state.flow)
    fences = []
    for row in rows:
        ref = lease_ref(state.flow, step, row.task)
        held = leases.get(ref)
        if held is not None and held.lease is not None and not is_offered(held):
            message = f"task {row.task!r} is being done by {held.lease.holder}"
            raise Refused("task_claimed", message, task_id=row.task, hint="it reports by itself")
        fences += [] if held is None else [Fence(ref, held.token)]
    return fences


def _is_offered(held: HeldLease, attempt: int) -> bool:
    return is_offered(held) and held.lease is not None and held.lease.attempt == attempt
