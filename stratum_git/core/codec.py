"""Events and states to JSON and back.

Every dataclass of ``model.messages``, ``model.state`` and ``model.graph`` becomes an object with a ``type``
(its name in snake case) and the fields that differ from their defaults. What was written once stays
readable for ever: a field that is unknown is ignored, one that is missing takes its default, so a field may
be added with a default and never renamed. ``tests/core/test_codec.py`` holds files of every version.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import TypeAlias, TypeVar, cast

from stratum_git.errors import UserError
from stratum_git.model import book, graph, messages, spec, state
from stratum_git.model.chunks import Chunks
from stratum_git.model.ids import Json

T = TypeVar("T")
Decoder: TypeAlias = Callable[[Json], object]

_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


class UnreadableError(UserError):
    """A stored event or state that this version cannot read."""


def encode(value: object) -> Json:
    """Returns a value of the model as JSON."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Chunks):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"type": _tag(type(value))} | {
            name: encode(getattr(value, name))
            for name, default in _defaults(type(value)).items()
            if default is dataclasses.MISSING or getattr(value, name) != default
        }
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    return cast("Json", value)


def decode(kind: type[T], data: Json) -> T:
    """Returns the value of class *kind* that was encoded as *data*."""
    value = decode_any(data)
    if not isinstance(value, kind):
        raise UnreadableError(f"expected a {_tag(kind)}, found a {_tag(type(value))}")
    return value


def decode_any(data: Json) -> object:
    """Returns the value that was encoded as *data*, of whichever class its ``type`` names."""
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise UnreadableError("a stored value has no type")
    kind = _classes().get(cast("str", data["type"]))
    if kind is None:
        hint = "it was written by a newer version; install that one"
        raise UnreadableError(f"this version does not know {data['type']}", hint=hint)
    values = {name: decoder(data[name]) for name, decoder in _decoders(kind).items() if name in data}
    missing = [n for n, d in _defaults(kind).items() if d is dataclasses.MISSING and n not in values]
    if missing:
        raise UnreadableError(f"a stored {data['type']} lacks {', '.join(missing)}")
    return cast("object", type.__call__(kind, **values))


def dump(data: Json) -> bytes:
    """Returns JSON as bytes: sorted, a line for each entry, so that ``git diff`` of two states reads well.

    Not with ``indent``: that is ten times slower in Python, and every event waits for it.
    """
    if isinstance(data, dict) and data:
        rows = (f"{_line(key)}: {_line(item)}" for key, item in sorted(data.items()))
        text = "{\n" + ",\n".join(rows) + "\n}"
    elif isinstance(data, list) and data:
        text = "[\n" + ",\n".join(map(_line, data)) + "\n]"
    else:
        text = _line(data)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _line(data: Json) -> str:
    return _ENCODER.encode(data)


def load(data: bytes) -> Json:
    """Returns the JSON that :func:`dump` wrote."""
    try:
        return cast("Json", json.loads(data.decode("utf-8", "surrogatepass")))
    except ValueError as error:
        raise UnreadableError(f"a stored file is not JSON: {error}") from error


def _tag(kind: type) -> str:
    return _snake_case(kind.__name__)


@cache
def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@cache
def _classes() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in (messages, state, graph, spec, book):
        for item in _dataclasses(module):
            if found.setdefault(_tag(item), item) is not item:
                raise AssertionError(f"two classes are called {item.__name__}")
    return found


def _dataclasses(module: ModuleType) -> list[type]:
    mine = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    return [kind for kind in mine if dataclasses.is_dataclass(kind)]


@cache
def _defaults(kind: type) -> dict[str, object]:
    """Returns each stored field with its default, or MISSING."""
    found: dict[str, object] = {}
    for field in dataclasses.fields(kind):
        if field.init and field.name != "program":
            factory = field.default_factory
            found[field.name] = field.default if factory is dataclasses.MISSING else factory()
    return found


@cache
def _decoders(kind: type) -> dict[str, Decoder]:
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    return {name: _decoder(ast.parse(types[name], mode="eval").body) for name in _defaults(kind)}


def _decoder(node: ast.expr) -> Decoder:
    """Returns how to read what an annotation describes: nested model values, tuples, or plain JSON."""
    match node:
        case ast.Name("Command"):
            return _tuple_of(_plain)
        case ast.Name(name) if _is_model(name):
            return _nested
        case ast.Subscript(ast.Name("tuple"), ast.Tuple(elts)):
            return _tuple_of(_decoder(elts[0]))
        case ast.Subscript(ast.Name("Mapping"), ast.Tuple([_, item])):
            return _mapping_of(_decoder(item))
        case ast.BinOp(left, ast.BitOr(), right):
            first, second = _decoder(left), _decoder(right)
            return first if first is not _plain else second
        case _:
            return _plain


def _is_model(name: str) -> bool:
    if any(kind.__name__ == name for kind in _classes().values()):
        return True
    return name in {"Outcome", "LandingEntry", "TaskState", "StepState", "Record"}


def _plain(data: Json) -> object:
    return data


def _nested(data: Json) -> object:
    return None if data is None else decode_any(data)


def _tuple_of(item: Decoder) -> Decoder:
    def read(data: Json) -> object:
        if data is None:
            return None
        if not isinstance(data, list):
            raise UnreadableError("a stored list is not a list")
        return tuple(item(entry) for entry in data)

    return read


def _mapping_of(item: Decoder) -> Decoder:
    def read(data: Json) -> object:
        if item is _plain or not isinstance(data, dict):
            return data
        return {key: item(entry) for key, entry in data.items()}

    return read
