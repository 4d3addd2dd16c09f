"""Compiles a folder of task files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum_git.core.parse import load_spec
from stratum_git.core.speckit import TaskFile, collision, compile_tasks, read_task
from stratum_git.core.speckit_fan_out import compile_fan_out
from stratum_git.core.taskgraph import ID
from stratum_git.errors import UserError

LIMIT = 1024 * 1024


class NoTasksError(UserError):
    """A folder has nothing that could be compiled; ``kind`` says why in the protocol's word."""

    def __init__(self, kind: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Compiled:
    """The text of a spec, and the tasks that it was made of."""

    text: str
    tasks: tuple[TaskFile, ...]


def compile_folder(folder: Path, flow: str, *, parallel: bool = False) -> Compiled:
    """Returns the spec for the ``*.md`` files of *folder*, in the order of their names.

    It is one that the original runs too, a step after the other; with *parallel* one that fans out what is
    marked [P]. Raises NoTasksError, also when what the files say makes no valid spec.
    """
    if not folder.is_dir():
        raise NoTasksError("directory_not_found", f"tasks_dir '{folder}' is not a directory")
    files = sorted(path for path in folder.glob("*.md") if path.is_file())
    if not files:
        raise NoTasksError("no_tasks", f"No task files (*.md) found in {folder}")
    tasks = tuple(read_task(path.stem, _text(path)) for path in files)
    twice = collision(tasks)
    if twice is not None:
        raise NoTasksError(
            "step_id_collision", f"two files come to the step id '{twice}'; rename one of them"
        )
    text = _fanned_out(tasks, flow) if parallel else compile_tasks(tasks, flow)
    _check(text)
    return Compiled(text, tasks)


def _fanned_out(tasks: Sequence[TaskFile], flow: str) -> str:
    # A spec does not look into the defaults of its inputs, and there the ids are.
    long = next((task.id for task in tasks if not ID.fullmatch(task.id)), None)
    if long is not None:
        hint = "shorten the name of its file"
        raise NoTasksError("compile_error", f"{long} is too long for the id of a task", hint=hint)
    return compile_fan_out(tasks, flow)


def _check(text: str) -> None:
    problems = load_spec(text).problems
    if problems:
        first = problems[0]
        where = f"{first.path}: " if first.path else ""
        said = f"the files make no valid spec: {where}{first.message}"
        raise NoTasksError("compile_error", said, hint=first.hint)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LIMIT:
            raise NoTasksError("compile_error", f"{path} is larger than {LIMIT} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoTasksError("compile_error", f"{path} cannot be read: {error}") from error
