"""Reads a task graph out of what a planner returned, and says everything that is wrong with it."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, cast

from stratum_git.core.paths import refusal_of_pattern
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, TaskId
from stratum_git.model.spec import Command, Problem, Task

LIMIT = 10_000
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHANGES = ("required", "optional", "none")
KNOWN_LISTS = ("depends_on", "files_owned", "files_read")


def read_graph(value: Json, *, limit: int = LIMIT) -> TaskGraph | tuple[Problem, ...]:
    """Returns the graph of *value*, a list of task objects, or all of its problems."""
    if not isinstance(value, list):
        return (_not_a_list(value),)
    if not value:
        return (Problem("", "the task graph is empty", hint="a planner returns at least one task"),)
    if len(value) > limit:
        return (Problem("", f"the task graph has {len(value)} tasks; the limit is {limit}"),)
    problems: list[Problem] = []
    tasks = tuple(_task(index, item, problems) for index, item in enumerate(value))
    problems += _duplicates(tasks)
    if problems:
        return tuple(problems)
    index = {task.id: i for i, task in enumerate(tasks)}
    problems += [p for task in tasks for p in _bad_needs(task, index)]
    if problems:
        return tuple(problems)
    return _ordered(tasks, index)


def _not_a_list(value: Json) -> Problem:
    words = {dict: "an object", str: "a text", type(None): "nothing", bool: "a yes or no"}
    what = words.get(type(value), "a number")
    hint = "let the source end in a list of tasks"
    if isinstance(value, dict):
        lists = [key for key, item in value.items() if isinstance(item, list)]
        hint = f"let the source end in .{lists[0]}" if lists else hint
    return Problem("", f"the source is {what}, not a list of tasks", hint=hint)


def _task(index: int, item: Json, problems: list[Problem]) -> Task:
    where = f"tasks.{index}"
    if not isinstance(item, dict):
        problems.append(Problem(where, "a task is an object", hint='such as {"id": "api"}'))
        return Task(TaskId(""), {})
    problems += _bad_id(where, item.get("id"))
    lists = {name: _texts(where, name, item, problems) for name in KNOWN_LISTS}
    for pattern in lists["files_owned"]:
        refused = refusal_of_pattern(pattern)
        if refused is not None:
            problems.append(Problem(f"{where}.files_owned", f"{pattern!r} cannot be owned: {refused}"))
    changes = item.get("changes", "required" if lists["files_owned"] else "optional")
    if changes not in CHANGES:
        problems.append(Problem(f"{where}.changes", f"changes is one of {', '.join(CHANGES)}"))
    return Task(
        id=TaskId(str(item.get("id", ""))),
        fields=item,
        depends_on=tuple(map(TaskId, dict.fromkeys(lists["depends_on"]))),
        files_owned=lists["files_owned"],
        agent=_text(where, "agent", item, problems),
        intent=_text(where, "intent", item, problems),
        timeout=_seconds(where, item, problems),
        verify=_commands(where, item, problems),
        changes=cast("Literal['required', 'optional', 'none']", changes),
    )


def _bad_id(where: str, value: Json) -> list[Problem]:
    where = f"{where}.id"
    if value is None:
        return [Problem(where, "the task has no id")]
    if not isinstance(value, str):
        return [Problem(where, f"the id {value!r} is not a text", hint=f'write "{value}"')]
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip(".-_")
    slug = re.sub(r"\.{2,}", ".", slug)[:64].removesuffix(".lock").strip(".-_")
    reason = _id_refusal(value)
    if reason is None:
        return []
    return [Problem(where, f"the id {value!r} {reason}", hint=f"for example {slug or 'task-1'}")]


def _id_refusal(text: str) -> str | None:
    if not text:
        return "is empty"
    if "/" in text or "\\" in text:
        return "has a slash in it; ids become names of refs and folders"
    if ".." in text or text.endswith((".lock", ".")):
        return "cannot be part of a ref name"
    if text.startswith(("-", ".", "_")):
        return f"begins with {text[0]}"
    if any(c.isspace() for c in text):
        return "has a space in it"
    if len(text) > 64:
        return "is longer than 64 characters"
    return (
        None
        if ID.fullmatch(text)
        else "has a character that is not a letter A-Z, digit, dot, dash or underscore"
    )


def _duplicates(tasks: Sequence[Task]) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for index, task in enumerate(tasks):
        before = first.setdefault(task.id.lower(), index)
        if before != index and task.id:
            same = tasks[before].id == task.id
            how = "is used twice" if same else f"differs from {tasks[before].id} only in case"
            problems.append(
                Problem(f"tasks.{index}.id", f"the id {task.id} {how} (tasks {before} and {index})")
            )
    return problems


def _bad_needs(task: Task, index: Mapping[TaskId, int]) -> list[Problem]:
    where = f"tasks.{index[task.id]}.depends_on"
    problems = []
    for need in task.depends_on:
        if need == task.id:
            problems.append(Problem(where, f"{task.id} depends on itself"))
        elif need not in index:
            close = get_close_matches(need, index, 1) if len(index) < 2000 else []
            hint = f"did you mean {close[0]}?" if close else ""
            problems.append(Problem(where, f"{task.id} depends on {need}, which is no task", hint=hint))
    return problems


def _ordered(tasks: tuple[Task, ...], index: Mapping[TaskId, int]) -> TaskGraph | tuple[Problem, ...]:
    needs = tuple(tuple(sorted(index[need] for need in task.depends_on)) for task in tasks)
    dependents: list[list[int]] = [[] for _ in tasks]
    for i, found in enumerate(needs):
        for need in found:
            dependents[need].append(i)
    left = [len(found) for found in needs]
    queue = deque(i for i, count in enumerate(left) if not count)
    order = []
    while queue:
        done = queue.popleft()
        order.append(done)
        for i in dependents[done]:
            left[i] -= 1
            if not left[i]:
                queue.append(i)
    if len(order) < len(tasks):
        return (_cycle(tasks, needs, left),)
    return TaskGraph(tasks, needs, tuple(map(tuple, dependents)), tuple(order))


def _cycle(tasks: Sequence[Task], needs: Sequence[Sequence[int]], left: Sequence[int]) -> Problem:
    at = next(i for i, count in enumerate(left) if count)
    seen: dict[int, int] = {}
    while at not in seen:
        seen[at] = len(seen)
        at = next(need for need in needs[at] if left[need])
    path = [i for i, place in seen.items() if place >= seen[at]]
    names = [tasks[i].id for i in (*path, at)]
    shown = names if len(names) <= 12 else [*names[:6], TaskId("..."), *names[-5:]]
    return Problem("", f"tasks wait for each other: {' -> '.join(shown)}")


def _texts(where: str, name: str, item: Mapping[str, Json], problems: list[Problem]) -> tuple[str, ...]:
    value = item.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        problems.append(Problem(f"{where}.{name}", f"{name} is not a list of texts"))
        return ()
    return tuple(cast("list[str]", value))


def _text(where: str, name: str, item: Mapping[str, Json], problems: list[Problem]) -> str | None:
    value = item.get(name)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    problems.append(Problem(f"{where}.{name}", f"{name} is not a text"))
    return None


def _seconds(where: str, item: Mapping[str, Json], problems: list[Problem]) -> float | None:
    value = item.get("timeout")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        problems.append(Problem(f"{where}.timeout", "timeout is not a number of seconds above 0"))
        return None
    return float(value)


def _commands(where: str, item: Mapping[str, Json], problems: list[Problem]) -> tuple[Command, ...] | None:
    value = item.get("verify")
    if value is None:
        return None
    found = commands(value)
    if found is None:
        hint = "a shell line, or a list of shell lines or lists of words"
        problems.append(Problem(f"{where}.verify", "verify is not a command", hint=hint))
    return found


def commands(value: Json) -> tuple[Command, ...] | None:
    """Returns the commands that a spec or task writes as a shell line, or a list of lines or word lists."""
    if isinstance(value, str):
        return (("sh", "-c", value),) if value.strip() else None
    if not isinstance(value, list):
        return None
    found: list[Command] = []
    for entry in value:
        if isinstance(entry, str) and entry.strip():
            found.append(("sh", "-c", entry))
        elif isinstance(entry, list) and entry and all(isinstance(word, str) for word in entry):
            found.append(tuple(cast("list[str]", entry)))
        else:
            return None
    return tuple(found)
