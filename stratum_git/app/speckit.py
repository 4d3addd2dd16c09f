"""Compiles a folder of task files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stratum_git.core.speckit import TaskFile, collision, compile_tasks, read_task
from stratum_git.errors import UserError

LIMIT = 1024 * 1024


class NoTasksError(UserError):
    """A folder has nothing that could be compiled; ``kind`` says why in the protocol's word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Compiled:
    """The text of a spec, and the tasks that it was made of."""

    text: str
    tasks: tuple[TaskFile, ...]


def compile_folder(folder: Path, flow: str) -> Compiled:
    """Returns the spec for the ``*.md`` files of *folder*, in the order of their names."""
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
    return Compiled(compile_tasks(tasks, flow), tasks)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LIMIT:
            raise NoTasksError("compile_error", f"{path} is larger than {LIMIT} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoTasksError("compile_error", f"{path} cannot be read: {error}") from error
