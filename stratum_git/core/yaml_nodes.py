"""Reads YAML into a tree that knows its lines, within bounds that no text can break.

The parser's events are folded without recursion, so nesting cannot exhaust the stack; an alias counts as
all that it stands for, so a few lines cannot become gigabytes. Only JSON's kinds of values come out:
timestamps and the like stay the text that was written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from stratum_git.model.ids import Json
from stratum_git.model.spec import Problem

SIZE = 1024 * 1024
DEPTH = 64
NODES = 200_000

Scalar: TypeAlias = str | int | float | bool | None
Content: TypeAlias = "Scalar | list[Node] | dict[str, Node]"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value of the file, its line, and how many nodes it stands for."""

    value: Content
    line: int
    weight: int = 1


class Unreadable(Exception):  # noqa: N818 - it never leaves this module
    """The text is not what can be read; carries the problem."""

    def __init__(self, message: str, line: int, hint: str = "") -> None:
        super().__init__(message)
        self.problem = Problem("", message, line, hint, "parse")


@dataclass
class _Open:
    """A list or mapping that is not closed yet."""

    kind: str
    line: int
    anchor: str | None
    items: list[Node]


def read_yaml(text: str) -> Node | Problem:
    """Returns the one document of *text*, or what is wrong with it."""
    if len(text) > SIZE:
        return Problem("", f"the text is larger than {SIZE} characters", kind="parse")
    try:
        return _folded(_events(text))
    except Unreadable as error:
        return error.problem
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        message = getattr(error, "problem", None) or str(error)
        hint = "indent with spaces" if "\\t" in message or "'\t'" in message else ""
        return Problem("", f"the text is not YAML: {message}", line, hint, "parse")


def plain(node: Node) -> Json:
    """Returns a node's value without its lines. Bounded, since the tree is."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def _events(text: str) -> Iterator[yaml.Event]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if "\0" in text:
        raise Unreadable("the text has a NUL in it", text[: text.index("\0")].count("\n") + 1)
    return yaml.parse(text.encode("utf-8", "replace"), Loader=loader)


def _folded(events: Iterator[yaml.Event]) -> Node:
    stack: list[_Open] = []
    anchors: dict[str, Node] = {}
    root: Node | None = None
    count = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        node: Node | None = None
        match event:
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                if len(stack) >= DEPTH:
                    raise Unreadable(f"the text is nested deeper than {DEPTH}", line)
                kind = "list" if isinstance(event, yaml.SequenceStartEvent) else "mapping"
                stack.append(_Open(kind, line, event.anchor, []))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                opened = stack.pop()
                node = _closed(opened)
                anchors |= {opened.anchor: node} if opened.anchor else {}
            case yaml.ScalarEvent():
                node = Node(_scalar(event, line), line)
                anchors |= {event.anchor: node} if event.anchor else {}
            case yaml.AliasEvent():
                node = _alias(event, anchors, line)
            case yaml.DocumentStartEvent() if root is not None:
                raise Unreadable("there is more than one document", line, "keep one, without a line of ---")
            case _:
                pass
        if node is not None:
            count += node.weight if isinstance(event, yaml.AliasEvent) else 1
            if count > NODES:
                raise Unreadable(f"the text stands for more than {NODES} values", line, "use fewer aliases")
            if stack:
                stack[-1].items.append(node)
            else:
                root = node
    if root is None:
        raise Unreadable("the text is empty", 1, "a spec begins with `version:`")
    return root


def _alias(event: yaml.AliasEvent, anchors: dict[str, Node], line: int) -> Node:
    name = event.anchor or ""
    if name not in anchors:
        raise Unreadable(f"the alias *{name} stands for nothing before it", line)
    target = anchors[name]
    return Node(target.value, line, target.weight)


def _closed(opened: _Open) -> Node:
    weight = 1 + sum(item.weight for item in opened.items)
    if opened.kind == "list":
        return Node(opened.items, opened.line, weight)
    found: dict[str, Node] = {}
    for key, value in zip(opened.items[::2], opened.items[1::2], strict=True):
        name = _key(key)
        if name in found:
            before = found[name].line
            raise Unreadable(f"the key {name} is there twice, first on line {before}", key.line, "keep one")
        found[name] = value
    return Node(found, opened.line, weight)


def _key(node: Node) -> str:
    if isinstance(node.value, str):
        if node.value == "<<":
            raise Unreadable("merge keys (<<) are not supported", node.line, "write the keys out")
        return node.value
    if isinstance(node.value, bool):
        # YAML reads on, off, yes and no as truth values; as keys they are names.
        raise Unreadable("a key is a yes or no", node.line, "put it in quotes")
    if isinstance(node.value, int | float):
        return str(node.value)
    raise Unreadable("a key is not a text", node.line)


_RESOLVER = yaml.SafeLoader("")
_PLAIN = {
    "tag:yaml.org,2002:null": None,
    "tag:yaml.org,2002:bool": bool,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
}


def _scalar(event: yaml.ScalarEvent, line: int) -> Scalar:
    if event.tag is not None and event.tag not in {"!", "tag:yaml.org,2002:str"}:
        if event.tag not in _PLAIN:
            raise Unreadable(f"the tag {event.tag} is not supported", line)
        tag = event.tag
    elif event.tag is not None or not event.implicit[0]:
        return str(event.value)
    else:
        tag = str(_RESOLVER.resolve(yaml.ScalarNode, event.value, (True, False)))  # type: ignore[no-untyped-call]
    if tag not in _PLAIN or (tag.endswith(":int") and len(event.value) > 100):
        return str(event.value)
    return _constructed(tag, event.value, line)


def _constructed(tag: str, text: str, line: int) -> Scalar:
    if tag.endswith(":null"):
        return None
    if tag.endswith(":bool"):
        return text.lower() in {"true", "yes", "on"}
    if tag.endswith(":int") and ":" in text:
        return text  # 1:30 is a time of day to its author, not 90
    node = yaml.ScalarNode(tag, text)
    try:
        value = _RESOLVER.construct_object(node)
    except (ValueError, yaml.YAMLError) as error:
        raise Unreadable(f"{text} cannot be read as a {tag.rpartition(':')[2]}", line) from error
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"{text} is not a number that can be used", line)
    return value if isinstance(value, int | float | str) else str(value)
