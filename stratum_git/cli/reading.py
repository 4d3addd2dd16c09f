"""The verbs that show what an attempt did: diff, logs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import reading
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.words import safe, say
from stratum_git.model.ids import FlowId


def diff_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``diff``."""
    _attempt_arguments(parser)


def diff(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints a patch; 1 when it is empty."""
    around = Surroundings(cwd, environment)
    found = reading.diff(around, FlowId(options.flow), options.task, options.attempt)
    sys.stdout.buffer.write(f"{safe(found)}\n".encode() if sys.stdout.isatty() else found)
    sys.stdout.flush()
    return 0 if found else 1


def logs_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``logs``."""
    _attempt_arguments(parser)


def logs(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints what an agent printed."""
    # Settings say where logs are, and only this verb needs those.
    from stratum_git.app.logs import log_file, told_beside

    around = Surroundings(cwd, environment)
    path = log_file(around, FlowId(options.flow), options.task, options.attempt)
    try:
        data = path.read_bytes()
        # What goes into a file or a program is as it was; a terminal would do what an agent tells it to.
        sys.stdout.buffer.write(f"{safe(data)}\n".encode() if sys.stdout.isatty() else data)
    except FileNotFoundError:
        told = "".join(told_beside(path))
        if not told:
            print(f"{path} is not there: the agent was not started", file=sys.stderr)
            return 1
        say(told.rstrip("\n"))
    sys.stdout.flush()
    return 0


def _attempt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("task", metavar="TASK", help="the id of a task, or of a step that one agent did")
    parser.add_argument("--attempt", type=int, metavar="N", help="which attempt; the last one if left out")
