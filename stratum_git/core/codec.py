"""Events and states to JSON and back.

Every dataclass of ``model.messages``, ``model.state`` and ``model.graph`` becomes an object with a ``type``
(its name in snake case) and the fields that differ from their defaults. What was written once stays
readable for ever: a field that is unknown is ignored, one that is missing takes its default, so a field may
be added with a default and never renamed. ``tests/core/test_codec.py`` holds files of every version.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Literal, TypeAlias, TypeVar, cast, get_args, get_origin

from stratum_git.errors import UserError
from stratum_git.model import (
    book,
    choosing,
    conversations,
    graph,
    landings,
    messages,
    passes,
    proofs,
    resolutions,
    sessions,
    sightings,
    spec,
    spending,
    state,
)
from stratum_git.model.chunks import Chunks
from stratum_git.model.ids import Json
from stratum_git.model.indices import Indices
from stratum_git.model.values import MISSING, fields, is_dataclass

T = TypeVar("T")
Decoder: TypeAlias = Callable[[Json], object]

MODULES = (
    messages, landings, passes, resolutions, choosing, proofs, sightings, conversations, spending, sessions,
    state, graph, spec, book,
)  # fmt: skip
PLAIN: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "int": (int,), "float": (float, int),
}  # fmt: skip
NAMES: Mapping[str, re.Pattern[str]] = {
    "Oid": re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}"),
    "RefName": re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]+"),
    "FlowId": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"),
    "StepId": re.compile(r"[^\x00-\x20\x7f/\-][^\x00-\x20\x7f/]*"),
    "TaskId": re.compile(r"[^\x00-\x20\x7f/\-][^\x00-\x20\x7f/]*"),
}
"""What the names of the model look like. Whoever wrote a flow's ref may have written anything into it."""

REMEMBERED = 4096
"""Items whose lines are remembered."""
SHORT = 2000
"""Characters of a line that is."""
_LINES: dict[tuple[int, object], tuple[object, str]] = {}
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


class UnreadableError(UserError):
    """A stored event or state that this version cannot read."""


def encode(value: object) -> Json:
    """Returns a value of the model as JSON."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Chunks | Indices):
        return [encode(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": _tag(type(value))} | {
            name: encode(getattr(value, name))
            for name, default in _defaults(type(value)).items()
            if default is MISSING or getattr(value, name) != default
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
    missing = [n for n, d in _defaults(kind).items() if d is MISSING and n not in values]
    if missing:
        raise UnreadableError(f"a stored {data['type']} lacks {', '.join(missing)}")
    return cast("object", type.__call__(kind, **values))


def name(kind: str, data: Json) -> str:
    """Returns a stored name of this *kind* (of :data:`NAMES`); raises UnreadableError when it can be none."""
    return cast("str", _matching(kind, NAMES[kind])(data))


def word(data: Json, known: tuple[str, ...]) -> str:
    """Returns a stored word that is one of *known*; raises UnreadableError when it is not."""
    return cast("str", _one_of(known)(data))


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


def dump_all(items: Iterable[object], encoding: Callable[[T], Json]) -> bytes:
    """Returns what :func:`dump` does of the list of *items*, each encoded by *encoding*.

    Most are the very objects of the last time: their lines are remembered.
    """
    lines = [_line_of(item, encoding) for item in items]
    text = "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _line_of(item: object, encoding: Callable[[T], Json]) -> str:
    key = id(item), encoding
    known = _LINES.get(key)
    # The item is kept with its line, so no other one can have its number.
    if known is not None and known[0] is item:
        return known[1]
    line = _line(encoding(cast("T", item)))
    if len(line) <= SHORT:
        if len(_LINES) >= REMEMBERED:
            _LINES.clear()
        _LINES[key] = (item, line)
    return line


def _line(data: Json) -> str:
    return _ENCODER.encode(data)


def load(data: bytes) -> Json:
    """Returns the JSON that :func:`dump` wrote."""
    try:
        return cast("Json", json.loads(data.decode("utf-8", "surrogatepass")))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"a stored file is not JSON: {error}") from error


def _tag(kind: type) -> str:
    return _snake_case(kind.__name__)


@cache
def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@cache
def _classes() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in MODULES:
        for item in _dataclasses(module):
            if found.setdefault(_tag(item), item) is not item:
                raise AssertionError(f"two classes are called {item.__name__}")
    return found


def _dataclasses(module: ModuleType) -> list[type]:
    mine = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
    return [kind for kind in mine if is_dataclass(kind)]


@cache
def _defaults(kind: type) -> dict[str, object]:
    """Returns each stored field with its default, or MISSING."""
    found: dict[str, object] = {}
    for field in fields(kind):
        if field.init and field.name != "program":
            factory = field.default_factory
            found[field.name] = field.default if factory is MISSING else factory()
    return found


@cache
def _decoders(kind: type) -> dict[str, Decoder]:
    types = {field.name: str(field.type) for field in fields(kind)}
    return {name: _decoder(ast.parse(types[name], mode="eval").body) for name in _defaults(kind)}


def _decoder(node: ast.expr) -> Decoder:
    """Returns how to read what an annotation describes. What does not fit it is refused."""
    match node:
        case ast.Name("Command"):
            return _tuple_of(_of_type(str))
        case ast.Name("Indices"):
            return _indices
        case ast.Name(name) if name in PLAIN:
            return _of_type(*PLAIN[name])
        case ast.Name(name) if name in NAMES:
            return _matching(name, NAMES[name])
        case ast.Name(name):
            return _alias(name)
        case ast.Subscript(ast.Name("tuple"), ast.Tuple(elts)):
            return _tuple_of(_decoder(elts[0]))
        case ast.Subscript(ast.Name("Mapping"), ast.Tuple([key, item])):
            return _mapping_of(_decoder(key), _decoder(item))
        case ast.Subscript(ast.Name("Literal")):
            return _one_of(ast.literal_eval(node.slice))
        case ast.BinOp(left, ast.BitOr(), right):
            return _either(_decoder(left), _decoder(right))
        case ast.Constant(None):
            return _of_type(type(None))
        case _:
            return _any


def _alias(name: str) -> Decoder:
    """Returns how to read what a name of the model stands for: one class, one of several, or some words."""
    found = next((vars(module)[name] for module in MODULES if name in vars(module)), None)
    if isinstance(found, type) and is_dataclass(found):
        return _model(found)
    if get_origin(found) is Literal:
        return _one_of(get_args(found))
    kinds = [kind for kind in get_args(found) if isinstance(kind, type) and is_dataclass(kind)]
    return _model(*kinds) if kinds and len(kinds) == len(get_args(found)) else _any


def _any(data: Json) -> object:
    return data


def _indices(data: Json) -> object:
    if not isinstance(data, list) or any(type(number) is not int for number in data):
        raise UnreadableError("stored places of tasks are no list of numbers")
    try:
        return Indices.of(cast("list[int]", data))
    except ValueError as error:
        raise UnreadableError(f"a stored state is not one: {error}") from error


def _of_type(*kinds: type) -> Decoder:
    def read(data: Json) -> object:
        # A yes or no is a number to Python, and to nobody else.
        if type(data) not in kinds:
            raise UnreadableError(f"a stored value is a {type(data).__name__}, not a {kinds[0].__name__}")
        return data

    return read


def _matching(name: str, pattern: re.Pattern[str]) -> Decoder:
    def read(data: Json) -> object:
        # These become words of git's, and names of folders.
        if not isinstance(data, str) or not pattern.fullmatch(data) or ".." in data:
            raise UnreadableError(f"{str(data)[:100]!r} cannot be a {name}")
        return data

    return read


def _one_of(words: object) -> Decoder:
    known = words if isinstance(words, tuple) else (words,)

    def read(data: Json) -> object:
        if not isinstance(data, str) or data not in known:
            raise UnreadableError(f"{str(data)[:100]!r} is none of {', '.join(map(str, known))}")
        return data

    return read


def _model(*kinds: type) -> Decoder:
    def read(data: Json) -> object:
        value = decode_any(data)
        if not isinstance(value, kinds):
            raise UnreadableError(f"a {_tag(type(value))} is stored where a {_tag(kinds[0])} belongs")
        return value

    return read


def _either(first: Decoder, second: Decoder) -> Decoder:
    def read(data: Json) -> object:
        try:
            return first(data)
        except UnreadableError:
            return second(data)

    return read


def _tuple_of(item: Decoder) -> Decoder:
    def read(data: Json) -> object:
        if not isinstance(data, list):
            raise UnreadableError("a stored list is not a list")
        return tuple(item(entry) for entry in data)

    return read


def _mapping_of(key: Decoder, item: Decoder) -> Decoder:
    def read(data: Json) -> object:
        if not isinstance(data, dict):
            raise UnreadableError("a stored object is not an object")
        return {key(name): item(entry) for name, entry in data.items()}

    return read
