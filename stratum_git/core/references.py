"""References: ``$.input.NAME`` and ``$.steps.ID.output``, each with a path into the value.

A text that does not begin with ``$`` stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from stratum_git.model.ids import Json, StepId
from stratum_git.model.values import dataclass

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
    """Returns what *reference* stands for among the flow's inputs and the outputs of its finished steps.

    A step that was skipped has the output null, and so has everything within it.
    """
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


def entry(value: Json, key: str) -> Found | None:
    """Returns an entry of an object, or an element of a list by its index; ``None`` when it is missing."""
    if isinstance(value, dict) and key in value:
        return Found(value[key])
    # No list is so long that its indexes have ten digits, and int() refuses thousands of them.
    if isinstance(value, list) and key.isdecimal() and len(key) < 10 and int(key) < len(value):
        return Found(value[int(key)])
    return None


def steps_named(text: str) -> tuple[str, ...]:
    """Returns the ids of the steps that a reference or an expression names, each once."""
    return tuple(dict.fromkeys(match.rstrip(".") for match in STEP.findall(text)))


def inputs_named(text: str) -> tuple[str, ...]:
    """Returns the names of the inputs that a reference or an expression names, each once."""
    return tuple(dict.fromkeys(INPUT.findall(text)))


def _step(reference: str, outputs: Mapping[StepId, Json]) -> Resolution:
    rest = reference.removeprefix("$.steps.")
    # An id may have dots, and even `.output`, in it: the longest one that is known is meant.
    fitting = [step for step in outputs if f"{rest}.".startswith(f"{step}.output.")]
    if fitting:
        step = max(fitting, key=len)
        path = rest.removeprefix(f"{step}.output").split(".")[1:]
        return Found(None) if outputs[step] is None else _walk(reference, outputs[step], path)
    name, dot, _ = f"{rest}.".partition(".output.")
    if not dot or not name:
        return Unresolved(f"{reference}: write $.steps.ID.output")
    return Unresolved(f"{reference}: step {name} has no output yet (there is: {_list(outputs)})")


def _walk(reference: str, value: Json, path: Sequence[str]) -> Resolution:
    for key in path:
        found = entry(value, key)
        if found is None:
            return Unresolved(f"{reference}: there is no {key or 'name after the dot'} in {_describe(value)}")
        value = found.value
    return Found(value)


def _describe(value: Json) -> str:
    if isinstance(value, dict):
        return f"an object with {_list(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "null" if value is None else f"a {type(value).__name__}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:20]) or "nothing"
