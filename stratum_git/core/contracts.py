"""Whether an output keeps its contract: the declared fields are there and have their types."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from stratum_git.model.ids import Json
from stratum_git.model.spec import Contract, Field


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Json) -> bool:
    # JSON has one kind of number: 3.0 is a whole one, as it is for JSON Schema.
    return _is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


TYPES: Mapping[str, Callable[[Json], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def breaches(contract: Contract, value: Json) -> tuple[str, ...]:
    """Returns a sentence for each way in which *value* breaks *contract*. Further fields are no breach."""
    if not isinstance(value, dict):
        fields = ", ".join(contract) or "no fields"
        return (f"the result is {_shown(value)}, not an object with {fields}",)
    missing = (f"the result has no {name}" for name in contract if name not in value)
    wrong = (_wrong(name, field, value[name]) for name, field in contract.items() if name in value)
    return (*missing, *(line for line in wrong if line is not None))


def _wrong(name: str, field: Field, value: Json) -> str | None:
    # A type that is none of JSON's is the author's own word; nothing is known against any value.
    if field.type in TYPES and not TYPES[field.type](value):
        return f"{name} is {_shown(value)}, not of the type {field.type}"
    if field.values is not None and not any(_is_same(value, allowed) for allowed in field.values):
        return f"{name} is {_shown(value)}, not one of {', '.join(map(_shown, field.values))}"
    return None


def _is_same(value: Json, allowed: Json) -> bool:
    """Returns whether two values are equal; true is not 1 here, though it is in Python."""
    return value == allowed and isinstance(value, bool) is isinstance(allowed, bool)


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
