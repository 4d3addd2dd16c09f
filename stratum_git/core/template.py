"""Templates: ``{task.FIELD}`` and ``{input.NAME}``; every other brace is only a brace.

What is filled in is never read as a template again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TypeAlias

from stratum_git.core.references import Found, entry
from stratum_git.model.ids import Json
from stratum_git.model.values import dataclass

NAME = r"(?:task|input)(?:\.[\w-]+)+"
HOLE = re.compile(r"\{\{(?P<escaped>" + NAME + r")\}\}|\{(?P<name>" + NAME + r")\}")
OF_A_COMMIT = ("flow", "step", "attempt")
"""What the message of a commit may name besides."""
MESSAGE_NAME = f"{NAME}|{'|'.join(OF_A_COMMIT)}"
MESSAGE_HOLE = re.compile(r"\{\{(?P<escaped>" + MESSAGE_NAME + r")\}\}|\{(?P<name>" + MESSAGE_NAME + r")\}")
SEEMING = re.compile(r"\{+(?P<name>[A-Za-z_][\w.-]*)\}+")
"""What looks like a hole, whether it is one or not."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a template with its holes filled."""

    text: str


@dataclass(frozen=True, slots=True)
class MissingField:
    """The template names a field that is not there; ``available`` are those that stand beside it."""

    field: str
    available: tuple[str, ...]


Rendering: TypeAlias = Rendered | MissingField


def render(template: str, task: Mapping[str, Json], inputs: Mapping[str, Json]) -> Rendering:
    """Returns the template filled from a task and the flow's inputs: text as it is, the rest as JSON."""
    return _filled(template, HOLE, {"task": dict(task), "input": dict(inputs)})


def render_message(
    template: str, task: Mapping[str, Json], inputs: Mapping[str, Json], commit: Mapping[str, Json]
) -> Rendering:
    """Returns a commit message; *commit* has what the holes of OF_A_COMMIT stand for."""
    return _filled(template, MESSAGE_HOLE, {"task": dict(task), "input": dict(inputs), **commit})


def unknown_names(template: str) -> tuple[str, ...]:
    """Returns what looks like a hole of a commit message and names nothing that could be there."""
    named = dict.fromkeys(hole["name"] for hole in SEEMING.finditer(template))
    return tuple(name for name in named if re.fullmatch(MESSAGE_NAME, name) is None)


def _filled(template: str, holes: re.Pattern[str], roots: Mapping[str, Json]) -> Rendering:
    parts, at = [], 0
    for hole in holes.finditer(template):
        parts.append(template[at : hole.start()])
        at = hole.end()
        if hole["escaped"]:
            parts.append("{" + hole["escaped"] + "}")
            continue
        found = _look_up(hole["name"], dict(roots))
        if isinstance(found, MissingField):
            return found
        parts.append(found.value if isinstance(found.value, str) else _json(found.value))
    return Rendered("".join((*parts, template[at:])))


def fields_used(template: str) -> tuple[str, ...]:
    """Returns the names of a template's holes, such as ``task.description``, each once."""
    return tuple(dict.fromkeys(hole["name"] for hole in HOLE.finditer(template) if hole["name"]))


def _look_up(name: str, roots: Json) -> Found | MissingField:
    value, walked = roots, ""
    for key in name.split("."):
        found = entry(value, key)
        if found is None:
            return MissingField(name, tuple(f"{walked}{beside}" for beside in _keys(value)))
        value, walked = found.value, f"{walked}{key}."
    return Found(value)


def _keys(value: Json) -> list[str]:
    if isinstance(value, list):
        return [str(index) for index in range(min(len(value), 20))]
    return list(value) if isinstance(value, dict) else []


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
