"""What can be asked of a flow without running anything."""

from __future__ import annotations

from collections.abc import Callable

from stratum_git.app.costs import attempts_row, costs_of, spent_row, step_row
from stratum_git.app.overlaps import in_the_way
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.teller import tell
from stratum_git.core import contest
from stratum_git.core.codec import encode
from stratum_git.core.overview import overview
from stratum_git.core.questions import fan_of, is_over
from stratum_git.core.sessions import report_of
from stratum_git.errors import UserError
from stratum_git.git.diff import patch
from stratum_git.git.refs import read_refs, tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.model.ids import OWN, FlowId, Json, Oid, StepId, TaskId
from stratum_git.model.sessions import ReviewRecord, ReviewTask
from stratum_git.model.state import (
    Elected,
    Exhausted,
    FannedOut,
    FlowState,
    Merged,
    Parked,
    Standing,
    Stopped,
    Verified,
    Working,
)
from stratum_git.store.flows import load

Look = Callable[[FlowId], FlowState]
"""Gives a flow as it is now."""


class UnknownTaskError(UserError):
    """The flow has no such task or step, or it has nothing to show."""


def brief_flow(around: Surroundings, name: FlowId) -> dict[str, Json]:
    """Returns a flow with the protocol's keys."""
    repo = around.repository()
    stored = load(repo, name)[0]
    tell(repo.common_dir, stored.tip, stored.state)
    return overview(stored.state)


def long_flow(around: Surroundings, name: FlowId) -> dict[str, Json]:
    """Returns a flow with its branch, and the states of its steps and tasks."""
    repo = around.repository()

    def look(flow: FlowId) -> FlowState:
        return load(repo, flow)[0].state

    state = look(name)
    costs = costs_of(repo, state)
    steps: list[Json] = []
    for step, now in zip(state.program.order, state.steps, strict=True):
        fan = fan_of(now)
        row: dict[str, Json] = {"id": step, "state": _word(now)}
        if fan is not None:
            rows = [_task(fan, index) for index in range(len(fan.tasks))]
            row["tasks"] = [{**one, **attempts_row(costs, step, str(one["task_id"]))} for one in rows]
            row |= in_the_way(fan)
        row |= {**attempts_row(costs, step, None), **step_row(state, step)}
        findings = getattr(now, "findings", ())
        if findings:
            row["findings"] = list(findings)
        blocked = getattr(now, "blocked", ())
        if blocked:
            row["blocked"] = list(blocked)
        steps.append(row)
    undone: list[Json] = [{"target": o.target, "old": o.old, "new": o.new} for o in state.undone]
    return {
        "flow_id": state.flow,
        "flow_name": state.program.flow.name,
        "status": state.status,
        "current_step_id": state.cursor,
        "base": state.base,
        "target": state.target,
        "events": state.seq,
        "started": state.started,
        "updated": state.updated,
        "inputs": dict(state.inputs),
        **spent_row(state),
        **({"undone": undone} if undone else {}),
        "steps": steps,
        **({"verdicts": verdicts(repo, state, look)} if state.book.reviews else {}),
    }


def verdicts(repo: Repository, state: FlowState, look: Look) -> list[Json]:
    """Returns the verifications of a flow's work; ``stale`` are those of work that has changed since."""
    return [_verdict(repo, record, look) for record in state.book.reviews]


def is_stale(repo: Repository, task: ReviewTask, look: Look) -> bool:
    """Returns whether the work has changed since: what was said of the commit is not said of it any more."""
    if task.flow is None:
        return False
    state = look(task.flow)
    if task.task is not None or state.book.session is None:
        return change_of(repo, state, str(task.task or task.step), None)[1] != task.commit
    return tip_nowait(repo, state.target) != task.commit


def diff(around: Surroundings, name: FlowId, task: str, attempt: int | None) -> bytes:
    """Returns what a task, or a step that one agent did, changed, as a patch."""
    repo = around.repository()
    state = load(repo, name)[0].state
    base, result = change_of(repo, state, task, attempt)
    return patch(repo, base, result)


def _verdict(repo: Repository, record: ReviewRecord, look: Look) -> Json:
    report = record.report if record.ended is not None else _unrecorded(record, look)
    facts = report if isinstance(report, dict) else {"status": "running", "verdict": None}
    return {
        "review_id": record.review,
        "at": record.at,
        "by": record.by,
        "commit": record.task.commit,
        "base": record.task.base,
        "task_id": record.task.task,
        "reviewer": record.task.agent,
        "stale": is_stale(repo, record.task, look),
        **{key: facts.get(key) for key in ("status", "verdict", "reasons", "restrictions", "retryable")},
        "commands": facts.get("commands") or [],
    }


def _unrecorded(record: ReviewRecord, look: Look) -> Json:
    state = look(record.review)
    return report_of(state) if is_over(state) else None


def _word(now: object) -> str:
    coded = encode(now)
    return str(coded["type"]) if isinstance(coded, dict) else ""


def _task(fan: FannedOut, index: int) -> dict[str, Json]:
    coded = encode(fan.tasks[index])
    facts = dict(coded) if isinstance(coded, dict) else {}
    for hidden in ("output", "done", "usage"):
        facts.pop(hidden, None)
    conflict, who, on = facts.get("resolves"), facts.get("resolving"), facts.get("goes_on")
    if isinstance(on, dict):
        facts["goes_on"] = on["session"]
    if isinstance(conflict, dict):
        facts["resolves"] = conflict["conflict"]
    if isinstance(who, dict):
        facts["resolving"] = {key: who[key] for key in ("by", "attempt", "since")}
    if index in fan.graph.contests:
        facts["candidates"] = [fan.graph.tasks[i].id for i in fan.graph.contests[index]]
        winner = contest.winner_of(fan, index)
        facts["chosen"] = None if winner is None else fan.graph.tasks[winner].id
    return {"task_id": fan.graph.tasks[index].id, "state": facts.pop("type", ""), **facts}


def step_of(state: FlowState, task: str) -> str:
    """Returns the step that a task is of, or the step itself; raises UnknownTaskError."""
    # A task id may come up in several steps; the last one that came so far is what is meant.
    for step, now in reversed(tuple(zip(state.program.order, state.steps, strict=True))):
        fan = fan_of(now)
        if step == task or (fan is not None and task in fan.graph.index):
            return step
    raise UnknownTaskError(
        f"the flow {state.flow} has no task or step {task}",
        hint=f"see `stratum-git query flow {state.flow} --long`",
    )


def change_of(repo: Repository, state: FlowState, task: str, attempt: int | None) -> tuple[Oid, Oid]:
    """Returns where a task, or a step that one agent does, began, and what came of it; UnknownTaskError."""
    step = step_of(state, task)
    now = state.step(StepId(step))
    fan = fan_of(now)
    if fan is not None and task in fan.graph.index and attempt is None:
        found = _result(fan, task)
        if found is not None:
            return found
    prefix = f"refs/stratum/attempts/{state.flow}/{step}/{task if task != step else OWN}/"
    refs = read_refs(repo, prefix)
    branch = read_refs(repo, f"refs/heads/stratum/{state.flow}/{task}")
    ends = ((ref.rpartition("/")[2], oid) for ref, oid in refs.items())
    numbers = {int(end): oid for end, oid in ends if end.isdecimal()}
    if attempt is not None and attempt in numbers:
        result = numbers[attempt]
    elif attempt is None and (numbers or branch):
        result = numbers[max(numbers)] if numbers else next(iter(branch.values()))
    else:
        raise UnknownTaskError(f"{task} has no result to show", hint=f"see `stratum-git log {state.flow}`")
    base = fan.base if fan is not None else (now.base if isinstance(now, Working) else state.base)
    return base, result


def _result(fan: FannedOut, task: str) -> tuple[Oid, Oid] | None:
    now = fan.tasks[fan.graph.index[TaskId(task)]]
    match now:
        case Verified() | Merged() | Parked() | Standing() | Elected():
            return now.base, now.result
        case Exhausted(result=result) | Stopped(result=result):
            return None if result is None else (fan.base, result)
        case _:
            return None
