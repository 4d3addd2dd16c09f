"""Reads YAML into a tree that knows its lines, within bounds that no text can break.

The parser's events are folded without recursion, so nesting cannot exhaust the stack; an alias counts as
all that it stands for, so a few lines cannot become gigabytes. What makes the rest of the file unreadable
ends the reading with one problem; a key that is wrong is noted and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import yaml

from stratum_git.core.yaml_scalars import Refused, Scalar, read_scalar
from stratum_git.model.ids import Json
from stratum_git.model.spec import Problem
from stratum_git.model.values import dataclass, field

SIZE: Final = 1024 * 1024
"""Bytes of UTF-8."""
DEPTH: Final = 64
NODES: Final = 200_000
LENGTH: Final = 64
"""Characters of a text that count as one node more."""

Content: TypeAlias = "Scalar | list[Node] | dict[str, Node]"
Loader: TypeAlias = "type[yaml.SafeLoader | yaml.CSafeLoader]"

LOADER: Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C is ten times faster; both read the same (``tests/core/test_yaml_nodes.py``)."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""What YAML calls so; as the opposite of what is allowed it would take ten times as long to compile."""
_MAP_TAGS = (None, "!", "tag:yaml.org,2002:map")
_LIST_TAGS = (None, "!", "tag:yaml.org,2002:seq")
_HINTS: Mapping[str, str] = {
    "cannot start any token": "put a text that begins with a special character in quotes",
    "mapping values are not allowed": "put a text with a colon and a space in it in quotes",
    "found unexpected end of stream": "a quote or bracket is not closed",
    "did not find expected": "check the indentation, and the brackets and quotes before this place",
}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value of the file.

    ``line`` is that of its key where it has one. ``weight`` is how many nodes it stands for, ``height`` how
    many lists and mappings lie in each other in it.
    """

    value: Content
    line: int
    weight: int = 1
    height: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """A document and the problems of its text. ``root`` is ``None`` only if there are problems."""

    root: Node | None
    problems: tuple[Problem, ...] = ()


def read_yaml(text: str, *, loader: Loader = LOADER) -> Tree:
    """Returns the one document of *text*, or what is wrong with it."""
    refused = _refused(text)
    if refused is not None:
        return Tree(None, (refused,))
    fold = _Fold()
    try:
        for event in yaml.parse(text, Loader=loader):
            fold.take(event)
    except _UnreadableError as error:
        return Tree(None, (*fold.problems, error.problem))
    except yaml.YAMLError as error:
        return Tree(None, (*fold.problems, _not_yaml(error, text)))
    except (ValueError, OverflowError) as error:  # the pure Python scanner's, for absurd escapes and versions
        return Tree(None, (*fold.problems, Problem("", f"the text is not YAML: {error}", 1, kind="parse")))
    if fold.root is None:
        return Tree(None, (_problem("", "the text is empty", 1, "a spec begins with `version:`"),))
    return Tree(fold.root, tuple(fold.problems))


def plain(node: Node) -> Json:
    """Returns a node's value without its lines. The recursion is bounded, since the tree is."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


class _UnreadableError(Exception):
    """Ends the reading; never leaves this module."""

    def __init__(self, message: str, line: int, hint: str = "", path: str = "") -> None:
        super().__init__(message)
        self.problem = _problem(path, message, line, hint)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is not closed yet. In a mapping every other item is a key."""

    is_list: bool
    line: int
    anchor: str | None
    items: list[Node] = field(default_factory=list)

    def place(self) -> str:
        """Returns the name of what is being read now."""
        if self.is_list:
            return str(len(self.items))
        key = self.items[-1].value if len(self.items) % 2 else None
        return key if isinstance(key, str) else ""


@dataclass(slots=True)
class _Fold:
    """Folds the events of a parser into nodes."""

    problems: list[Problem] = field(default_factory=list)
    root: Node | None = None
    _stack: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Node] = field(default_factory=dict)
    _count: int = 0

    def take(self, event: yaml.Event) -> None:
        """Takes the next event."""
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        match event:
            case yaml.ScalarEvent():
                # A text weighs by its length too: else a long one could be multiplied by its aliases.
                weight = 1 + len(event.value) // LENGTH
                self._weigh(weight, line)
                self._add(Node(self._scalar(event, line), line, weight), event.anchor)
            case yaml.AliasEvent():
                self._add(self._alias(event.anchor or "", line), None)
            case yaml.MappingStartEvent():
                self._open(event.tag, _MAP_TAGS, _Open(is_list=False, line=line, anchor=event.anchor))
            case yaml.SequenceStartEvent():
                self._open(event.tag, _LIST_TAGS, _Open(is_list=True, line=line, anchor=event.anchor))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                opened = self._stack.pop()
                self._add(self._closed(opened), opened.anchor)
            case yaml.DocumentStartEvent() if self.root is not None:
                hint = "keep one, without a line of ---"
                raise _UnreadableError("the text has more than one document", line, hint)
            case _:
                pass

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if self._stack:
            self._stack[-1].items.append(node)
        else:
            self.root = node

    def _open(self, tag: str | None, known: tuple[str | None, ...], opened: _Open) -> None:
        if tag not in known:
            hint = "leave the tag out"
            raise _UnreadableError(f"the tag {tag} is not supported", opened.line, hint, self._path())
        self._weigh(1, opened.line)
        self._deepen(1, opened.line)
        self._stack.append(opened)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Scalar:
        value = read_scalar(event.value, event.tag, plain=event.implicit[0])
        if isinstance(value, Refused):
            raise _UnreadableError(value.reason, line, value.hint, self._path())
        return value

    def _alias(self, name: str, line: int) -> Node:
        target = self._anchors.get(name)
        if target is None:
            message = f"the alias *{name} stands for nothing that is complete before it"
            raise _UnreadableError(message, line, f"mark what it stands for with &{name}", self._path())
        self._weigh(target.weight, line)
        self._deepen(target.height, line)
        return Node(target.value, line, target.weight, target.height)

    def _closed(self, opened: _Open) -> Node:
        value: Content = opened.items if opened.is_list else self._mapping(opened)
        weight = 1 + sum(item.weight for item in opened.items)
        height = 1 + max((item.height for item in opened.items), default=0)
        return Node(value, opened.line, weight, height)

    def _mapping(self, opened: _Open) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: list[Node] = []
        for key, value in zip(opened.items[::2], opened.items[1::2], strict=True):
            if not isinstance(key.value, str):
                self._bad_key(key)
            elif key.value in found:
                message = (
                    f"the key {key.value} is there twice, on lines {found[key.value].line} and {key.line}"
                )
                self._note(key.value, message, key.line, "keep one of them")
            elif key.value == "<<":
                merged += value.value if isinstance(value.value, list) else [value]
            else:
                found[key.value] = Node(value.value, key.line, value.weight, value.height)
        for source in merged:
            self._merge(source, found)
        return found

    def _merge(self, source: Node, into: dict[str, Node]) -> None:
        """Adds the entries of a ``<<``; those that are written out win, and of several the first."""
        if not isinstance(source.value, dict):
            self._note("<<", "<< stands for something that is no mapping", source.line, "write `<<: *NAME`")
            return
        for name, node in source.value.items():
            into.setdefault(name, node)

    def _bad_key(self, key: Node) -> None:
        match key.value:
            case bool():
                what, hint = "is yes or no to YAML, which reads on and off so as well", "put it in quotes"
            case None:
                what, hint = "is empty", "write a name before the colon"
            case list() | dict():
                what, hint = "is a list or a mapping", "put a text that begins with a bracket in quotes"
            case _:
                what, hint = f"is the number {key.value}", "put it in quotes"
        self._note("", f"a key {what}", key.line, hint)

    def _note(self, name: str, message: str, line: int, hint: str) -> None:
        self.problems.append(_problem(self._path(name), message, line, hint))

    def _path(self, name: str = "") -> str:
        places = (*(opened.place() for opened in self._stack), name)
        return ".".join(place for place in places if place)

    def _weigh(self, weight: int, line: int) -> None:
        self._count += weight
        if self._count > NODES:
            hint = "split the file, or use fewer aliases"
            raise _UnreadableError(f"the text stands for more than {NODES} values", line, hint)

    def _deepen(self, height: int, line: int) -> None:
        if len(self._stack) + height > DEPTH:
            raise _UnreadableError(
                f"the text is nested deeper than {DEPTH}", line, "put less into each other"
            )


def _problem(path: str, message: str, line: int, hint: str) -> Problem:
    """Returns a problem whose words are not as long as the text that it is about."""
    return Problem(path[:500], message[:500], line, hint[:500], "parse")


def _refused(text: str) -> Problem | None:
    if len(text) > SIZE or len(text.encode("utf-8", "surrogatepass")) > SIZE:
        return _problem("", f"the text is larger than {SIZE} bytes", 1, "split it into several files")
    match = _UNPRINTABLE.search(text)
    if match is None:
        return None
    line = text.count("\n", 0, match.start()) + 1
    message = f"the text has the character U+{ord(match[0]):04X}, which YAML does not allow"
    return _problem("", message, line, "is it a text file in UTF-8?")


def _not_yaml(error: yaml.YAMLError, text: str) -> Problem:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    found = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
    line = 1 if mark is None else mark.line + 1
    what = found or " ".join(str(error).split())
    hint = next((hint for part, hint in _HINTS.items() if part in what), "")
    if _is_indented_with_tab(text, line):
        hint = "indent with spaces, not with tabs"
    return _problem("", f"the text is not YAML: {what}", line, hint)


def _is_indented_with_tab(text: str, line: int) -> bool:
    lines: Iterator[str] = iter(text.splitlines()[line - 1 : line])
    written = next(lines, "")
    return "\t" in written[: len(written) - len(written.lstrip())]
