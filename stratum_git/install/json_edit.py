"""Changes values in a JSON text and leaves every other byte: order, indentation, line ends.

What was inserted into a container that had something in it, removing takes out again to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stratum_git.install.json_scan import Array, Node, Object, Scalar, children, scan
from stratum_git.model.ids import Json

Write: TypeAlias = Callable[[str], str]
"""Writes a value for a line that begins with the given white space."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a document is laid out: indentation (``None``: all on one line), line ends, the colon."""

    indent: str | None
    newline: str
    colon: str


def value_of(text: str, node: Node) -> Json:
    """Returns the value that stands there."""
    found: Json = json.loads(text[node.start : node.end])
    return found


def put_member(text: str, holder: Object, key: str, value: Json) -> str:
    """Returns *text* with a new last member in an object."""
    style = style_of(text)
    name = json.dumps(key, ensure_ascii=False)
    return _inserted(text, holder, style, lambda at: f"{name}{style.colon}{_written(value, style, at)}")


def put_item(text: str, holder: Array, value: Json) -> str:
    """Returns *text* with a new last item in an array."""
    style = style_of(text)
    return _inserted(text, holder, style, lambda at: _written(value, style, at))


def replaced(text: str, node: Node, value: Json) -> str:
    """Returns *text* with another value in the place of one."""
    written = _written(value, style_of(text), _margin(text, node.start))
    return text[: node.start] + written + text[node.end :]


def without(text: str, holder: Object | Array, index: int) -> str:
    """Returns *text* without a member or an item, and without the comma that it needed."""
    spans = [(start, child.end) for start, child in children(holder)]
    start, end = spans[index]
    if len(spans) == 1:
        return text[: holder.start + 1] + text[holder.end - 1 :]
    if index:
        return text[: spans[index - 1][1]] + text[end:]
    return text[:start] + text[spans[1][0] :]


def style_of(text: str) -> Style:
    """Returns how a document is laid out, by its first containers that show it."""
    root = scan(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    colon = ": "
    for node in _containers(root):
        if isinstance(node, Object) and node.members:
            first = node.members[0]
            between = text[first.start : first.value.start]
            colon = ":" if between.endswith(":") else ": "
            break
    for node in _containers(root):
        inside = [start for start, _ in children(node)]
        if inside and "\n" in text[node.start : inside[0]]:
            step = _margin(text, inside[0]).removeprefix(_margin(text, node.start))
            return Style(step or "  ", newline, colon)
    bare = not any(True for _ in children(root))
    return Style("  " if bare or "\n" in text.strip() else None, newline, colon)


def _containers(node: Node) -> Iterator[Node]:
    """Gives a container and those in it, outermost first."""
    row = [] if isinstance(node, Scalar) else [node]
    while row:
        yield from row
        row = [child for one in row for _, child in children(one) if not isinstance(child, Scalar)]


def _inserted(text: str, holder: Object | Array, style: Style, write: Write) -> str:
    inside = list(children(holder))
    margin = _margin(text, holder.start)
    if inside:
        last_start, last = inside[-1]
        if "\n" in text[holder.start : last_start]:
            own = _margin(text, last_start)
            return text[: last.end] + f",{style.newline}{own}{write(own)}" + text[last.end :]
        own = margin + (style.indent or "")
        written = write(own)
        # What takes several lines begins on one of its own, also where the others share one.
        gap = style.newline + own if "\n" in written else _gap(text, inside)
        return text[: last.end] + f",{gap}{written}" + text[last.end :]
    opening, closing = text[: holder.start + 1], text[holder.end - 1 :]
    if style.indent is None:
        return opening + write(margin) + closing
    own = margin + style.indent
    return f"{opening}{style.newline}{own}{write(own)}{style.newline}{margin}{closing}"


def _gap(text: str, inside: Sequence[tuple[int, Node]]) -> str:
    """Returns what stands after commas on a line: a space, or nothing."""
    if len(inside) < 2:
        return " "
    return text[inside[0][1].end : inside[1][0]].partition(",")[2]


def _written(value: Json, style: Style, margin: str) -> str:
    if style.indent is None:
        separators = ("," if style.colon == ":" else ", ", style.colon)
        return json.dumps(value, ensure_ascii=False, separators=separators)
    text = json.dumps(value, ensure_ascii=False, indent=style.indent, separators=(",", style.colon))
    return text.replace("\n", style.newline + margin)


def _margin(text: str, at: int) -> str:
    """Returns the white space that the line of *at* begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]
