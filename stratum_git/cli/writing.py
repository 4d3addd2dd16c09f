"""The verbs that write specs: compile, migrate. They need no repository."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app.speckit import NoTasksError, compile_folder
from stratum_git.app.writing import write_whole

YES, NO = 0, 1


def compile_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``compile``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder of task files, *.md")
    parser.add_argument("--output", type=Path, metavar="F", help="the file to write (default: print it)")
    parser.add_argument("--flow", default="tasks", metavar="N", help="the name of the flow (default: tasks)")
    parser.add_argument("--parallel", action="store_true", help="run tasks marked [P] beside each other")


def compile(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:  # noqa: A001 - the verb
    """Makes a spec of task files; 1 when they make none."""
    del cwd, environment
    try:
        made = compile_folder(options.folder, options.flow, parallel=options.parallel)
    except NoTasksError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return NO
    if options.output is None:
        print(made.text, end="")
    else:
        write_whole(options.output, made.text.encode())
        print(f"Written to {options.output}")
    return YES
