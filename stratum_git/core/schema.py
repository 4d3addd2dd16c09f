"""Whether a value fits a JSON Schema. Nothing is fetched: a schema can only refer to itself.

The only module that imports jsonschema, which takes 100 ms; whoever needs it imports this module late.
"""

from __future__ import annotations

from collections.abc import Mapping

import jsonschema
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from stratum_git.model.ids import Json

SHOWN = 10


def schema_breaches(schema: Mapping[str, Json], value: Json) -> tuple[str, ...]:
    """Returns a sentence for each way in which *value* does not fit *schema*, the first ten."""
    problem = schema_problem(schema)
    if problem is not None:
        return (problem,)
    validator = jsonschema.Draft202012Validator(dict(schema), registry=Registry())
    try:
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    except Unresolvable as error:
        return (f"the schema refers to {error}, and nothing is fetched",)
    except RecursionError:
        return ("the schema refers to itself without end",)
    return tuple(f"{_place(error)}{error.message}"[:300] for error in errors[:SHOWN])


def schema_problem(schema: Mapping[str, Json]) -> str | None:
    """Returns why *schema* is no JSON Schema, or ``None``."""
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return f"output_schema is not a JSON Schema: {error.message}"[:300]
    except RecursionError:
        return "output_schema is nested too deep"
    return None


def _place(error: jsonschema.ValidationError) -> str:
    path = ".".join(map(str, error.absolute_path))
    return f"{path}: " if path else ""
