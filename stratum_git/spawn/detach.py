"""Starts a program that outlives whoever started it: in a session of its own, with its output in a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from stratum_git.errors import HostError

PATIENCE = 30.0
# The shell ends at once and hands its child to init: nobody is left with a process that he has to wait for.
SCRIPT = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'


def detach(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> int:
    """Starts *command* and returns its process, which is nobody's child; raises HostError if that fails."""
    try:
        # Made here: its owner alone may read it, and the program keeps the caller's umask.
        os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as error:
        raise HostError(f"the log {log} cannot be made: {error.strerror}") from error
    words = ["sh", "-c", SCRIPT, "sh", str(log), *command]
    try:
        said = subprocess.run(
            words,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise HostError(f"{command[0]} could not be started: {error}") from error
    return int(said.stdout)


def is_there(process: int) -> bool:
    """Returns whether a process has not ended."""
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True
