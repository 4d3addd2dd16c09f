"""What can be asked of flows without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.surroundings import Surroundings
from stratum_git.core.codec import encode
from stratum_git.core.parse import load_spec
from stratum_git.core.questions import fan_of
from stratum_git.errors import UserError
from stratum_git.git.diff import patch
from stratum_git.git.refs import read_refs
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Json, Oid, StepId, TaskId
from stratum_git.model.spec import Problem
from stratum_git.model.state import (
    Exhausted,
    FannedOut,
    FlowState,
    Merged,
    Parked,
    Stopped,
    TaskState,
    Verified,
    Working,
)
from stratum_git.store.flows import headers, load


class UnknownTaskError(UserError):
    """The flow has no such task or step, or it has nothing to show."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A file and what is wrong with it."""

    file: str
    problems: tuple[Problem, ...]


def validate(files: Sequence[Path]) -> tuple[Checked, ...]:
    """Returns the problems of each file. Nothing of them is run."""
    return tuple(Checked(str(path), load_spec(read_spec(path)).problems) for path in files)


def read_spec(path: Path) -> str:
    """Returns the text of a spec; raises UserError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def flows(around: Surroundings) -> list[Json]:
    """Returns every flow of the repository in short, oldest first."""
    return [_summary(row) for row in headers(around.repository())]


def flow(around: Surroundings, name: FlowId) -> dict[str, Json]:
    """Returns a flow with its steps and tasks."""
    stored, _ = load(around.repository(), name)
    state = stored.state
    steps: list[Json] = []
    for step, now in zip(state.program.order, state.steps, strict=True):
        fan = fan_of(now)
        row: dict[str, Json] = {"id": step, "state": _word(now)}
        if fan is not None:
            row["tasks"] = [_task(task.id, t) for task, t in zip(fan.graph.tasks, fan.tasks, strict=True)]
        findings = getattr(now, "findings", ())
        if findings:
            row["findings"] = list(findings)
        blocked = getattr(now, "blocked", ())
        if blocked:
            row["blocked"] = list(blocked)
        steps.append(row)
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
        "steps": steps,
    }


def gates(around: Surroundings) -> list[Json]:
    """Returns the gates at which flows wait for a decision."""
    waiting = [row for row in headers(around.repository()) if row.get("status") == "awaiting_gate"]
    return [{"flow_id": row["flow"], "flow_name": row["name"], "step_id": row["cursor"]} for row in waiting]


def diff(around: Surroundings, name: FlowId, task: str, attempt: int | None) -> bytes:
    """Returns what a task, or a step that one agent did, changed, as a patch."""
    repo = around.repository()
    state = load(repo, name)[0].state
    base, result = _change(repo, state, task, attempt)
    return patch(repo, base, result)


def log_file(around: Surroundings, name: FlowId, task: str, attempt: int | None) -> Path:
    """Returns the file with the output of an attempt, by default the last one."""
    repo = around.repository()
    state = load(repo, name)[0].state
    step = _step_of(state, task)
    own = step == task
    folders = around.folders(repo)
    top = folders.attempt_path(name, step, None if own else task, 1).parent
    numbers = sorted(int(path.name) for path in top.glob("[0-9]*")) if top.is_dir() else []
    number = attempt if attempt is not None else (numbers[-1] if numbers else None)
    if number not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise UnknownTaskError(f"{task} has no log of attempt {number or 1}", hint=f"there are: {known}")
    return top / str(number) / "output.log"


def _summary(row: dict[str, Json]) -> Json:
    keys = ("status", "base", "target", "started", "updated", "steps", "tasks")
    named = {"flow_id": row["flow"], "flow_name": row["name"], "current_step_id": row["cursor"]}
    return {**named, "events": row["seq"], **{key: row[key] for key in keys}}


def _word(now: object) -> str:
    coded = encode(now)
    return str(coded["type"]) if isinstance(coded, dict) else ""


def _task(name: str, now: TaskState) -> Json:
    coded = encode(now)
    facts = dict(coded) if isinstance(coded, dict) else {}
    facts.pop("output", None)
    return {"task_id": name, "state": facts.pop("type", ""), **facts}


def _step_of(state: FlowState, task: str) -> str:
    # A task id may come up in several steps; the last one that came so far is what is meant.
    for step, now in reversed(tuple(zip(state.program.order, state.steps, strict=True))):
        fan = fan_of(now)
        if step == task or (fan is not None and task in fan.graph.index):
            return step
    raise UnknownTaskError(
        f"the flow {state.flow} has no task or step {task}", hint="see `stratum-git query flow`"
    )


def _change(repo: Repository, state: FlowState, task: str, attempt: int | None) -> tuple[Oid, Oid]:
    step = _step_of(state, task)
    now = state.step(StepId(step))
    fan = fan_of(now)
    if fan is not None and task in fan.graph.index and attempt is None:
        found = _result(fan, task)
        if found is not None:
            return found
    prefix = f"refs/stratum/attempts/{state.flow}/{step}/{task if task != step else '-step'}/"
    refs = read_refs(repo, prefix)
    branch = read_refs(repo, f"refs/heads/stratum/{state.flow}/{task}")
    numbers = {int(ref.rpartition("/")[2]): oid for ref, oid in refs.items()}
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
        case Verified() | Merged() | Parked():
            return now.base, now.result
        case Exhausted(result=result) | Stopped(result=result):
            return None if result is None else (fan.base, result)
        case _:
            return None
