"""Goes where another process is, and runs a command for a person there."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from stratum_git.errors import HostError, UserError
from stratum_git.spawn.namespace import NEW_MOUNTS, NEW_USERS, called, may_mount

KILLED = 128
"""To which the number of a signal is added, as shells do."""
OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to all who are in the foreground, so the command has them already."""
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


class NoSuchCommand(UserError):  # noqa: N818 - reads as what is the matter
    """A command that cannot be started."""


def join(pid: int) -> None:
    """Makes this process see what *pid* sees mounted; for good, and only while it has one thread.

    Raises HostError when that process is gone, or another user's.
    """
    # Who may mount anyway needs no rights in there, and would lose his own by taking them.
    wanted = {"mnt": NEW_MOUNTS} if may_mount() else {"user": NEW_USERS, "mnt": NEW_MOUNTS}
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with ExitStack() as stack:
            # All before the first: who has gone in looks at `/proc` with other rights.
            opened = []
            for name, kind in wanted.items():
                handle = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, handle)
                opened.append((handle, kind))
            for handle, kind in opened:
                called(libc.setns(handle, kind), "setns")
    except OSError as error:
        what = f"the namespace of process {pid} cannot be entered: {error.strerror}"
        raise HostError(what, hint="try again: it may have ended just now") from error


def run_for_person(command: Sequence[str], place: Path, environment: Mapping[str, str]) -> int:
    """Runs *command* at *place* with the streams of this process; returns its exit code, as a shell has it.

    What the terminal sends is its own business; what asks this process to end is passed on. Raises
    NoSuchCommand.
    """
    try:
        # What it may do, it may as the plain user: rights in a namespace end where something is executed.
        process = subprocess.Popen(list(command), cwd=place, env=dict(environment))
    except OSError as error:
        what = f"{command[0]} cannot be started in {place}: {error.strerror}"
        raise NoSuchCommand(what, hint="a script needs a shell: `-- sh -c '...'`") from error
    with _heeding(process):
        code = process.wait()
    return code if code >= 0 else KILLED - code


@contextmanager
def _heeding(process: subprocess.Popen[bytes]) -> Iterator[None]:
    def pass_on(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    def ignore(_: int, __: FrameType | None) -> None:
        """Does nothing; a handler, because to be deaf to a signal is inherited."""

    before = {number: signal.signal(number, ignore) for number in OF_THE_TERMINAL}
    before |= {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
