"""What becomes of a program's output: a log of bounded size, the end of it for the result, a line to show."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

import trio

TAIL = 1024 * 1024
KEPT_END = 256 * 1024
SHOWN = 200
PAUSE = 0.1

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class Tail:
    """The last so many bytes of a stream, whatever its length."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Takes in more of the stream."""
        self._parts.append(data)
        self._size += len(data)
        while self._size - len(self._parts[0]) >= self._limit:
            self._size -= len(self._parts.popleft())

    def value(self) -> bytes:
        """Returns the end of the stream."""
        return b"".join(self._parts)[-self._limit :]


class LogFile:
    """A log that keeps the beginning and the end of what is too long, and says how much it left out."""

    def __init__(self, path: Path, limit: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._room = max(0, limit - KEPT_END)
        self._end = Tail(KEPT_END)
        self._dropped = 0

    def add(self, data: bytes) -> None:
        """Writes what there is room for, and remembers the end of the rest."""
        now, later = data[: self._room], data[self._room :]
        self._room -= len(now)
        _write(self._file, now)
        if later:
            self._dropped += len(later)
            self._end.add(later)

    def close(self) -> None:
        """Writes the end, and closes."""
        end = self._end.value()
        left_out = self._dropped - len(end)
        if left_out > 0:
            _write(self._file, b"\n[%d bytes are left out here]\n" % left_out)
        _write(self._file, end)
        os.close(self._file)


class LastLine:
    """Tells the last complete line of output, at most ten times a second, as plain text."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = b""
        self._line = ""
        self._told = ""
        self._due = 0.0

    def add(self, data: bytes) -> None:
        """Takes in more output."""
        lines = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()[-8 * SHOWN :]
        for line in reversed(lines):
            text = plain(line)
            if text:
                self._line = text
                break
        if trio.current_time() >= self._due:
            self._say()

    def close(self) -> None:
        """Tells the very last line, complete or not."""
        self._line = plain(self._rest) or self._line
        self._say()

    def _say(self) -> None:
        if self._line != self._told:
            self._told = self._line
            self._due = trio.current_time() + PAUSE
            self._tell(self._line)


def plain(line: bytes) -> str:
    """Returns a line of output as text that is safe to print: no escapes, no control characters."""
    text = ESCAPES.sub("", line[-8 * SHOWN :].decode("utf-8", "replace"))
    return "".join(c for c in text if c.isprintable()).strip()[:SHOWN]


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
