"""Names for things, so that a task's id is never mistaken for a step's."""

from __future__ import annotations

from typing import Literal, NewType, TypeAlias

FlowId = NewType("FlowId", str)
StepId = NewType("StepId", str)
TaskId = NewType("TaskId", str)
Oid = NewType("Oid", str)
"""A full git object id in lower-case hex: 40 characters in a SHA-1 repository, 64 in a SHA-256 one."""
RefName = NewType("RefName", str)
"""A full ref name, such as ``refs/heads/main``."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What can be written as JSON. Treated as immutable: nothing changes a value after it was made."""

Hooks: TypeAlias = Literal["inherit", "off"] | tuple[str, ...]
"""Which of the user's own git hooks run where an agent works: all, none, or those named."""

LANDING = "-landing"
"""Stands for the task, in folders, where a landing is tested."""

OWN = "-step"
"""Stands for the task, in refs and folders, where one agent does a step; no task id begins with a dash."""
