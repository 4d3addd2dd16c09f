"""Whether a value fits a JSON Schema. Nothing is fetched: a schema can only refer to itself.

The only module that imports jsonschema, which takes 100 ms; whoever needs it imports this module late.
A schema decides how much work it is, so the work is counted. What it cannot bound is a single regular
expression of a ``pattern``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import jsonschema
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from stratum_git.model.ids import Json

SHOWN = 10
CHECKS = 100_000
SAID = 300
LITERAL = ("const", "enum", "default", "examples")
"""Keywords whose values are data, in which ``$ref`` means nothing."""

Keyword: TypeAlias = Callable[[Validator, object, object, object], Iterable[ValidationError] | None]


def schema_breaches(schema: Mapping[str, Json], value: Json) -> tuple[str, ...]:
    """Returns a sentence for each way in which *value* does not fit *schema*, the first ten."""
    problem = schema_problem(schema)
    if problem is not None:
        return (problem,)
    try:
        errors = list(_counted()(dict(schema), registry=Registry()).iter_errors(value))
    except Unresolvable as error:
        return (f"output_schema refers to {error}, which is not in it, and nothing is fetched"[:SAID],)
    except (RecursionError, _TooMuch):
        return ("output_schema is too much work for this value; perhaps it refers to itself without end",)
    except (re.error, ArithmeticError) as error:
        return (f"output_schema cannot be applied: {error}"[:SAID],)
    errors.sort(key=lambda error: list(map(str, error.absolute_path)))
    return tuple(_sentence(error) for error in errors[:SHOWN])


def schema_problem(schema: Mapping[str, Json]) -> str | None:
    """Returns why *schema* is no JSON Schema, or refers to something outside of it, or ``None``."""
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return f"output_schema is not a JSON Schema: {' '.join(error.message.split())}"[:SAID]
    except (RecursionError, ArithmeticError):
        return "output_schema is nested too deep, or has a number or pattern that is too large"
    remote = next((ref for ref in _references(dict(schema)) if _is_remote(ref, schema)), None)
    return None if remote is None else f"output_schema refers to {remote[:100]}, and nothing is fetched"


class _TooMuch(Exception):  # noqa: N818 - it never leaves this module
    pass


def _counted() -> type[Validator]:
    """Returns a validator that gives up: references that fork need time without end, and no memory."""
    left = [CHECKS]

    def counted(keyword: Keyword) -> Keyword:
        def check(
            validator: Validator, wanted: object, value: object, schema: object
        ) -> Iterator[ValidationError]:
            left[0] -= 1
            if left[0] < 0:
                raise _TooMuch
            yield from keyword(validator, wanted, value, schema) or ()

        return check

    base = jsonschema.Draft202012Validator
    keywords = {name: counted(keyword) for name, keyword in base.VALIDATORS.items()}
    made: type[Validator] = extend(base, keywords)  # type: ignore[no-untyped-call]  # the stubs leave it out
    return made


def _references(schema: Json) -> Iterator[str]:
    todo = [schema]
    while todo:
        at = todo.pop()
        if isinstance(at, list):
            todo += at
        elif isinstance(at, dict):
            todo += [item for key, item in at.items() if key not in LITERAL]
            found = (at.get(name) for name in ("$ref", "$dynamicRef"))
            yield from (ref for ref in found if isinstance(ref, str))


def _is_remote(reference: str, schema: Mapping[str, Json]) -> bool:
    # A schema that names parts of itself may refer to them by any address; validation finds out.
    return not reference.startswith("#") and "$id" not in str(schema)


def _sentence(error: ValidationError) -> str:
    path = ".".join(map(str, error.absolute_path))
    place = f"{path}: " if path else ""
    return " ".join(f"{place}{error.message}".split())[:SAID]
