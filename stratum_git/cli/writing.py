"""The verbs that write specs: compile, migrate. They need no repository."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app.migrating import rewrite
from stratum_git.app.speckit import NoTasksError, compile_folder
from stratum_git.app.writing import write_whole
from stratum_git.cli.words import say
from stratum_git.core.migrate import Refused
from stratum_git.core.shape import VERSIONS

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
        say(f"error: {error.message}", to=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return NO
    if options.output is None:
        print(made.text, end="")
    else:
        write_whole(options.output, made.text.encode())
        print(f"Written to {options.output}")
    return YES


def migrate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``migrate``."""
    latest = VERSIONS[-1]
    parser.add_argument("file", type=Path, metavar="FILE", help="a spec file")
    parser.add_argument(
        "--to", choices=VERSIONS, default=latest, help=f"the version to write (default: {latest})"
    )
    parser.add_argument("--output", type=Path, metavar="F", help="the file to write (default: FILE itself)")
    parser.add_argument("--dry-run", action="store_true", help="print what would change, and write nothing")


def migrate(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Rewrites a spec in another version; 1 when it cannot be, and then nothing is written."""
    del cwd, environment
    found = rewrite(options.file, options.to)
    if isinstance(found, Refused):
        _tell(options.file, options.to, found)
        return NO
    target = options.output or options.file
    was, line = found.migrated.was, found.migrated.line
    if options.dry_run:
        print(found.diff(), end="")
        return YES
    if options.output is not None or was != options.to:
        write_whole(target, found.migrated.text.encode())
    changed = f"line {line} says version {options.to} instead of {was}; the rest is as it was"
    print(f"{target}: {changed if was != options.to else f'version {was} already; nothing changed'}")
    return YES


def _tell(file: Path, to: str, refused: Refused) -> None:
    say(f"error: {file} was not migrated to version {to}: {refused.why}", to=sys.stderr)
    for problem in refused.problems:
        where = f"{file}:{problem.line}" if problem.line else str(file)
        path = f" {problem.path}:" if problem.path else ""
        hint = f" ({problem.hint})" if problem.hint else ""
        say(f"  {where}:{path} {problem.message}{hint}", to=sys.stderr)
    if refused.hint:
        say(f"hint: {refused.hint}", to=sys.stderr)
