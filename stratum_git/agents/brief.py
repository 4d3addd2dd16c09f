"""Asks a program one thing: starts it, hears what it says, and ends it when its time is over.

For programs that are known and answer at once: a version, whether somebody is logged in, a server's hello.
It has no terminal, and a session of its own that is ended with it.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stratum_git.errors import HostError

LARGEST = 1024 * 1024
"""Bytes that are listened to."""
GRACE = 0.3
"""Seconds that it has to end by itself once it has answered."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a program said. ``code`` is ``None`` of one that had to be ended, ``late`` is one not done."""

    out: bytes
    err: bytes
    code: int | None
    seconds: float
    late: bool

    @property
    def words(self) -> str:
        """Returns the first line that says something, of its answer or else of its complaint."""
        lines = (
            *self.out.decode("utf-8", "replace").splitlines(),
            *self.err.decode("utf-8", "replace").splitlines(),
        )
        return next((line.strip()[:200] for line in lines if line.strip()), "")


def hear(
    words: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    seconds: float,
    said: bytes = b"",
    until: Callable[[bytes], bool] | None = None,
) -> Heard:
    """Returns what a program answers to *said*, until its end, or until *until* holds of what it wrote.

    Its input stays open as long as *until* does not hold. Raises HostError when it cannot be started.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            list(words), cwd=cwd, env=dict(environment), start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise HostError(f"{words[0]} cannot be started: {why}") from error
    try:
        _say(process, said, close=until is None)
        late, out, err = _listen(process, began + seconds, until)
        if not late:
            _say(process, b"", close=True)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE if until is not None else max(0.0, began + seconds - time.monotonic()))
        code = process.poll()
        return Heard(out, err, code, time.monotonic() - began, late or (until is None and code is None))
    finally:
        _end(process)


def _say(process: subprocess.Popen[bytes], said: bytes, *, close: bool) -> None:
    if process.stdin is None or process.stdin.closed:
        return
    # One that has ended already, or does not listen, is known by what it answers.
    with suppress(OSError):
        process.stdin.write(said)
        if close:
            process.stdin.close()


def _listen(
    process: subprocess.Popen[bytes], deadline: float, until: Callable[[bytes], bool] | None
) -> tuple[bool, bytes, bytes]:
    heard = {"out": b"", "err": b""}
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("out", process.stdout), ("err", process.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, name)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                return True, heard["out"], heard["err"]
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                heard[key.data] = (heard[key.data] + data)[:LARGEST]
                if not data:
                    selector.unregister(key.fileobj)
            if until is not None and until(heard["out"]):
                break
    return False, heard["out"], heard["err"]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends it with all that it started, and takes leave of it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
