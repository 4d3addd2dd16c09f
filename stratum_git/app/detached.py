"""Runners that belong to no client: started here, they own their flow until it ends or has to wait.

A runner is the very program that a user starts in a terminal (``stratum-git resume``). So whatever watches,
waits for, cancels or takes up such a flow there does it here, and the other way round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import trio
from filelock import FileLock, Timeout

from stratum_git.app import foresight, running
from stratum_git.app.batches import evict, halt_unwanted
from stratum_git.app.colliding import collisions_now
from stratum_git.app.costs import Costs, attempts_row, costs_of, spent_row
from stratum_git.app.desk import Desk
from stratum_git.app.leasing import is_claimed
from stratum_git.app.overlaps import in_the_way
from stratum_git.app.refused import Refused
from stratum_git.app.settling import settle
from stratum_git.app.stepping import refused_spec
from stratum_git.app.workshop import make_context
from stratum_git.core.answers import Answer, told
from stratum_git.core.questions import fan_of, is_over
from stratum_git.dispatch.clock import monotonic, now
from stratum_git.git.refs import tip_nowait
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.messages import CancelRequested
from stratum_git.model.state import FannedOut, FlowState, Landing, Opening, StepState
from stratum_git.slots.leases import read_leases
from stratum_git.spawn.detach import detach, is_there
from stratum_git.store.listing import flow_ref

STARTING = 60.0
"""Seconds to wait for a runner to take its flow up."""
LONGEST = 30.0
PAUSE = 0.1
Tell = Callable[[FlowState], None]


def execute(
    desk: Desk,
    spec: str,
    flow: str | None,
    inputs: Mapping[str, Json],
    agents: Sequence[str],
    target: str | None,
) -> Answer:
    """Begins a flow and starts a runner that does all of it with its agents."""
    try:
        program = running.check_spec(spec, flow)
    except running.InvalidSpecError as error:
        raise refused_spec(error.problems) from error
    repo = desk.context.repo
    given = running.check_inputs(program, inputs)
    foresight.check(program, given, make_context(desk.around, repo, agents).agents)
    request = running.RunRequest(spec, flow, inputs, tuple(agents), target)
    started = running.started(repo, program, given, request)
    state = desk.begin(program, started, spec)
    _start(desk, state, agents)
    return {"status": "started", "step_id": state.cursor, **status(desk, state.flow)}


def start(desk: Desk, flow: FlowId, step: StepId | None, agents: Sequence[str]) -> Answer:
    """Starts a runner for a flow that nobody runs: for its tasks now, or for all that is a runner's."""
    state = desk.look(flow)
    if is_over(state) and not state.unsynced:
        raise Refused("flow_already_complete", f"the flow {flow} is {state.status}", flow_id=flow)
    if step is not None and state.cursor != step:
        raise Refused("step_mismatch", f"Expected step '{state.cursor}', got '{step}'", flow_id=flow)
    if state.driver == "client" and not _has_tasks(state):
        message = (
            f"the step {state.cursor} is the client's: only the tasks of a dispatch step can be run here"
        )
        raise Refused("wrong_step_type", message, flow_id=flow)
    if is_run(desk, flow):
        return {"status": "already_started", "step_id": state.cursor, **status(desk, flow)}
    _nobody_works(desk, state)
    _start(desk, state, agents)
    return {"status": "started", "step_id": state.cursor, **status(desk, flow)}


def status(desk: Desk, flow: FlowId) -> Answer:
    """Returns how far a flow is: its status, and the tasks of its current, or last, dispatch step."""
    state = desk.look(flow)
    fan, step = _last_fan(state)
    alive = is_run(desk, flow)
    costs = costs_of(desk.context.repo, state)
    rows = [] if fan is None else [{**r, **_usage(costs, step, str(r["task_id"]))} for r in _rows(fan)]
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row["state"])] = counts.get(str(row["state"]), 0) + 1
    return {
        "flow_id": flow,
        "flow_status": state.status,
        "current_step_id": state.cursor,
        "runner": "alive" if alive else "none",
        "dispatch_step_id": step,
        "summary": {**counts},
        "tasks": [*rows[:200]],
        "task_count": len(rows),
        "events": state.seq,
        "over": is_over(state),
        **spent_row(state),
        **({} if fan is None else in_the_way(fan)),
        **({} if alive or state.driver != "client" else collisions_now(desk.context, state)),
    }


async def wait(desk: Desk, flow: FlowId, seconds: float, tell: Callable[[str], object]) -> Answer:
    """Waits until the flow is over, or waits for somebody, or *seconds* have passed; tells what happens."""
    deadline = monotonic() + max(0.0, min(seconds, LONGEST))
    seen = -1
    while True:
        state = await trio.to_thread.run_sync(desk.look, flow)
        if state.seq != seen:
            seen = state.seq
            tell(_line(state))
        alive = await trio.to_thread.run_sync(is_run, desk, flow)
        if is_over(state) or state.status in {"awaiting_gate", "blocked"} or not alive:
            done = await trio.to_thread.run_sync(status, desk, flow)
            return {"status": "settled", **done, **_last_words(state)}
        if monotonic() >= deadline:
            return {"status": "waiting", **await trio.to_thread.run_sync(status, desk, flow)}
        await _until_moved(desk, flow, deadline)


def cancel(desk: Desk, flow: FlowId, task: str | None, why: str) -> Answer:
    """Stops a flow, or one task of it; a runner hears of it within a second. The work so far is kept."""
    state = desk.look(flow)
    if is_over(state):
        raise Refused("flow_already_complete", f"the flow {flow} is {state.status}", flow_id=flow)
    fan, _ = _last_fan(state)
    if task is not None and (fan is None or TaskId(task) not in fan.graph.index):
        raise Refused("unknown_task", f"the flow {flow} has no task {task} now", task_id=task)
    event = CancelRequested(now(), "client", why, None if task is None else TaskId(task))
    state = desk.act(flow, lambda _: [event])
    if state.driver == "client" and not is_run(desk, flow):
        with desk.alone(flow):
            state = halt_unwanted(desk, state)
            evict(desk, desk.look(flow))
            settle(desk, flow)
    elif not is_run(desk, flow):
        # Nobody is there to hear it: a runner ends what another one left.
        _start(desk, state, ())
    return {"status": "cancelling", **status(desk, flow)}


def land(desk: Desk, flow: FlowId, agents: Sequence[str]) -> Answer:
    """Lands what was in the way of landing before: the results are there, and are not made again."""
    state = desk.look(flow)
    at = None if state.cursor is None else state.step(state.cursor)
    if not isinstance(at, Landing):
        message = f"the flow {flow} has nothing that waits to be landed: it is {state.status}"
        raise Refused("nothing_to_land", message, flow_id=flow)
    if is_run(desk, flow):
        return {"status": "landing", **status(desk, flow)}
    if state.driver == "runner":
        _start(desk, state, agents)
        return {"status": "landing", **status(desk, flow)}
    with desk.alone(flow):
        state = settle(desk, flow, again=True)
    return {"status": "blocked" if state.status == "blocked" else "landed", **status(desk, flow)}


def is_run(desk: Desk, flow: FlowId) -> bool:
    """Returns whether a runner has a flow."""
    lock = FileLock(desk.context.folders.locks / f"flow-{flow}.lock", thread_local=False, mode=0o600)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def _start(desk: Desk, state: FlowState, agents: Sequence[str]) -> None:
    """Starts a runner, and waits until it has the flow or has ended."""
    log = desk.context.folders.runner_log(state.flow)
    options = [word for agent in agents for word in ("--agent", agent)]
    # -P: it is started in the repository, and must not take a module of that for one of its own.
    command = [sys.executable, "-P", "-m", "stratum_git", "resume", state.flow, *options]
    before = log.stat().st_size if log.exists() else 0
    tip = tip_nowait(desk.context.repo, flow_ref(state.flow))
    runner = detach(command, cwd=desk.around.cwd, env=desk.around.environment, log=log)
    deadline, there = monotonic() + STARTING, True
    while there and monotonic() < deadline:
        # Asked first: what it did before it ended is seen below.
        there = is_there(runner)
        moved = tip_nowait(desk.context.repo, flow_ref(state.flow)) != tip
        if moved or is_run(desk, state.flow):
            return
        said = log.read_bytes()[before:].decode("utf-8", "replace") if log.exists() else ""
        if "error:" in said:
            raise Refused("runner_failed", f"the runner could not begin: {said.strip()[-1000:]}")
        trio.from_thread.run(trio.sleep, PAUSE / 2)


def _nobody_works(desk: Desk, state: FlowState) -> None:
    """Refuses when workers are at the flow's tasks: a runner would do the same once more."""
    for held in read_leases(desk.context.repo, state.flow).values():
        lease = held.lease
        if lease is not None and is_claimed(held):
            message = f"task {lease.task} is being done by {lease.holder}"
            hint = "wait until it is reported, or its lease ends"
            raise Refused("task_claimed", message, hint=hint, task_id=lease.task)


async def _until_moved(desk: Desk, flow: FlowId, deadline: float) -> None:
    ref, repo = flow_ref(flow), desk.context.repo
    tip = tip_nowait(repo, ref)
    for _ in range(10):
        await trio.sleep(min(PAUSE, max(0.0, deadline - monotonic())))
        if tip_nowait(repo, ref) != tip:
            return


def _has_tasks(state: FlowState) -> bool:
    at: StepState | None = None if state.cursor is None else state.step(state.cursor)
    return isinstance(at, FannedOut | Landing | Opening)


def _last_fan(state: FlowState) -> tuple[FannedOut | None, StepId | None]:
    names = [state.cursor] if state.cursor is not None else []
    for step in (*names, *reversed(state.program.order)):
        fan = fan_of(state.step(step))
        if fan is not None:
            return fan, step
    return None, None


def _rows(fan: FannedOut) -> list[Answer]:
    rows: list[Answer] = []
    for task, at in zip(fan.graph.tasks, fan.tasks, strict=True):
        row: Answer = {"task_id": task.id, "state": type(at).__name__.lower()}
        row["attempt"] = getattr(at, "attempt", 0)
        findings = getattr(at, "findings", ())
        rows.append({**row, "findings": list(findings)} if findings else row)
    return rows


def _usage(costs: Costs, step: str | None, task: str) -> Answer:
    """Returns what a task has cost so far, in all its attempts."""
    found = attempts_row(costs, step or "", task)
    return {"usage": found["usage"]} if "usage" in found else {}


def _line(state: FlowState) -> str:
    fan, _ = _last_fan(state)
    where = f" at {state.cursor}" if state.cursor is not None else ""
    if fan is None:
        return f"{state.status}{where}"
    return f"{state.status}{where}: {fan.verified + fan.merged} of {fan.graph.size} tasks done"


def _last_words(state: FlowState) -> Answer:
    if state.driver == "client" or not is_over(state):
        return {}
    said = told(state)
    return {key: said[key] for key in ("output", "violations", "error_type", "message") if key in said}
