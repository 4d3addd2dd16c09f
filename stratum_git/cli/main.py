"""Reads the command line, calls the verb, and turns what went wrong into words and an exit code.

Verbs are loaded late: ``query`` and the hooks must not pay for what only ``run`` needs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pwd
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from stratum_git import __version__
from stratum_git.cli.words import say
from stratum_git.errors import BugError, HostError, StratumError, UserError, as_host_error

YES, NO, ASKED_WRONGLY, WORLD_FAILED, OUR_BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130

VERBS: dict[str, tuple[str, str, str]] = {
    # verb: (module, one line, example)
    "run": ("running", "Runs a flow and lands results.", "stratum-git run SPEC --agent default='claude -p'"),
    "validate": ("checking", "Checks specs and names every problem.", "stratum-git validate *.stratum.yaml"),
    "estimate": ("estimating", "Says what a flow will do and take.", "stratum-git estimate SPEC --input K=V"),
    "compile": ("writing", "Makes a spec of task files.", "stratum-git compile specs/tasks --parallel"),
    "migrate": ("writing", "Rewrites a spec in another version.", "stratum-git migrate old.stratum.yaml"),
    "query": ("querying", "Tells what is going on, as JSON.", "stratum-git query flow docs-1a2b3c"),
    "log": ("history", "Shows the history of a flow.", "stratum-git log docs-1a2b3c"),
    "diff": ("reading", "Shows what a task changed.", "stratum-git diff docs-1a2b3c api"),
    "logs": ("reading", "Shows what an agent printed.", "stratum-git logs docs-1a2b3c api --attempt 1"),
    "conflicts": ("conflicts", "Shows what conflicts.", "stratum-git conflicts docs-1a2b3c api"),
    "salvage": ("salvaging", "Has back what an attempt left.", "stratum-git salvage docs-1a2b3c api"),
    "land": ("landing", "Lands what a flow has left.", "stratum-git land docs-1a2b3c --dry-run"),
    "undo": ("landing", "Takes what a flow landed off its target.", "stratum-git undo docs-1a2b3c --dry-run"),
    "resolve": ("resolving", "Resolves a conflict by hand.", "stratum-git resolve docs-1a2b3c api"),
    "gc": ("collecting", "Removes what old flows left.", "stratum-git gc --older-than 30d --dry-run"),
    "resume": ("running", "Takes a flow up where it stands.", "stratum-git resume docs-1a2b3c"),
    "cancel": ("running", "Stops a flow, or one task of it.", "stratum-git cancel docs-1a2b3c api"),
    "session": ("sessions", "Has one agent do something.", "stratum-git session run 'mend the build'"),
    "mcp": ("serving", "Serves an MCP client on standard input.", "stratum-git mcp"),
    "install": ("installing", "Puts it where your client looks.", "stratum-git install --dry-run"),
    "uninstall": ("installing", "Takes it out of your client again.", "stratum-git uninstall"),
    "doctor": ("examining", "Looks whether all is well.", "stratum-git doctor"),
    "hook": ("hooking", "Answers a hook of the client's.", "stratum-git hook stop < event.json"),
    "gate": ("deciding", "Decides at a gate.", "stratum-git gate approve docs-1a2b3c review"),
}  # fmt: skip
FOR_PROGRAMS = ("query", "gate")
"""Verbs that always answer in JSON, errors included."""


class UsageError(UserError):
    """The command line cannot be understood."""

    word = "USAGE"


class Parser(argparse.ArgumentParser):
    """Raises what argparse would print: programs are told in JSON, and all exit codes are given here."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(message, hint=f"see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line *argv* and returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    wants_json = "--json" in arguments or _verb(arguments) in FOR_PROGRAMS
    try:
        return _run(arguments)
    except StratumError as error:
        return _report(error, as_json=wants_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return YES
    except Exception as error:  # noqa: BLE001 - whatever else comes this far is a mistake of ours
        failed = as_host_error(error) if isinstance(error, OSError) else None
        if failed is not None:
            return _report(failed, as_json=wants_json)
        # The traceback is what a report needs; exit code 1 would say "no" to a script.
        traceback.print_exc()
        return _report(BugError("this is a mistake of stratum-git's; please report it"), as_json=wants_json)


def _run(arguments: list[str]) -> int:
    verb = _verb(arguments)
    parser = Parser(
        prog="stratum-git",
        description="Fans a task graph out to parallel agents in worktrees and lands one verified history.",
        epilog="`stratum-git VERB --help` explains a verb. Exit codes: 0 yes, 1 no, 2 asked wrongly or "
        "conflict, 3 the world failed, 70 a bug, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"stratum-git {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, (module, line, example) in VERBS.items():
        child = verbs.add_parser(name, help=line, description=line, epilog=f"Example: {example}")
        if name == verb:
            loaded = _loaded(f"stratum_git.cli.{module}")
            child.set_defaults(call=getattr(loaded, name))
            getattr(loaded, f"{name}_arguments")(child)
    options = parser.parse_args(arguments)
    if options.verb is None:
        parser.print_help()
        return YES
    return int(options.call(options, Path.cwd(), _environment()))


def _environment() -> dict[str, str]:
    # Services and `env -i` have no HOME. Clients and ssh then look it up; without it, files of the user's
    # would be sought, and written, in the root folder.
    given = dict(os.environ)
    if not given.get("HOME"):
        with suppress(KeyError):
            given["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    return given


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
