"""Runs a program to its end, with everything that it starts, within a time and within bounds.

The program gets its own session and its own input; when it is over, timed out or no longer wanted, nothing
of it is left. ``tether.py`` does the holding; should the tether itself be killed, what it held is found by
the mark in its environment and killed from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import trio

from stratum_git.agents.output import TAIL, LastLine, LogFile, Tail
from stratum_git.errors import HostError

TETHER = Path(__file__).with_name("tether.py")
MARK = "STRATUM_TETHER"
GRACE = 2.0
LOG_LIMIT = 64 * 1024 * 1024
CHUNK = 64 * 1024
DRAIN = 1.0
"""Seconds that output may still come after every process of the attempt is gone."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The program ended by itself. ``tail`` is the end of its output, ``leftovers`` what had to be ended."""

    code: int
    tail: bytes
    seconds: float
    leftovers: int = 0


@dataclass(frozen=True, slots=True)
class Signalled:
    """The program was ended by a signal that did not come from here."""

    signal: int
    tail: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The program was at work at its deadline, and was ended."""

    after: float
    tail: bytes


@dataclass(frozen=True, slots=True)
class Unstartable:
    """The program could not be started."""

    reason: str


Exit: TypeAlias = Exited | Signalled | TimedOut | Unstartable


def _ignore(_: str) -> None:
    """Stands for nobody who wants to know."""


async def supervise(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    stdin: Path | None = None,
    timeout: float | None = None,
    grace: float = GRACE,
    on_line: Callable[[str], None] = _ignore,
    log_limit: int = LOG_LIMIT,
) -> Exit:
    """Runs *command* and returns how it ended. On cancellation it is dead before that goes on.

    ``stdin`` is a file that becomes its input, ``timeout`` and ``grace`` are seconds. Both output streams go
    to *log*; the end of standard output is in the answer.
    """
    run = _Run(tuple(command), cwd, dict(env), log, stdin, grace, on_line, log_limit)
    return await run.run(timeout)


@dataclass
class _Run:
    command: tuple[str, ...]
    cwd: Path
    env: dict[str, str]
    log: Path
    stdin: Path | None
    grace: float
    on_line: Callable[[str], None]
    log_limit: int

    async def run(self, timeout: float | None) -> Exit:
        if not self.cwd.is_dir():
            return Unstartable(f"there is no directory {self.cwd}")
        mark = secrets.token_hex(12)
        started = trio.current_time()
        held = await self._start(mark)
        tail, timed_out = Tail(TAIL), False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, held, tail)
                with trio.move_on_after(timeout if timeout is not None else float("inf")) as limit:
                    await held.process.wait()
                timed_out = limit.cancelled_caught
                await held.end(self.grace, mark)
                nursery.cancel_scope.deadline = trio.current_time() + DRAIN
        finally:
            await held.end(self.grace, mark)
            said = held.close()
        if timed_out:
            return TimedOut(timeout or 0.0, tail.value())
        return _ended(
            said, held.process.returncode, tail.value(), trio.current_time() - started, self.command
        )

    async def _start(self, mark: str) -> _Held:
        control_r, control_w = os.pipe()
        status_r, status_w = os.pipe()
        source = os.open(self.stdin if self.stdin is not None else os.devnull, os.O_RDONLY)
        words = [str(control_r), str(status_w), str(self.grace), *self.command]
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-I", "-S", str(TETHER), *words],
                cwd=self.cwd,
                env={**self.env, MARK: mark},
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(control_r, status_w),
                start_new_session=True,
            )
        except OSError as error:
            os.close(control_w)
            os.close(status_r)
            raise HostError(f"no process could be started: {error}") from error
        finally:
            for descriptor in (control_r, status_w, source):
                os.close(descriptor)
        return _Held(process, control_w, status_r)

    async def _read(self, held: _Held, tail: Tail) -> None:
        log, line = LogFile(self.log, self.log_limit), LastLine(self.on_line)

        async def drain(stream: trio.abc.ReceiveStream | None, end: Tail | None) -> None:
            while stream is not None and (data := await stream.receive_some(CHUNK)):
                chunk = bytes(data)
                log.add(chunk)
                line.add(chunk)
                if end is not None:
                    end.add(chunk)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain, held.process.stdout, tail)
                nursery.start_soon(drain, held.process.stderr, None)
        finally:
            line.close()
            log.close()


@dataclass
class _Held:
    process: trio.Process
    control: int
    status: int
    over: bool = False

    async def end(self, grace: float, mark: str) -> None:
        """Has the tether end everything; shielded, and bounded by a kill of its own."""
        if self.over:
            return
        self.over = True
        os.close(self.control)
        with trio.CancelScope(shield=True):
            with trio.move_on_after(grace + 5.0):
                await self.process.wait()
            if self.process.returncode is None:
                self.process.kill()
            if await self.process.wait() < 0:
                await _end_marked(mark)

    def close(self) -> bytes:
        """Returns what the tether said of the end, and lets go of its pipes."""
        os.set_blocking(self.status, False)
        said = b""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self.status, 4096)
        os.close(self.status)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()  # type: ignore[attr-defined]  # a pipe's end closes without waiting
        return said


async def _end_marked(mark: str) -> None:
    """Kills whoever has the mark of a tether that is gone; its own children are nobody's by now."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(200):
        pids = [pid for pid in _pids() if wanted in _environment(pid)]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        await trio.sleep(0.01)


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _ended(said: bytes, code: int | None, tail: bytes, seconds: float, command: tuple[str, ...]) -> Exit:
    try:
        facts = json.loads(said)
    except ValueError:
        # The tether was killed before it could speak.
        return Signalled(-code if code is not None and code < 0 else signal.SIGKILL, tail, seconds)
    if "errno" in facts:
        return Unstartable(f"{command[0]}: {os.strerror(facts['errno'])}")
    status = int(facts["status"])
    if status < 0:
        return Signalled(signal.SIGTERM, tail, seconds)
    exit_code = os.waitstatus_to_exitcode(status)
    if exit_code < 0:
        return Signalled(-exit_code, tail, seconds)
    return Exited(exit_code, tail, seconds, int(facts["leftovers"]))
