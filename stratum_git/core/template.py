"""Templates: ``{task.FIELD}`` and ``{input.NAME}``; every other brace is only a brace."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.model.ids import Json

HOLE = re.compile(
    r"\{\{(?P<escaped>(?:task|input)(?:\.[\w-]+)+)\}\}|\{(?P<name>(?:task|input)(?:\.[\w-]+)+)\}"
)
MISSING = object()


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a template with its holes filled."""

    text: str


@dataclass(frozen=True, slots=True)
class MissingField:
    """The template names a field that is not there; ``available`` are those that are."""

    field: str
    available: tuple[str, ...]


Rendering: TypeAlias = Rendered | MissingField


def render(template: str, task: Mapping[str, Json], inputs: Mapping[str, Json]) -> Rendering:
    """Returns the template filled from a task and the flow's inputs: text as it is, the rest as JSON."""
    roots: dict[str, Mapping[str, Json]] = {"task": task, "input": inputs}
    parts, at = [], 0
    for hole in HOLE.finditer(template):
        parts.append(template[at : hole.start()])
        at = hole.end()
        if hole["escaped"]:
            parts.append("{" + hole["escaped"] + "}")
            continue
        root, *path = hole["name"].split(".")
        value = _walk(dict(roots[root]), path)
        if value is MISSING:
            return MissingField(hole["name"], tuple(f"{root}.{name}" for name in roots[root]))
        parts.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return Rendered("".join((*parts, template[at:])))


def fields_used(template: str) -> tuple[str, ...]:
    """Returns the names of a template's holes, such as ``task.description``."""
    return tuple(dict.fromkeys(hole["name"] for hole in HOLE.finditer(template) if hole["name"]))


def _walk(value: Json, path: list[str]) -> object:
    for key in path:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return MISSING
    return value
