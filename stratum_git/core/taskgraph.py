"""Reads a task graph out of what a planner returned, and says everything that is wrong with it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, cast

from stratum_git.core.heavy import close_matches
from stratum_git.core.paths import refusal_of_pattern
from stratum_git.core.topology import circles, dependents_of, kahn
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, TaskId
from stratum_git.model.spec import MOST_CANDIDATES, Candidate, Command, Problem, Task

LIMIT = 10_000
COMPARISONS = 5000
"""Names that are compared to find those that unknown ones may have meant; each takes up to 50 us."""
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CHANGES = ("required", "optional", "none")
WORDS: Mapping[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "a yes or no"}

Changes: TypeAlias = Literal["required", "optional", "none"]


def read_graph(value: Json, *, limit: int = LIMIT) -> TaskGraph | tuple[Problem, ...]:
    """Returns the graph of *value*, a list of task objects, or all of its problems."""
    if not isinstance(value, list):
        return (_not_a_list(value),)
    if not value:
        return (Problem("", "the task graph is empty", hint="a planner returns at least one task"),)
    if len(value) > limit:
        hint = "let a task do more, or plan in several steps"
        return (Problem("", f"the task graph has {len(value)} tasks; the limit is {limit}", hint=hint),)
    readers = [_Reader(f"tasks.{place}") for place in range(len(value))]
    tasks = tuple(reader.task(item) for reader, item in zip(readers, value, strict=True))
    # Of two tasks with one id the first is the one that others speak of.
    index = {task.id: place for place, task in reversed(tuple(enumerate(tasks))) if task.id}
    needs = tuple(_needs(task, place, index) for place, task in enumerate(tasks))
    by_place = dict(enumerate(needs))
    dependents, order = dependents_of(by_place), kahn(by_place)
    problems = [problem for reader in readers for problem in reader.problems]
    problems += _duplicates(tasks)
    problems += _bad_needs(tasks, index)
    problems += (_cycle(tasks, path) for path in circles(by_place))
    after = tuple(tuple(dependents[place]) for place in by_place)
    return tuple(problems) or TaskGraph(tasks, needs, after, order)


def commands(value: Json) -> tuple[Command, ...] | None:
    """Returns the commands that a spec or task writes as a shell line, or a list of lines or word lists.

    ``None`` is for a value that is none of these.
    """
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list):
        return None
    found = [_command(entry) for entry in entries]
    return None if None in found else tuple(command for command in found if command is not None)


def _command(entry: Json) -> Command | None:
    if isinstance(entry, str):
        words: Command = ("sh", "-c", entry)
    elif isinstance(entry, list) and entry and all(isinstance(word, str) for word in entry):
        words = tuple(cast("list[str]", entry))
    else:
        return None
    # No program has an empty name, and none can be given a NUL.
    blank = not words[0] or (isinstance(entry, str) and not entry.strip())
    return None if blank or any("\0" in word for word in words) else words


def _not_a_list(value: Json) -> Problem:
    hint = "let the source end in a list of tasks"
    if isinstance(value, dict):
        lists = [key for key, item in value.items() if isinstance(item, list)]
        key = "tasks" if "tasks" in lists or not lists else lists[0]
        hint = f"let the source end in .{key}" if lists else hint
    return Problem("", f"the source is {_kind(value)}, not a list of tasks", hint=hint)


def _kind(value: Json) -> str:
    return "null" if value is None else WORDS.get(type(value), "a number")


def _brief(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else _kind(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- one task ---------------------------------------------------------------------------------------------


class _Reader:
    """Reads one task and collects what is wrong with it."""

    def __init__(self, where: str) -> None:
        self.problems: list[Problem] = []
        self._where = where
        self._item: dict[str, Json] = {}

    def task(self, item: Json) -> Task:
        """Returns the task, as far as it can be read."""
        if not isinstance(item, dict):
            self.problems.append(
                Problem(
                    self._where, f"the task is {_kind(item)}, not an object", hint='such as {"id": "api"}'
                )
            )
            return Task(TaskId(""), {})
        self._item = item
        owned = self._patterns()
        self._texts("files_read")
        return Task(
            id=self._id(),
            fields=item,
            depends_on=tuple(map(TaskId, dict.fromkeys(self._texts("depends_on")))),
            files_owned=owned,
            agent=self._text("agent"),
            intent=self._text("intent"),
            timeout=self._seconds("timeout"),
            verify=self._commands("verify"),
            changes=self._changes("required" if owned else "optional"),
            candidates=self._candidates(),
        )

    def _say(self, field: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(f"{self._where}.{field}", message, hint=hint))

    def _id(self) -> TaskId:
        value = self._item.get("id")
        if value is None:
            self._say("id", "the task has no id")
            return TaskId("")
        if not isinstance(value, str):
            hint = "" if isinstance(value, list | dict) else f'write "{_slug(str(value)) or "task-1"}"'
            self._say("id", f"the id is {_kind(value)}, not a text", hint)
            return TaskId("")
        reason = _id_refusal(value)
        if reason is not None:
            self._say("id", f"the id {_brief(value)} {reason}", f"for example {_slug(value) or 'task-1'}")
        return TaskId(value)

    def _patterns(self) -> tuple[str, ...]:
        patterns = self._texts("files_owned")
        for pattern in patterns:
            refused = refusal_of_pattern(pattern)
            if refused is not None:
                self._say("files_owned", f"{_brief(pattern)} cannot be owned: {refused}")
        return patterns

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self._item.get(name)
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(cast("list[str]", value))
        hint = f"write [{_brief(value)}]" if isinstance(value, str) else ""
        self._say(name, f"{name} is not a list of texts", hint)
        return ()

    def _text(self, name: str) -> str | None:
        value = self._item.get(name)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        self._say(name, f"{name} is {'blank' if isinstance(value, str) else f'{_kind(value)}, not a text'}")
        return None

    def _seconds(self, name: str) -> float | None:
        value = self._item.get(name)
        if value is None:
            return None
        # The limit keeps infinity out, and whole numbers that no float can hold.
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12:
            return float(value)
        self._say(name, f"{name} is {_brief(value)}, not a number of seconds above 0")
        return None

    def _commands(self, name: str) -> tuple[Command, ...] | None:
        value = self._item.get(name)
        found = None if value is None else commands(value)
        if value is not None and found is None:
            hint = "a shell line, or a list of shell lines or lists of words"
            self._say(name, f"{name} is no command", hint)
        return found

    def _changes(self, default: Changes) -> Changes:
        value = self._item.get("changes")
        if value is None:
            return default
        if value not in CHANGES:
            self._say("changes", f"changes is {_brief(value)}, not one of {', '.join(CHANGES)}")
        return cast("Changes", value)

    def _candidates(self) -> tuple[Candidate, ...] | None:
        value = self._item.get("candidates")
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_CANDIDATES:
            return (Candidate(),) * value if value > 1 else ()
        if isinstance(value, list) and 1 <= len(value) <= MOST_CANDIDATES:
            return tuple(self._candidate(entry) for entry in value)
        self._say("candidates", f"candidates is neither a number nor a list of 1 to {MOST_CANDIDATES}")
        return None

    def _candidate(self, entry: Json) -> Candidate:
        known = ("agent", "intent")
        if not isinstance(entry, dict) or not set(entry) <= set(known):
            self._say("candidates", "a candidate is an object with agent, intent, or neither")
            return Candidate()
        for name in known:
            value = entry.get(name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                self._say("candidates", f"{name} of a candidate is not a text that says something")
                return Candidate()
        return Candidate(cast("str | None", entry.get("agent")), cast("str | None", entry.get("intent")))


def _id_refusal(text: str) -> str | None:
    # Ids become names of refs and folders; each of these would break one of the two.
    if not text:
        return "is empty"
    if "/" in text or "\\" in text:
        return "has a slash in it"
    if any(c.isspace() for c in text):
        return "has a space in it"
    if any(unicodedata.category(c) == "Cc" for c in text):
        return "has a control character in it"
    if not text.isascii():
        return "has a character that is not ASCII in it"
    if text[0] in "-._":
        return f"begins with a {dict(zip('-._', ('dash', 'dot', 'underscore'), strict=True))[text[0]]}"
    if ".." in text:
        return "has two dots in a row"
    if text.endswith((".lock", ".")):
        return f"ends in {'.lock' if text.endswith('.lock') else 'a dot'}"
    if len(text) > 64:
        return "is longer than 64 characters"
    if ID.fullmatch(text):
        return None
    return f"has {next(c for c in text if not (c.isalnum() or c in '-._'))} in it"


def _slug(text: str) -> str:
    """Returns an id that looks like *text*, or nothing."""
    plain = unicodedata.normalize("NFKD", text[:200]).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    slug = re.sub(r"\.{2,}", ".", slug).strip("-._")[:64].rstrip("-._")
    slug = re.sub(r"(\.lock)+\Z", "", slug)
    return slug if _id_refusal(slug) is None else ""


# --- all of them ------------------------------------------------------------------------------------------


def _duplicates(tasks: Sequence[Task]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for place, task in enumerate(tasks):
        before = first.setdefault(task.id.lower(), place)
        if before == place or not task.id:
            continue
        other = tasks[before].id
        how = "is used twice" if other == task.id else f"differs from {_brief(other)} only in case"
        said = f"the id {_brief(task.id)} {how} (tasks {before} and {place})"
        yield Problem(f"tasks.{place}.id", said)


def _needs(task: Task, place: int, index: Mapping[TaskId, int]) -> tuple[int, ...]:
    found = {index[need] for need in task.depends_on if need in index}
    return tuple(sorted(found - {place}))


def _bad_needs(tasks: Sequence[Task], index: Mapping[TaskId, int]) -> Iterator[Problem]:
    left = COMPARISONS
    for place, task in enumerate(tasks):
        where = f"tasks.{place}.depends_on"
        for need in task.depends_on:
            if need == task.id:
                yield Problem(where, f"{_brief(need)} depends on itself")
            elif need not in index:
                left -= len(index)
                close = close_matches(need[:100], index, 1) if left >= 0 else []
                hint = f"did you mean {close[0]}?" if close else ""
                said = f"{_brief(task.id)} depends on {_brief(need)}, which is no task"
                yield Problem(where, said, hint=hint)


def _cycle(tasks: Sequence[Task], path: Sequence[int]) -> Problem:
    names = [tasks[place].id[:64] for place in path]
    shown = names if len(names) <= 12 else [*names[:6], "...", *names[-5:]]
    hint = "take one of these dependencies away"
    return Problem("", f"tasks depend on each other in a circle: {' -> '.join(shown)}", hint=hint)
