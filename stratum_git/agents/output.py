"""What becomes of a program's output: a log of bounded size, the end of it for the result, a line to show."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import trio

from stratum_git.agents.secrets import NONE, Redactor, Secrets
from stratum_git.agents.stream import Story

TAIL = 1024 * 1024
"""Bytes of standard output that are kept for the result."""
ERRORS = 64 * 1024
KEPT_END = 256 * 1024
NEAR = 8 * 1024
"""Bytes in which the last line is looked for; of a longer one, the end is shown."""
SHOWN = 200
PAUSE = 0.1
"""Seconds between two lines that are told."""

ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|$)"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"  # titles, links, images
    r"|\x1b[ -/]*(?:[0-~]|$)"  # character sets and the rest
)
CONTROLS = {code: " " if chr(code).isspace() else None for code in range(0xA1) if not chr(code).isprintable()}
"""What takes the place of those control characters that are often met."""


class Tail:
    """The last so many bytes of a stream, whatever its length. Holds twice that at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Takes in more of the stream."""
        self._data += data
        if len(self._data) > 2 * self._limit:
            del self._data[: -self._limit]

    def value(self) -> bytes:
        """Returns the end of the stream."""
        return bytes(self._data[-self._limit :])


class LogFile:
    """A log that keeps the beginning and the end of what is too long, and says how much it left out.

    It is made anew, for its owner alone; a link that somebody put in its place is replaced, not followed. One
    that *goes_on* keeps what is in it already, which counts.
    """

    def __init__(self, path: Path, limit: int, *, goes_on: bool = False) -> None:
        self._file = _open_again(path) if goes_on else _open_new(path)
        end = min(KEPT_END, limit // 2)
        self._room = max(0, limit - end - os.fstat(self._file).st_size)
        self._end = Tail(end)
        self._late = 0

    def add(self, data: bytes) -> None:
        """Writes what there is room for, and remembers the end of the rest."""
        now, later = data[: self._room], data[self._room :]
        self._room -= len(now)
        _write(self._file, now)
        self._late += len(later)
        self._end.add(later)

    def close(self) -> None:
        """Writes the end, and closes."""
        try:
            end = self._end.value()
            left_out = self._late - len(end)
            if left_out > 0:
                _write(self._file, b"\n[%d bytes are left out here]\n" % left_out)
            _write(self._file, end)
        finally:
            os.close(self._file)


class LastLine:
    """Tells the last complete line of two streams, at most ten times a second, as plain text."""

    def __init__(self, tell: Callable[[str], None], secrets: Secrets = NONE) -> None:
        self._tell = tell
        self._secrets = secrets
        self._ends = (Tail(NEAR), Tail(NEAR))
        self._latest = 0
        self._told = ""
        self._news = trio.Event()

    def add(self, stream: int, data: bytes) -> None:
        """Takes in more of stream 0 or 1."""
        self._ends[stream].add(data)
        self._latest = stream
        self._news.set()

    async def run(self) -> None:
        """Tells lines until it is cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            self._say(complete=True)
            await trio.sleep(PAUSE)

    def close(self) -> str:
        """Tells the very last line, complete or not, and returns it."""
        self._say(complete=False)
        return self._told

    def _say(self, *, complete: bool) -> None:
        line = self._find(self._latest, complete) or self._find(1 - self._latest, complete)
        if line and line != self._told:
            self._told = line
            self._tell(line)

    def _find(self, stream: int, complete: bool) -> str:  # noqa: FBT001 - private, named by its callers
        lines = self._ends[stream].value().replace(b"\r", b"\n").split(b"\n")
        if complete:
            lines.pop()
        # Once more: a value may have had escapes in it that are gone by now.
        return self._secrets.hidden_text(next(filter(None, map(plain, reversed(lines))), ""))


class Output:
    """All that is kept of a program's output. *broken* is called when its log cannot be written any more.

    Nothing of it holds the *secrets*, which are replaced before anything else is done.
    """

    def __init__(
        self,
        log: LogFile,
        tell: Callable[[str], None],
        broken: Callable[[], None],
        secrets: Secrets = NONE,
        stream: tuple[Story, LogFile] | None = None,
    ) -> None:
        self._story: Story | None = None if stream is None else stream[0]
        self._raw: LogFile | None = None if stream is None else stream[1]
        self._redactors = (Redactor(secrets), Redactor(secrets)) if secrets else None
        self.tail = Tail(TAIL)
        self.errors = Tail(ERRORS)
        self.line = LastLine(tell, secrets)
        self.failure: OSError | None = None
        self._log = log
        self._broken = broken

    def hear(self, stream: int, data: bytes) -> None:
        """Takes in more of stream 0, standard output, or 1, standard error."""
        if self._redactors is not None:
            data = self._redactors[stream].feed(data)
        if data:
            self._keep(stream, data)

    def over(self) -> None:
        """Takes note that nothing more comes."""
        for stream, redactor in enumerate(self._redactors or ()):
            self._keep(stream, redactor.close())
        if self._story is not None:
            self._tell(*self._story.over())

    def _keep(self, stream: int, data: bytes) -> None:
        if stream == 0 and self._story is not None:
            self._tell(*self._story.feed(data))
            return
        (self.tail, self.errors)[stream].add(data)
        self.line.add(stream, data)
        self._write(self._log, data)

    def _tell(self, raw: bytes, told: bytes) -> None:
        """Keeps a part of a stream as it is, and what it says in words in place of it."""
        if self._raw is not None:
            self._write(self._raw, raw)
        self.tail.add(told)
        self.line.add(0, told)
        self._write(self._log, told)

    def _write(self, log: LogFile, data: bytes) -> None:
        if self.failure is None:
            try:
                log.add(data)
            except OSError as error:
                self.failure = error
                self._broken()

    def close(self) -> None:
        """Writes out what the logs still wait for."""
        for log in (self._log, self._raw):
            try:
                if log is not None:
                    log.close()
            except OSError as error:
                self.failure = self.failure or error


def plain(line: bytes) -> str:
    """Returns a line of output as text that is safe to print: no escapes, no control characters."""
    return _printable(line[-NEAR:]).strip()[:SHOWN]


def plain_text(data: bytes) -> str:
    """Returns output as text that is safe to print, line by line."""
    return "\n".join(_printable(line).rstrip() for line in data.splitlines())


def replace_private(path: Path, data: bytes) -> None:
    """Writes a file that only its owner may read, whatever was in its place before."""
    file = _open_new(path)
    try:
        _write(file, data)
    finally:
        os.close(file)


def _printable(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    if text.isprintable():
        # As most lines are. Letter by letter, the end of a long output takes as long as a git does.
        return text
    text = ESCAPES.sub("", text).translate(CONTROLS)
    if text.isprintable():
        return text
    return "".join(" " if c.isspace() else c for c in text if c.isprintable() or c.isspace())


def _open_new(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _open_again(path: Path) -> int:
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return _open_new(path)
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return file
    os.close(file)
    return _open_new(path)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
