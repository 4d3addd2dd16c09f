"""Takes a tree apart field by field, and notes everything that has the wrong shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from stratum_git.core.taskgraph import commands
from stratum_git.core.yaml_nodes import Node, plain
from stratum_git.model.ids import Json
from stratum_git.model.spec import Command, Problem

T = TypeVar("T")


@dataclass
class Problems:
    """Everything that was found wrong so far."""

    found: list[Problem] = field(default_factory=list)

    def shape(self, path: str, message: str, line: int, hint: str = "") -> None:
        """Notes a value of the wrong shape."""
        self.found.append(Problem(path, message, line, hint, "shape"))

    def semantic(self, path: str, message: str, line: int, hint: str = "") -> None:
        """Notes parts that do not fit together."""
        self.found.append(Problem(path, message, line, hint, "semantic"))


@dataclass(frozen=True, slots=True)
class Reader:
    """A mapping of the file at ``path``, whose fields are asked for by name."""

    path: str
    node: Node
    fields: Mapping[str, Node]
    problems: Problems

    def has(self, name: str) -> bool:
        """Returns whether the author wrote the field, be it as null."""
        return name in self.fields

    def line(self, name: str) -> int:
        """Returns the line of a field, or of the mapping."""
        return self.fields[name].line if name in self.fields else self.node.line

    def wrong(self, name: str, what: str, hint: str = "") -> None:
        """Notes that a field is not what it should be."""
        self.problems.shape(f"{self.path}.{name}".strip("."), f"{name} {what}", self.line(name), hint)

    def require(self, *names: str) -> None:
        """Notes the fields that are missing."""
        for name in names:
            if name not in self.fields:
                where = self.path or "the file"
                self.problems.shape(self.path, f"{where} has no {name}", self.node.line, f"add `{name}:`")

    def close(self, known: Mapping[str, str], version: str) -> None:
        """Notes the fields that are not among *known*: name -> the version that has it."""
        for name, node in self.fields.items():
            if name not in known:
                close = get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
                self.problems.shape(
                    f"{self.path}.{name}".strip("."), f"there is no field {name} here", node.line, hint
                )
            elif known[name] > version:
                hint = f'write version: "{known[name]}"'
                message = f"{name} is of version {known[name]}, and the file says {version}"
                self.problems.shape(f"{self.path}.{name}".strip("."), message, node.line, hint)

    def text(self, name: str, default: T, *, least: int = 0) -> str | T:
        """Returns a text field."""
        value = self._value(name)
        if value is None:
            return default
        if not isinstance(value, str):
            hint = f'write "{value}"' if isinstance(value, int | float | bool) else ""
            self.wrong(name, "is not a text", hint)
            return default
        if len(value.strip()) < least:
            self.wrong(name, "is empty")
            return default
        return value

    def whole(self, name: str, default: T, *, least: int = 1) -> int | T:
        """Returns a field that is a whole number of at least *least*."""
        value = self._value(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.wrong(name, f"is not a whole number of at least {least}")
            return default
        return value

    def number(self, name: str, *, above: float = 0.0, zero: bool = False) -> float | None:
        """Returns a field that is a number above *above*."""
        value = self._value(name)
        if value is None:
            return None
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not isinstance(value, int | float) or value < above or (value == above and not zero):
            self.wrong(name, f"is not a number {'of at least' if zero else 'above'} {above:g}")
            return None
        return float(value)

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Returns a field that is one of a few words."""
        value = self._value(name)
        if value is None:
            return default
        if not isinstance(value, str) or value not in choices:
            close = get_close_matches(str(value), choices, 1)
            hint = f"did you mean {close[0]}?" if close else ""
            self.wrong(name, f"is {value!r}, not one of {', '.join(choices)}", hint)
            return default
        return value

    def texts(self, name: str, *, least: int = 0) -> tuple[str, ...]:
        """Returns a field that is a list of texts."""
        value = self._value(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item.value, str) for item in value):
            hint = "write it as a list: [...]" if isinstance(value, str) else ""
            self.wrong(name, "is not a list of texts", hint)
            return ()
        found = tuple(str(item.value) for item in value)
        if any(len(item.strip()) < least for item in found):
            self.wrong(name, "has an empty entry")
        return found

    def texts_by_name(self, name: str) -> dict[str, str]:
        """Returns a field that is a map of names to texts."""
        found: dict[str, str] = {}
        for key, node in self.mapping(name).items():
            if isinstance(node.value, str):
                found[key] = node.value
            else:
                where = f"{self.path}.{name}.{key}"
                self.problems.shape(where, f"{key} is not a text", node.line, "put it in quotes")
        return found

    def json(self, name: str) -> dict[str, Json] | None:
        """Returns a field that is a map of anything."""
        if self._value(name) is None:
            return None
        return {key: plain(node) for key, node in self.mapping(name).items()}

    def commands(self, name: str) -> tuple[Command, ...]:
        """Returns a field that is one command or a list of them."""
        if self._value(name) is None:
            return ()
        found = commands(plain(self.fields[name]))
        if found is None:
            self.wrong(name, "is not a command", "a shell line, or a list of shell lines or lists of words")
        return found or ()

    def mapping(self, name: str) -> Mapping[str, Node]:
        """Returns a field that is a map."""
        value = self._value(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(name, "is not a map of names to values")
            return {}
        return value

    def items(self, name: str, read: Callable[[Reader], T]) -> dict[str, T]:
        """Returns a field that is a map of names to maps, each read by *read*."""
        found = {}
        for key, node in self.mapping(name).items():
            inner = self.inner(f"{name}.{key}", node)
            if inner is not None:
                found[key] = read(inner)
        return found

    def inner(self, name: str, node: Node) -> Reader | None:
        """Returns a reader of a map inside of this one."""
        path = f"{self.path}.{name}".strip(".")
        if not isinstance(node.value, dict):
            self.problems.shape(path, f"{name.rpartition('.')[2]} is not a map of names to values", node.line)
            return None
        return Reader(path, node, node.value, self.problems)

    def _value(self, name: str) -> object:
        node = self.fields.get(name)
        return None if node is None else node.value
