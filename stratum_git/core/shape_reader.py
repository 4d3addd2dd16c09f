"""Takes a mapping of the file apart field by field, and notes everything that has the wrong shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from stratum_git.core.shape_notes import Notes, Place
from stratum_git.core.taskgraph import commands
from stratum_git.core.yaml_nodes import Content, Node, plain
from stratum_git.model.ids import Json
from stratum_git.model.spec import Command
from stratum_git.model.values import dataclass

T = TypeVar("T")

MOST = 1_000_000_000
COMMAND = "write a shell line, or a list of shell lines or of lists of words"


@dataclass(frozen=True, slots=True)
class Reader:
    """A mapping of the file at ``place``, whose fields are asked for by name."""

    place: Place
    fields: Mapping[str, Node]
    notes: Notes

    def has(self, name: str) -> bool:
        """Returns whether the author wrote the field, be it as null."""
        return name in self.fields

    def is_null(self, name: str) -> bool:
        """Returns whether the author wrote the field as null."""
        return name in self.fields and self.fields[name].value is None

    def wrong(self, name: str, what: str, hint: str = "") -> None:
        """Notes that a field is not what it should be."""
        self.notes.shape((*self.place, name), f"{name} {what}", hint)

    def require(self, *names: str) -> None:
        """Notes the fields that are missing."""
        for name in names:
            if name not in self.fields:
                self.wrong(name, "is missing", f"add `{name}:`")

    def close(self, known: Mapping[str, str], version: str) -> None:
        """Notes the fields that are not among *known*: name -> the version that has it."""
        for name in self.fields:
            place = (*self.place, name)
            if name not in known:
                self.notes.shape(place, f"there is no field {name} here", self.notes.suggest(name, known))
            elif known[name] > version:
                message = f"{name} is of version {known[name]}, and the file is of version {version}"
                self.notes.shape(place, message, f'write version: "{known[name]}"')

    def text(self, name: str, default: T, *, least: int = 0) -> str | T:
        """Returns a text field."""
        value = self._value(name)
        if value is None:
            return default
        if not isinstance(value, str):
            self.wrong(name, "is not a text", "put it in quotes")
            return default
        if len(value.strip()) < least:
            self.wrong(name, "is empty", "leave it out, or say something")
            return default
        return value

    def whole(self, name: str, default: T, *, least: int = 1) -> int | T:
        """Returns a field that is a whole number of at least *least*."""
        value = self._value(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            self.wrong(name, "is not a whole number in range", f"write a number of {least} to {MOST}")
            return default
        return value

    def number(self, name: str, *, zero: bool = False) -> float | None:
        """Returns a field that is a number above 0, or with *zero* of at least 0."""
        value = self._value(name)
        if value is None:
            return None
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
        if not (0 < number <= MOST or (zero and number == 0)):
            least = "of at least 0" if zero else "above 0"
            self.wrong(name, f"is not a number {least}", f"write a number {least}, without a unit")
            return None
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        """Returns a field that is true or false."""
        value = self._value(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(name, "is neither true nor false")
            return default
        return value

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Returns a field that is one of a few words."""
        value = self._value(name)
        if value is None:
            return default
        if not isinstance(value, str) or value not in choices:
            written = f"{value} is" if isinstance(value, str | int | float) else "it is"
            hint = self.notes.suggest(str(value) if isinstance(value, str) else "", choices)
            self.wrong(name, f"is one of {', '.join(choices)}; {written} not", hint)
            return default
        return value

    def texts(self, name: str, *, least: int = 0) -> tuple[str, ...]:
        """Returns a field that is a list of texts."""
        return tuple(
            text
            for index, item in enumerate(self.sequence(name))
            if (text := self._entry((name, index), item, least)) is not None
        )

    def texts_by_name(self, name: str) -> dict[str, str]:
        """Returns a field that is a map of names to texts."""
        entries = ((key, self._entry((name, key), node, 0)) for key, node in self.mapping(name).items())
        return {key: text for key, text in entries if text is not None}

    def json(self, name: str) -> dict[str, Json] | None:
        """Returns a field that is a map of anything."""
        if self._value(name) is None:
            return None
        return {key: plain(node) for key, node in self.mapping(name).items()}

    def commands(self, name: str) -> tuple[Command, ...]:
        """Returns a field that is one command or a list of them."""
        value = self._value(name)
        if isinstance(value, list):
            return tuple(c for index, node in enumerate(value) for c in self._command((name, index), [node]))
        return () if value is None else self._command((name,), value)

    def sequence(self, name: str) -> list[Node]:
        """Returns a field that is a list."""
        value = self._value(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(name, "is not a list", "write it as a list: [...]")
            return []
        return value

    def mapping(self, name: str) -> Mapping[str, Node]:
        """Returns a field that is a map."""
        value = self._value(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(name, "is not a map of names to values", "write `name: value` below it")
            return {}
        return value

    def items(self, name: str, read: Callable[[str, Reader], T]) -> dict[str, T]:
        """Returns a field that is a map of names to maps, each read by *read*."""
        return {key: read(key, self.inner((name, key), node)) for key, node in self.mapping(name).items()}

    def inner(self, place: Place, node: Node) -> Reader:
        """Returns a reader of a map inside of this one; of an empty one, noted, if it is none."""
        whole = (*self.place, *place)
        if isinstance(node.value, dict):
            return Reader(whole, node.value, self.notes)
        self.notes.shape(
            whole, f"{_word(place)} is not a map of names to values", "write `name: value` below it"
        )
        # What it lacks is not worth saying.
        return Reader(whole, {}, Notes(node))

    def _value(self, name: str) -> Content:
        node = self.fields.get(name)
        if node is not None and node.value is None:
            self.wrong(name, "is empty", "leave it out, or give it a value")
        return None if node is None else node.value

    def _entry(self, place: Place, node: Node, least: int) -> str | None:
        if not isinstance(node.value, str):
            self.notes.shape((*self.place, *place), f"{_word(place)} is not a text", "put it in quotes")
            return None
        if len(node.value.strip()) < least:
            self.notes.shape((*self.place, *place), f"{place[0]} has an empty entry", "leave it out")
            return None
        return node.value

    def _command(self, place: Place, value: Content) -> tuple[Command, ...]:
        found = commands(
            [plain(node) for node in value] if isinstance(value, list) else plain(Node(value, 0))
        )
        if found is None or any(not command[0].strip() for command in found):
            self.notes.shape((*self.place, *place), f"{place[0]} is not a command", COMMAND)
            return ()
        return found


def _word(place: Place) -> str:
    return place[-1] if isinstance(place[-1], str) else f"this entry of {place[0]}"
