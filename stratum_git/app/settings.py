"""Values of the settings, looked at one by one; what is wrong with one is told with its line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from stratum_git.core.yaml_nodes import Node, plain
from stratum_git.errors import UserError
from stratum_git.model.ids import Json


class ConfigError(UserError):
    """The settings are not what they should be."""


@dataclass(frozen=True, slots=True)
class Section:
    """A map of the settings: in which file, and under which name; an empty one is the whole file."""

    file: Path
    name: str
    node: Node

    def rows(self, known: Sequence[str] | None = None) -> dict[str, Node]:
        """Returns its entries; only these names may be there, or any."""
        value = self.node.value
        title = self.name or "the file"
        if not isinstance(value, dict):
            raise self._error(f"{title} is not a map", self.node.line)
        unknown = [name for name in value if known is not None and name not in known]
        if unknown:
            line, hint = value[unknown[0]].line, f"known: {', '.join(known or ())}"
            raise self._error(f"{title} has no {unknown[0]}", line, hint)
        return value

    def parts(self, name: str) -> Iterator[tuple[str, Section]]:
        """Yields the entries of a map in it that has names of one's own; nothing where there is none."""
        node = self.rows().get(name)
        if node is not None and plain(node):
            part = Section(self.file, self._path(name), node)
            for key, row in part.rows().items():
                yield key, Section(self.file, f"{part.name}.{key}", row)

    def part(self, name: str) -> Section:
        """Returns a map in it, which may be empty."""
        node = self.rows().get(name)
        if node is None or plain(node) is None:
            node = Node({}, self.node.line)
        return Section(self.file, self._path(name), node)

    def get(self, name: str) -> Json:
        """Returns a value as it is; ``None`` when it is absent."""
        node = self.rows().get(name)
        return None if node is None else plain(node)

    def wrong(self, name: str, said: str, hint: str = "") -> ConfigError:
        """Returns the error that an entry ``name`` is what it should not be, in the words of *said*."""
        node = self.rows().get(name, self.node)
        return self._error(f"{self._path(name)}{said}", node.line, hint)

    def words(self, name: str) -> tuple[str, ...]:
        """Returns a command: a list of words, or a text that is split as a shell splits it."""
        value = self.get(name)
        words = _split(value) if isinstance(value, str) else value
        if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) for word in words):
            raise self.wrong(name, " is not a list of words")
        return tuple(cast("Sequence[str]", words))

    def texts(self, name: str, what: str, hint: str = "") -> tuple[str, ...]:
        """Returns a list of texts; *what* says of what, for the error."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(name, f" is not a list of {what}", hint)
        return tuple(map(str, value))

    def text(self, name: str, what: str) -> str | None:
        """Returns a text that is not empty; ``None`` when it is absent."""
        value = self.get(name)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        raise self.wrong(name, f" is not {what}")

    def number(self, name: str, what: str, *, whole: bool = False) -> float | None:
        """Returns a number above 0, *whole* or not; ``None`` when it is absent."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value <= 0:
            raise self.wrong(name, f" is not a number of {what}")
        return value

    def is_on(self, name: str, *, default: bool = True) -> bool:
        """Returns whether something is on or off."""
        value = self.get(name) if name in self.rows() else default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in {"on", "off"}:
            return value == "on"
        raise self.wrong(name, " is not on or off")

    def _path(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name

    def _error(self, said: str, line: int, hint: str = "") -> ConfigError:
        return ConfigError(f"{self.file}, line {line}: {said}", hint=hint)


def _split(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return ()
