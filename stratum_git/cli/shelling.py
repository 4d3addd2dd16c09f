"""The verb that lets a person into a slot: shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app.surroundings import Surroundings
from stratum_git.app.visiting import visiting
from stratum_git.cli.words import say
from stratum_git.model.ids import FlowId
from stratum_git.spawn.visit import run_for_person

FALLBACK = "/bin/sh"


def shell_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``shell``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("task", metavar="TASK", help="the id of a task, or of a step that one agent does")
    parser.add_argument("--attempt", type=int, metavar="N", help="which attempt; the last one if left out")
    parser.add_argument(
        "command", nargs="*", metavar="COMMAND", help="what to run there, after `--`; $SHELL if left out"
    )


def shell(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Runs a command, or a shell, in the slot of an attempt; answers with its exit code."""
    around = Surroundings(cwd, environment)
    command = options.command or [environment.get("SHELL") or FALLBACK]
    with visiting(around, FlowId(options.flow), options.task, options.attempt) as visit:
        # Standard output is the command's own.
        if not options.command:
            say(visit.welcome, to=sys.stderr)
        sys.stderr.flush()
        code = run_for_person(command, visit.path, visit.environment(around))
    for line in visit.told:
        say(line, to=sys.stderr)
    return code
