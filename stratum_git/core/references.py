"""References: ``$.input.NAME`` and ``$.steps.ID.output``, each with a path into the value.

A text that does not begin with ``$`` stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.model.ids import Json, StepId

STEP = re.compile(r"\$\.steps\.([A-Za-z0-9_][A-Za-z0-9_.-]*?)(?=\.output\b|[^A-Za-z0-9_.-]|$)")
INPUT = re.compile(r"\$\.input\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference stands for."""

    value: Json


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reference that stands for nothing, and why."""

    reason: str


Resolution: TypeAlias = Found | Unresolved


def resolve(reference: str, inputs: Mapping[str, Json], outputs: Mapping[StepId, Json]) -> Resolution:
    """Returns what *reference* stands for among the flow's inputs and the outputs of its finished steps."""
    if not reference.startswith("$"):
        return Found(reference)
    if reference.startswith("$.input."):
        name, *path = reference.removeprefix("$.input.").split(".")
        if name not in inputs:
            return Unresolved(f"{reference}: the flow has no input {name} (it has: {_list(inputs)})")
        return _walk(reference, inputs[name], path)
    if reference.startswith("$.steps."):
        return _step(reference, outputs)
    return Unresolved(f"{reference}: a reference begins with $.input. or $.steps.")


def steps_named(text: str) -> tuple[str, ...]:
    """Returns the ids of the steps that a reference or an expression names."""
    return tuple(dict.fromkeys(match.rstrip(".") for match in STEP.findall(text)))


def inputs_named(text: str) -> tuple[str, ...]:
    """Returns the names of the inputs that a reference or an expression names."""
    return tuple(dict.fromkeys(INPUT.findall(text)))


def _step(reference: str, outputs: Mapping[StepId, Json]) -> Resolution:
    step, dot, path = reference.removeprefix("$.steps.").partition(".output")
    if not dot or (path and not path.startswith(".")):
        return Unresolved(f"{reference}: write $.steps.ID.output")
    if step not in outputs:
        return Unresolved(f"{reference}: step {step} has no output yet (there is: {_list(outputs)})")
    return _walk(reference, outputs[StepId(step)], path.split(".")[1:])


def _walk(reference: str, value: Json, path: Sequence[str]) -> Resolution:
    for key in path:
        if value is None:
            return Found(None)
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return Unresolved(f"{reference}: there is no {key} in {_describe(value)}")
    return Found(value)


def _describe(value: Json) -> str:
    if isinstance(value, dict):
        return f"an object with {_list(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"a {type(value).__name__}"


def _list(names: Mapping[str, Json] | Mapping[StepId, Json]) -> str:
    return ", ".join(list(names)[:20]) or "nothing"
