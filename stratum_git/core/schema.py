"""Whether a value fits a JSON Schema. Nothing is fetched: a schema can only refer to itself.

The only module that imports jsonschema, which takes 100 ms; whoever needs it imports this module late.
A schema decides how much work it is, so the work is counted, and its patterns are searched by ``regex``,
which has deadlines: ``re`` has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

import jsonschema
import regex
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from stratum_git.model.ids import Json

SHOWN = 10
CHECKS = 100_000
SAID = 300
FREE = 50
"""Entries of a keyword or a value that count as nothing; so many more count as one check."""
PARTS = 3000
"""Lists, objects and values of a schema; to check that it is one takes a millisecond for each."""
ERRORS = 1000
SECONDS = 0.5
"""For one pattern and one text."""
LONGEST = 500
"""Characters of a pattern. To get ready for a longer one takes ``regex`` its square, with no deadline."""
LITERAL = ("const", "enum", "default", "examples")
"""Keywords whose values are data, in which ``$ref`` means nothing."""

Keyword: TypeAlias = Callable[[Validator, object, object, object], Iterable[ValidationError] | None]


def schema_breaches(schema: Mapping[str, Json], value: Json) -> tuple[str, ...]:
    """Returns a sentence for each way in which *value* does not fit *schema*, the first ten."""
    problem = schema_problem(schema)
    if problem is not None:
        return (problem,)
    try:
        found = _counted()(dict(schema), registry=Registry()).iter_errors(value)
        errors = list(islice(found, ERRORS))
    except Unresolvable as error:
        return (f"output_schema refers to {error}, which is not in it, and nothing is fetched"[:SAID],)
    except (RecursionError, _TooMuch):
        return ("output_schema is too much work for this value; perhaps it refers to itself without end",)
    except (re.error, regex.error, ArithmeticError) as error:
        return (f"output_schema cannot be applied: {error}"[:SAID],)
    errors.sort(key=lambda error: list(map(str, error.absolute_path)))
    return tuple(_sentence(error) for error in errors[:SHOWN])


def schema_problem(schema: Mapping[str, Json]) -> str | None:
    """Returns why *schema* is no JSON Schema, or refers to something outside of it, or ``None``."""
    if _is_larger(dict(schema), PARTS):
        return f"output_schema has more than {PARTS} parts"
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return f"output_schema is not a JSON Schema: {' '.join(error.message.split())}"[:SAID]
    except (RecursionError, ArithmeticError, MemoryError):
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
            # What a keyword lists and what a value has are gone through for each other.
            left[0] -= 1 + (_size(wanted) + _size(value)) // FREE
            if left[0] < 0:
                raise _TooMuch
            yield from keyword(validator, wanted, value, schema) or ()

        return check

    base = jsonschema.Draft202012Validator
    known = {**base.VALIDATORS, "pattern": _pattern, "patternProperties": _pattern_properties}
    known |= {"additionalProperties": _additional, "uniqueItems": _unique}
    keywords = {name: counted(keyword) for name, keyword in known.items()}
    made: type[Validator] = extend(base, keywords)  # type: ignore[no-untyped-call]  # the stubs leave it out
    return made


def _is_larger(schema: Json, parts: int) -> bool:
    todo = [schema]
    while todo and parts >= 0:
        at = todo.pop()
        parts -= 1
        todo += at.values() if isinstance(at, dict) else at if isinstance(at, list) else ()
    return parts < 0


def _size(value: object) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _found(pattern: str, text: str) -> bool:
    if len(pattern) > LONGEST:
        raise _TooMuch
    try:
        return regex.search(pattern, text, timeout=SECONDS) is not None
    except TimeoutError as error:
        raise _TooMuch from error


def _pattern(_: Validator, wanted: object, value: object, __: object) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _found(str(wanted), value):
        yield ValidationError(f"{value!r} does not match {wanted!r}")


def _pattern_properties(
    validator: Validator, wanted: object, value: object, _: object
) -> Iterator[ValidationError]:
    if not isinstance(value, dict) or not isinstance(wanted, dict):
        return
    for pattern, inner in wanted.items():
        for name in (name for name in value if _found(pattern, name)):
            yield from _descended(validator, value[name], inner, name)


def _additional(
    validator: Validator, wanted: object, value: object, schema: object
) -> Iterator[ValidationError]:
    if not isinstance(value, dict) or not isinstance(schema, dict):
        return
    known, patterns = schema.get("properties", {}), tuple(schema.get("patternProperties", {}))
    extra = [n for n in value if n not in known and not any(_found(pattern, n) for pattern in patterns)]
    if isinstance(wanted, dict):
        for name in extra:
            yield from _descended(validator, value[name], wanted, name)
    elif not wanted and extra:
        names, verb = ", ".join(map(repr, extra[:SHOWN])), "was" if len(extra) == 1 else "were"
        yield ValidationError(f"Additional properties are not allowed ({names} {verb} unexpected)")


def _descended(validator: Validator, value: object, schema: object, name: str) -> Iterator[ValidationError]:
    # The protocol of validators lacks what every one of them has.
    yield from validator.descend(value, schema, path=name)  # type: ignore[attr-defined]


def _unique(_: Validator, wanted: object, value: object, __: object) -> Iterator[ValidationError]:
    if wanted and isinstance(value, list):
        seen = {json.dumps(_number(item), sort_keys=True) for item in value}
        if len(seen) < len(value):
            yield ValidationError(f"{str(value)[:SAID]} has non-unique elements")


def _number(value: object) -> object:
    """Returns a value in which numbers that are equal are written alike."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_number(item) for item in value]
        case dict():
            return {name: _number(item) for name, item in value.items()}
        case _:
            return value


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
