"""Reads JSON as it was written: each value with the place where it stands, so that it can be edited there.

It is as strict as the clients that read these files: what they refuse is refused here, by line and column.
Keys that come up twice are refused too, since nobody can say which of them counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # the stubs leave it out
from typing import TypeAlias, cast

DEEPEST = 200
"""Containers inside of each other. Clients' settings have five."""
SPACE = re.compile(r"[ \t\n\r]*")
SCALAR = re.compile(r"(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.+-])")
COMMENT = "JSON has no comments, and the client ignores a file that has one"


class NotJsonError(ValueError):
    """A text is not JSON that can be edited; says why, and where."""

    def __init__(self, text: str, at: int, why: str, hint: str = "") -> None:
        self.line = text.count("\n", 0, at) + 1
        self.column = at - (text.rfind("\n", 0, at) + 1) + 1
        super().__init__(f"line {self.line}, column {self.column}: {why}")
        self.hint = hint or "mend it there"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number, truth value or null, from *start* to *end* of the text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Array:
    """An array, brackets included."""

    start: int
    end: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A key of an object with its value; *start* is where the key's quotes open."""

    key: str
    start: int
    value: Node


@dataclass(frozen=True, slots=True)
class Object:
    """An object, braces included."""

    start: int
    end: int
    members: tuple[Member, ...]

    def member(self, key: str) -> Member | None:
        """Returns the member of that name."""
        return next((member for member in self.members if member.key == key), None)


Node: TypeAlias = Scalar | Array | Object


@lru_cache(maxsize=4)
def scan(text: str) -> Node:
    """Returns what *text* is; raises NotJsonError.

    A client's own state may have megabytes, and whoever edits asks several times.
    """
    start = _space(text, 0)
    node = _value(text, start, 0)
    end = _space(text, node.end)
    if end < len(text):
        raise NotJsonError(text, end, _found(text, end, "something after the end"))
    return node


def children(node: Node) -> Iterator[tuple[int, Node]]:
    """Gives where each child of a container begins, key included, and its value."""
    match node:
        case Object():
            yield from ((member.start, member.value) for member in node.members)
        case Array():
            yield from ((item.start, item) for item in node.items)
        case Scalar():
            return


def _value(text: str, at: int, depth: int) -> Node:
    if depth > DEEPEST:
        raise NotJsonError(text, at, f"it is more than {DEEPEST} levels deep")
    match text[at : at + 1]:
        case "{":
            return _object(text, at, depth)
        case "[":
            return _array(text, at, depth)
        case '"':
            return Scalar(at, _string(text, at)[1])
        case _:
            return _scalar(text, at)


def _scalar(text: str, at: int) -> Scalar:
    found = SCALAR.match(text, at)
    if found is None:
        raise NotJsonError(text, at, _found(text, at, "no value"))
    return Scalar(at, found.end())


def _object(text: str, start: int, depth: int) -> Object:
    members: list[Member] = []
    seen: set[str] = set()
    at = _space(text, start + 1)
    while text[at : at + 1] != "}":
        at = _after_comma(text, at, "}", first=not members)
        if text[at : at + 1] != '"':
            raise NotJsonError(text, at, _found(text, at, "no key in double quotes"))
        key, end = _string(text, at)
        if key in seen:
            hint = "clients take one of the two: leave the one that counts"
            raise NotJsonError(text, at, f"the key {key!r} is there twice", hint)
        seen.add(key)
        colon = _space(text, end)
        if text[colon : colon + 1] != ":":
            raise NotJsonError(text, colon, _found(text, colon, f"no colon after {key!r}"))
        value = _value(text, _space(text, colon + 1), depth + 1)
        members.append(Member(key, at, value))
        at = _space(text, value.end)
    return Object(start, at + 1, tuple(members))


def _array(text: str, start: int, depth: int) -> Array:
    items: list[Node] = []
    at = _space(text, start + 1)
    while text[at : at + 1] != "]":
        at = _after_comma(text, at, "]", first=not items)
        items.append(_value(text, at, depth + 1))
        at = _space(text, items[-1].end)
    return Array(start, at + 1, tuple(items))


def _after_comma(text: str, at: int, close: str, *, first: bool) -> int:
    if first:
        return at
    if text[at : at + 1] != ",":
        raise NotJsonError(text, at, _found(text, at, f"no comma and no {close}"))
    after = _space(text, at + 1)
    if text[after : after + 1] == close:
        raise NotJsonError(text, at, f"a comma before {close}", "delete that comma")
    return after


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        return cast(tuple[str, int], scanstring(text, at + 1, True))  # noqa: FBT003 - it takes no keyword
    except JSONDecodeError as error:
        raise NotJsonError(text, error.pos, error.msg[0].lower() + error.msg[1:]) from error


def _space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return at if found is None else found.end()


def _found(text: str, at: int, what: str) -> str:
    if at >= len(text):
        return "it ends too early"
    return COMMENT if text.startswith(("//", "/*", "#"), at) else f"{what}, but {text[at : at + 12]!r}"
