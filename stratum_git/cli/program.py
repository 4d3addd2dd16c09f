"""Reads the command line, calls the verb, and turns what went wrong into words and an exit code.

Verbs are loaded late: ``query`` must not pay for what only ``run`` needs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from stratum_git import __version__
from stratum_git.cli.variables import environment
from stratum_git.cli.words import say
from stratum_git.errors import BugError, HostError, StratumError, UserError, as_host_error

YES, NO, ASKED_WRONGLY, WORLD_FAILED, OUR_BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130
Verbs = Mapping[str, tuple[str, str, str]]
"""For each verb its module, a line about it, and an example."""
FOR_PROGRAMS = ("query", "gate")
"""Verbs that always answer in JSON, errors included."""


class UsageError(UserError):
    """The command line cannot be understood."""

    word = "USAGE"


class Parser(argparse.ArgumentParser):
    """Raises what argparse would print: programs are told in JSON, and all exit codes are given here."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, formatter_class=_formatter)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(message, hint=f"see `{self.prog} --help`")


class Program(Parser):
    """The parser of everything. Its help is the one that is printed at once where nothing else is asked."""

    about = ""

    def format_help(self) -> str:
        """Returns what the program is, and its verbs."""
        return self.about


def _formatter(prog: str) -> argparse.HelpFormatter:
    # One is made for each argument there is, and without a width it loads what compresses archives.
    told = os.environ.get("COLUMNS", "")
    columns = int(told) if told.isdecimal() else 0
    with suppress(OSError, ValueError):
        columns = columns or os.get_terminal_size(sys.stdout.fileno()).columns
    return argparse.HelpFormatter(prog, width=(columns or 80) - 2)


def run(arguments: list[str], verbs: Verbs, about: str) -> int:
    """Runs a command line and returns the exit code."""
    wants_json = "--json" in arguments or _verb(arguments) in FOR_PROGRAMS
    try:
        return _run(arguments, verbs, about)
    except StratumError as error:
        return _report(error, as_json=wants_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return YES
    except Exception as error:  # noqa: BLE001 - whatever else comes this far is a mistake of ours
        return failed(error, as_json=wants_json)


def failed(error: Exception, *, as_json: bool = False) -> int:
    """Tells of what nobody caught, and returns the exit code."""
    world = as_host_error(error) if isinstance(error, OSError) else None
    if world is not None:
        return _report(world, as_json=as_json)
    import traceback

    # The traceback is what a report needs; exit code 1 would say "no" to a script.
    traceback.print_exception(error)
    return _report(BugError("this is a mistake of stratum-git's; please report it"), as_json=as_json)


def _run(arguments: list[str], verbs: Verbs, about: str) -> int:
    verb = _verb(arguments)
    parser = Program(prog="stratum-git")
    parser.about = about
    parser.add_argument("--version", action="version", version=f"stratum-git {__version__}")
    # With its name given, none has to be made up of a help that nobody asked for, which loads more than this.
    children = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser, prog=parser.prog)
    wanted = verbs if verb is None or verb not in verbs else {verb: verbs[verb]}
    for name, (module, line, example) in wanted.items():
        child = children.add_parser(name, help=line, description=line, epilog=f"Example: {example}")
        if name == verb:
            loaded = _loaded(f"stratum_git.cli.{module}")
            child.set_defaults(call=getattr(loaded, name))
            getattr(loaded, f"{name}_arguments")(child)
    options = parser.parse_args(arguments)
    if options.verb is None:
        parser.print_help()
        return YES
    return int(options.call(options, Path.cwd(), environment()))


def _verb(arguments: Sequence[str]) -> str | None:
    return next((word for word in arguments if not word.startswith("-")), None)


def _loaded(name: str) -> ModuleType:
    # What is loaded stays: to look through it for garbage, now and ever again, costs a sixth of the server's
    # start, and twentieths of a second in between calls.
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def _report(error: StratumError, *, as_json: bool) -> int:
    code = _code(error)
    problems = [
        {"path": p.path, "message": p.message, "line": p.line, "hint": p.hint}
        for p in getattr(error, "problems", ())
    ]
    if as_json:
        row = {"code": error.word or type(error).__name__, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": row | ({"problems": problems} if problems else {})}, indent=2))
        return code
    say(f"error: {error.message}", to=sys.stderr)
    for problem in problems if len(problems) > 1 else ():
        say(f"  line {problem['line']}: {problem['path']}: {problem['message']}", to=sys.stderr)
    if error.hint:
        say(f"hint: {error.hint}", to=sys.stderr)
    return code


def _code(error: StratumError) -> int:
    match error:
        case UserError():
            return ASKED_WRONGLY
        case HostError():
            return WORLD_FAILED
        case BugError():
            return OUR_BUG
        case _:
            return OUR_BUG
