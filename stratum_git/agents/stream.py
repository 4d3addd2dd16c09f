"""Programs that say what they are at as lines of JSON: each line is read when it is there.

A line is read by whoever knows the program (``Reads``), and what it tells in words stands in the log. Lines
come in pieces, of any size; one that is too long is left out, and that is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TypeAlias, cast

from stratum_git.model.ids import Json

LONGEST = 32 * 1024 * 1024
"""Bytes of a line that is read. A result may have sixteen megabytes, which JSON may write as twice that."""

Reads: TypeAlias = Callable[[bytes], Sequence[str] | None]
"""Reads a line, without its end; returns what to tell of it, or ``None`` when it need not be kept at all."""


class Lines:
    """Cuts a stream into lines. Of a line that is too long ``None`` is given in place of it."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes | None]:
        """Takes in more, and returns the lines that are whole by now, without their ends."""
        *whole, rest = data.split(b"\n")
        lines = []
        for piece in whole:
            self._hold(piece)
            lines.append(self._taken())
        self._hold(rest)
        return lines

    def over(self) -> list[bytes | None]:
        """Returns the last line, should it have no end."""
        return [self._taken()] if self._size else []

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._longest:
            self._held.append(piece)
        else:
            self._held.clear()

    def _taken(self) -> bytes | None:
        line = b"".join(self._held) if self._size <= self._longest else None
        self._held.clear()
        self._size = 0
        return line


class Story:
    """What a stream tells: its lines as they are, and what they say in words, both with line ends."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._lines = Lines()

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Takes in more, and returns what is to be kept of it as it is, and what is told."""
        return self._told(self._lines.feed(data))

    def over(self) -> tuple[bytes, bytes]:
        """Returns the same of what is left at the end."""
        return self._told(self._lines.over())

    def _told(self, lines: Sequence[bytes | None]) -> tuple[bytes, bytes]:
        raw, told = [], []
        for line in lines:
            if line is None:
                told.append("[a line that was too long is left out here]")
                continue
            words = self._reads(line)
            if words is not None:
                raw.append(line + b"\n")
                told += words
        text = "".join(f"{words}\n" for words in told)
        return b"".join(raw), text.encode("utf-8", "replace")


def event_of(line: bytes) -> Mapping[str, Json] | None:
    """Returns the JSON object that a line is; ``None`` when it is none."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Json]", value) if isinstance(value, dict) else None


def part(value: Json, *path: str) -> Json:
    """Returns what lies at *path* in nested objects; ``None`` when there is no such thing."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def rows(value: Json) -> Sequence[Mapping[str, Json]]:
    """Returns the objects of a list; none when it is no list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def number(value: Json) -> float:
    """Returns a number that may not be there, or be none that can be counted with; 0 then."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if isfinite(value) else 0


def words(value: Json) -> str:
    """Returns a text that may not be there; an empty one then."""
    return value if isinstance(value, str) else ""
