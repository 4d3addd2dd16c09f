"""Turns a folder of task files, as spec kits write them, into a spec.

A line of a task file is data and never becomes code: what an expression is made of is one of three patterns,
and what is filled into it is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from stratum_git.core.expr import LENGTH
from stratum_git.model.ids import Json

HEADING = re.compile(r"^#+\s*(.*)$")
CRITERIA = re.compile(r"^#+\s*acceptance criteria\b", re.IGNORECASE)
CHECKBOX = re.compile(r"^\s*-\s*\[[ xX]\](.*)$")
MARK = re.compile(r"\s*\[p\]\s*", re.IGNORECASE)
EXISTS = re.compile(r"^file\s+(\S+)\s+exists$", re.IGNORECASE)
CONTAINS = re.compile(r"^file\s+(\S+)\s+contains\s+(?:\"([^\"]+)\"|'([^']+)'|(\S+))$", re.IGNORECASE)
TESTS = re.compile(r"\btests?\b.*\bpass", re.IGNORECASE)
LINT = re.compile(r"\bno lint errors?\b|\blint passes\b|\blint clean\b", re.IGNORECASE)
FLAGS = {"tests_pass": "result.tests_pass == True", "lint_clean": "result.lint_clean == True"}
"""Fields that a task returns, and the expression that asks for each."""
LONGEST = LENGTH - 200
"""Characters of an expression. What would be longer is left to judgment; others put words around it."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task as its file tells it.

    ``criteria`` are what its author wrote, ``ensures`` those of them that are expressions, ``judgment`` those
    that no expression can say.
    """

    id: str
    title: str
    body: str
    parallel: bool
    criteria: tuple[str, ...]
    ensures: tuple[str, ...]
    judgment: tuple[str, ...]


def step_id(stem: str) -> str:
    """Returns the id of a step for the name of a file."""
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    if not plain:
        return "task"
    return plain if plain[0].isalpha() else f"t{plain}"


def read_task(stem: str, text: str) -> TaskFile:
    """Returns the task of a file."""
    lines = text.splitlines()
    at = next((i for i, line in enumerate(lines) if HEADING.match(line)), None)
    title = stem if at is None else (HEADING.match(lines[at]) or ["", stem])[1].strip()
    rest = lines if at is None else lines[at + 1 :]
    found = next((i for i, line in enumerate(rest) if CRITERIA.match(line)), len(rest))
    # A file may begin with its criteria.
    cut = -1 if at is not None and CRITERIA.match(lines[at]) else found
    criteria = [m[1].strip() for m in map(CHECKBOX.match, rest[cut + 1 :]) if m]
    parallel = MARK.search(title) is not None
    title = MARK.sub(" ", title).strip().removeprefix("Task:").strip()
    judged = [(criterion, _expression(criterion)) for criterion in criteria]
    return TaskFile(
        id=step_id(stem),
        title=title or stem,
        body="\n".join(rest[: max(cut, 0)]).strip(),
        parallel=parallel,
        criteria=tuple(criteria),
        ensures=tuple(found for _, found in judged if found is not None),
        judgment=tuple(criterion for criterion, found in judged if found is None),
    )


def collision(tasks: Sequence[TaskFile]) -> str | None:
    """Returns an id that two files come to, if there is one."""
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            return task.id
        seen.add(task.id)
    return None


def compile_tasks(tasks: Sequence[TaskFile], flow: str) -> str:
    """Returns the text of a spec whose flow has a step for each task."""
    needs = _needs(tasks)
    spec: dict[str, Json] = {
        "version": "0.1",
        "contracts": {"TaskResult": {"done": {"type": "boolean"}}},
        "functions": {task.id: _function(task) for task in tasks},
        "flows": {
            flow: {
                "input": {"project_context": {"type": "string"}},
                "output": "TaskResult",
                "steps": [_step(task, needs[task.id]) for task in tasks],
            }
        },
    }
    return yaml.safe_dump(spec, sort_keys=False, default_flow_style=False, allow_unicode=True)


def _expression(criterion: str) -> str | None:
    found = _meant(criterion)
    return found if found is None or len(found) <= LONGEST else None


def _meant(criterion: str) -> str | None:
    exists, contains = EXISTS.match(criterion), CONTAINS.match(criterion)
    if exists:
        return f"file_exists({_quoted(exists[1])})"
    if contains:
        return f"file_contains({_quoted(contains[1])}, {_quoted(contains[2] or contains[3] or contains[4])})"
    if TESTS.search(criterion):
        return FLAGS["tests_pass"]
    return FLAGS["lint_clean"] if LINT.search(criterion) else None


def _quoted(text: str) -> str:
    """Returns a text as an expression has it; quotes that an author put around a path are not its own."""
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1]
    return json.dumps(text, ensure_ascii=False)


def _function(task: TaskFile) -> Json:
    also = [f"Also verify: {'; '.join(task.judgment)}"] if task.judgment else []
    ensures: list[Json] = [*task.ensures, "result.done == True"]
    return {
        "mode": "compute",
        "intent": "\n".join(part for part in (task.title, task.body, *also) if part),
        "input": {"task_context": {"type": "string"}},
        "output": "TaskResult",
        "ensure": ensures,
        "retries": 2,
    }


def _step(task: TaskFile, needs: Sequence[str]) -> Json:
    wanted = ["done", *(name for name, asked in FLAGS.items() if asked in task.ensures)]
    required: list[Json] = [*wanted]
    step: dict[str, Json] = {
        "id": task.id,
        "function": task.id,
        "inputs": {"task_context": "$.input.project_context"},
        "output_schema": {
            "type": "object",
            "required": required,
            "properties": {name: {"type": "boolean"} for name in wanted},
        },
    }
    after: list[Json] = [*needs]
    return {**step, "depends_on": after} if after else step


def _needs(tasks: Sequence[TaskFile]) -> dict[str, tuple[str, ...]]:
    """Returns what each task waits for: those marked [P] for the last that is not, that one for all."""
    found: dict[str, tuple[str, ...]] = {}
    last: tuple[str, ...] = ()
    run: list[str] = []
    for task in tasks:
        if task.parallel:
            found[task.id] = last
            run.append(task.id)
        else:
            found[task.id] = tuple(run) or last
            last, run = (task.id,), []
    return found
