"""Runs a program to its end, with everything that it starts, within a time and within bounds.

The program gets its own session and its own input; when it is over, timed out or no longer wanted, nothing
of it is left. ``tether.py`` does the holding. Should the tether itself be killed, what it held is found by
its session and by the mark in its environment, and killed from here. That needs Linux: elsewhere there is
neither a reaper of orphans nor ``/proc``, and a process that leaves its group can get away.

When tether and dispatcher are killed in one blow, the command dies with the tether. What it had started goes
on until the flow is taken up: the mark in its environment says whose it was (``spawn/orphans.py``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trio

from stratum_git.agents.hearing import hear
from stratum_git.agents.holder import Tether, start_tether
from stratum_git.agents.output import LogFile, Output
from stratum_git.agents.secrets import NONE, Secrets
from stratum_git.agents.strays import Said, end_strays, parse_said
from stratum_git.agents.stream import Reads, Story
from stratum_git.errors import HostError
from stratum_git.spawn.client import ServerGone
from stratum_git.spawn.orphans import ATTEMPT as MARK
from stratum_git.spawn.orphans import mark_of

GRACE = 2.0
PATIENCE = 5.0
"""Seconds beyond the grace that the tether may take to end everything, before it is killed itself."""
LOG_LIMIT = 64 * 1024 * 1024
DRAIN = 1.0
"""Seconds that output may still come after every process of the attempt is gone."""
TOO_LONG = "the command and its environment are too long"
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


@dataclass(frozen=True, slots=True)
class Exited:
    """The program ended by itself.

    ``tail`` is the end of its standard output, ``errors`` that of its standard error, ``last_line`` the last
    of both as plain text, ``leftovers`` how many processes it left behind, which were ended.
    """

    code: int
    tail: bytes
    seconds: float
    leftovers: int = 0
    errors: bytes = b""
    last_line: str = ""


@dataclass(frozen=True, slots=True)
class Signalled:
    """The program was ended by a signal that did not come from here."""

    signal: int
    tail: bytes
    seconds: float
    errors: bytes = b""
    last_line: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The program was at work at its deadline, and was ended."""

    after: float
    tail: bytes
    errors: bytes = b""
    last_line: str = ""


@dataclass(frozen=True, slots=True)
class Unstartable:
    """The program could not be started."""

    reason: str


class HolderKilled(HostError):  # noqa: N818 - reads as what happened
    """Whoever held the program was killed, and the program with it: nobody knows how it would have ended."""

    def __init__(self, command: str) -> None:
        super().__init__(f"the process that held {command} was killed", hint="try again")


Exit: TypeAlias = Exited | Signalled | TimedOut | Unstartable


async def supervise(  # noqa: PLR0913 - all but the first are named by those who call it
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    stdin: Path | None = None,
    timeout: float | None = None,
    grace: float = GRACE,
    on_line: Callable[[str], None] | None = None,
    log_limit: int = LOG_LIMIT,
    hide: Secrets = NONE,
    stream: tuple[Reads, Path] | None = None,
) -> Exit:
    """Runs *command* and returns how it ended. On cancellation it is dead before that goes on.

    ``stdin`` is a file that becomes its input, ``timeout`` and ``grace`` are seconds. Both output streams go
    to *log*, without the secrets in *hide*. With *stream*, each line of standard output is read as it comes:
    the log and the tail have what is told of it, and its file the lines themselves; both go on where an
    earlier call of the same attempt ended. Raises HolderKilled, and HostError when this machine cannot: no
    more processes, a log that cannot be written.
    """
    hindrance = _hindrance(command, cwd)
    if hindrance is not None:
        return Unstartable(hindrance)
    limit = trio.CancelScope()
    try:
        on = stream is not None
        told = None if stream is None else (Story(stream[0]), LogFile(stream[1], log_limit, goes_on=on))
        output = Output(LogFile(log, log_limit, goes_on=on), on_line or _nobody, limit.cancel, hide, told)
    except OSError as error:
        raise HostError(f"the log cannot be made: {error}") from error
    started = trio.current_time()
    try:
        held = await _hold(command, cwd, {**env, MARK: mark_of(log)}, stdin, grace)
        if isinstance(held, Unstartable):
            return held
        # Measured from here, so that a busy machine's slow start is not taken from the program's time.
        limit.deadline = trio.current_time() + (timeout if timeout is not None else float("inf"))
        last_line = await _attend(held, output, limit)
    finally:
        output.close()
    if output.failure is not None:
        raise HostError(f"the log {log} cannot be written: {output.failure.strerror}") from output.failure
    tail, errors = output.tail.value(), output.errors.value()
    if limit.cancelled_caught:
        return TimedOut(timeout or 0.0, tail, errors, last_line)
    return _ended(held, tail, trio.current_time() - started, errors, last_line, command)


def _hindrance(command: Sequence[str], cwd: Path) -> str | None:
    if not command:
        return "the command is empty"
    return None if cwd.is_dir() else f"there is no directory {cwd}"


def _nobody(_: str) -> None:
    """Stands for nobody who wants to know."""


@dataclass
class _Held:
    """A tether at work, and our ends of its pipes."""

    process: Tether
    control: int
    status: int
    mark: str
    grace: float
    said: Said | None = None

    async def end(self) -> None:
        """Has the tether end everything; shielded, and bounded by a kill of our own."""
        os.close(self.control)
        with trio.CancelScope(shield=True):
            heard = bytearray()
            with trio.move_on_after(self.grace + PATIENCE):
                await self.process.wait()
                # Should the server have been killed, that was its end: the tether's is the end of this pipe.
                await _hear_out(self.status, heard)
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()
            self.said = parse_said(bytes(heard) + _read_all(self.status))
            if not self.said.over:
                await end_strays(self.mark, self.said.session)

    def close(self) -> None:
        """Lets go of the pipes of its output."""
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()  # type: ignore[attr-defined]  # a pipe's end closes without waiting


async def _hold(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: Path | None, grace: float
) -> _Held | Unstartable:
    try:
        with ExitStack() as ours, ExitStack() as theirs:
            source = os.open(stdin if stdin is not None else os.devnull, os.O_RDONLY)
            theirs.callback(os.close, source)
            orders, control = _pipe(theirs, ours)
            status, report = _pipe(ours, theirs)
            pipes = (orders, report)
            try:
                process = await start_tether(
                    command, cwd=cwd, env=env, stdin=source, pipes=pipes, grace=grace
                )
            except ServerGone as error:
                theirs.close()
                ours.pop_all()
                await _forsake(control, status, env[MARK], grace)
                raise HolderKilled(command[0]) from error
            ours.pop_all()
    except ValueError as error:
        return Unstartable(f"{command[0]}: {error} in the command or its environment")
    except OSError as error:
        return _refused(error, command, cwd)
    return _Held(process, control, status, env[MARK], grace)


async def _forsake(control: int, status: int, mark: str, grace: float) -> None:
    """Lets go of a tether of which nobody could tell whether it was started; it is gone after this."""
    os.close(control)
    with trio.CancelScope(shield=True):
        with trio.move_on_after(grace + PATIENCE):
            await _hear_out(status, bytearray())
        os.close(status)
        await end_strays(mark, None)


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    pipe = os.pipe()
    reader.callback(os.close, pipe[0])
    writer.callback(os.close, pipe[1])
    return pipe


def _refused(error: OSError, command: Sequence[str], cwd: Path) -> Unstartable:
    if error.errno == errno.E2BIG:
        return Unstartable(f"{command[0]}: {TOO_LONG}")
    if error.errno not in EXHAUSTED and error.filename in {cwd, str(cwd)}:
        return Unstartable(f"{cwd}: {error.strerror}")
    raise HostError(f"no process could be started: {error}") from error


async def _attend(held: _Held, output: Output, limit: trio.CancelScope) -> str:
    """Waits for the end, makes sure of it, and returns the last line that was heard."""
    # Shielded: what a program says while it is being ended belongs into the log, and if nobody read it,
    # a program that writes its last words would stand still until it is killed.
    listening = trio.CancelScope(shield=True)
    try:
        async with trio.open_nursery() as nursery:
            over = trio.Event()
            nursery.start_soon(_listen, held.process, output, listening, over)
            try:
                with limit:
                    await held.process.wait()
            finally:
                over.set()
                await held.end()
                listening.deadline = trio.current_time() + DRAIN
    finally:
        held.close()
        output.over()
    return output.line.close()


async def _listen(process: Tether, output: Output, listening: trio.CancelScope, over: trio.Event) -> None:
    with listening:
        async with trio.open_nursery() as telling:
            telling.start_soon(output.line.run)
            async with trio.open_nursery() as hearing:
                for stream, source in enumerate((process.stdout, process.stderr)):
                    if source is not None:
                        hearing.start_soon(hear, source, partial(output.hear, stream), over)
            telling.cancel_scope.cancel()


async def _hear_out(pipe: int, heard: bytearray) -> None:
    os.set_blocking(pipe, False)
    while True:
        await trio.lowlevel.wait_readable(pipe)
        data = os.read(pipe, 4096)
        if not data:
            return
        heard += data


def _read_all(pipe: int) -> bytes:
    """Returns what is in a pipe, and closes it. It is a few short lines at most."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 4096)
    except BlockingIOError:
        return b""
    finally:
        os.close(pipe)


def _ended(
    held: _Held, tail: bytes, seconds: float, errors: bytes, last_line: str, command: Sequence[str]
) -> Exit:
    said, returned = held.said, held.process.returncode
    if said is not None and said.errno is not None:
        return Unstartable(
            f"{command[0]}: {TOO_LONG if said.errno == errno.E2BIG else os.strerror(said.errno)}"
        )
    if returned is None or returned < 0:
        # Whatever the command came to then, it was ended because of that.
        raise HolderKilled(command[0])
    if said is None or said.status is None:
        raise HostError(f"the process that holds {command[0]} ended with {returned}: {last_line}")
    code = os.waitstatus_to_exitcode(said.status)
    if code < 0:
        return Signalled(-code, tail, seconds, errors, last_line)
    return Exited(code, tail, seconds, said.leftovers, errors, last_line)
