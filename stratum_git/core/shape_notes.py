"""Collects what is wrong with a spec, and knows the name and line of every place in the file."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Literal, TypeAlias

from stratum_git.core.heavy import close_matches
from stratum_git.core.yaml_nodes import Node
from stratum_git.model.spec import Problem
from stratum_git.model.values import dataclass, field

Kind: TypeAlias = Literal["shape", "semantic"]
Place: TypeAlias = tuple[str | int, ...]
"""The keys and indices that lead to a value of the file."""

SUGGESTIONS = 100
COMPARED = 200
LISTED = 30


@dataclass(slots=True)
class Notes:
    """The problems of one file so far."""

    root: Node
    found: list[Problem] = field(default_factory=list)
    warned: list[Problem] = field(default_factory=list)
    _broken: set[Place] = field(default_factory=set)
    _suggested: int = 0

    def shape(self, place: Place, message: str, hint: str = "") -> None:
        """Notes that the value at *place* has the wrong shape, so that nothing can be said of its meaning."""
        self._broken.add(place)
        self.found.append(self._problem(place, message, hint, "shape"))

    def semantic(self, place: Place, message: str, hint: str = "") -> None:
        """Notes that what is at *place* does not fit the rest, unless it is known to be broken anyhow."""
        if not self.is_broken(place):
            self.found.append(self._problem(place, message, hint, "semantic"))

    def warning(self, place: Place, message: str, hint: str = "") -> None:
        """Notes what would be wrong in a spec of the newest version, and always went through in this one."""
        if not self.is_broken(place):
            self.warned.append(self._problem(place, message, hint, "semantic"))

    def is_broken(self, place: Place) -> bool:
        """Returns whether *place*, or what it is a part of, has the wrong shape."""
        return any(place[:end] in self._broken for end in range(1, len(place) + 1))

    def suggest(self, name: str, known: Collection[str]) -> str:
        """Returns a hint of what *name* was to be.

        Comparing is slow, so a file with thousands of unknown names gets suggestions for the first ones.
        """
        self._suggested += 1
        if self._suggested <= SUGGESTIONS:
            close = close_matches(name[:100], _likely(name, known), 1)
            if close:
                return f"did you mean {close[0]}?"
        listing = ", ".join(islice(known, LISTED))
        return f"known: {listing}{', ...' if len(known) > LISTED else ''}" if known else "there is none"

    def line(self, place: Place) -> int:
        """Returns the line of the deepest part of *place* that the file has."""
        return self._located(place)[1]

    def _problem(self, place: Place, message: str, hint: str, kind: Kind) -> Problem:
        path, line = self._located(place)
        return Problem(brief(path), brief(message), line, brief(hint), kind)

    def _located(self, place: Place) -> tuple[str, int]:
        node: Node | None = self.root
        line = self.root.line
        words: list[str] = []
        for part in place:
            node = None if node is None else _child(node, part)
            line = line if node is None else node.line
            words.append(str(part) if node is None or len(words) != 3 else _step_name(node, part))
        return ".".join(words), line


def brief(text: str) -> str:
    """Returns at most 2,000 characters of *text*: what a file names may be as long as the file."""
    return text if len(text) <= 2000 else f"{text[:1997]}..."


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(node.value, dict) and isinstance(part, str):
        return node.value.get(part)
    if isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _step_name(node: Node, part: str | int) -> str:
    """Returns the id of the step at ``flows.NAME.steps.INDEX``: people look for that, not for the index."""
    found = _child(node, "id")
    if found is not None and isinstance(found.value, str) and found.value.isprintable():
        return found.value[:100] or str(part)
    return str(part)


def _likely(name: str, known: Collection[str]) -> list[str]:
    return [other for other in known if abs(len(other) - len(name)) <= 5][:COMPARED]
