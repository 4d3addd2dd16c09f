"""The verbs that put stratum-git where a client looks, and take it out: install, uninstall."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from stratum_git.app.installing import Installation, install_plugin, uninstall_plugin
from stratum_git.app.installing import install as installed
from stratum_git.app.installing import uninstall as uninstalled
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.words import say
from stratum_git.errors import UserError
from stratum_git.install.assembly import Wanted
from stratum_git.install.others import CLIENTS, entry_for
from stratum_git.install.places import SCOPES
from stratum_git.install.program import program_of
from stratum_git.model.ids import Json

DONE, REFUSED = 0, 2
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Clients make parts of tools' names of it, and replace what is not in here."""
WORDS = {"create": "Wrote", "change": "Changed", "delete": "Deleted"}
WOULD = {"create": "Would write", "change": "Would change", "delete": "Would delete"}


def install_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``install``."""
    _shared(parser)
    parser.add_argument("--name", default="stratum", metavar="N", help="the server's name (default: stratum)")
    parser.add_argument("--program", metavar="CMD", help="how entries call it (default: as PATH has it)")

    parser.add_argument(
        "--print",
        dest="client",
        nargs="?",
        const="all",
        choices=("all", *CLIENTS),
        help="print the entry for another client, and write nothing",
    )


def uninstall_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``uninstall``."""
    _shared(parser)


def install(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Puts stratum-git where the client looks; 2 when a file is in the way: then nothing is written."""
    if not NAME.fullmatch(options.name):
        raise UserError(f"{options.name!r} is no name for a server", hint="letters, digits, - and _")
    wanted = Wanted(options.name, program_of(environment, options.program), options.force)
    if options.client is not None:
        return _print(options, wanted)
    around = Surroundings(cwd, environment)
    if options.plugin is None:
        return _tell(installed(around, options.scope, wanted, dry_run=options.dry_run), options)
    done = install_plugin(
        around, options.plugin, wanted.program, force=options.force, dry_run=options.dry_run
    )
    return _tell(done, options)


def uninstall(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Takes stratum-git out again; 2 when a file stands in the way, and then nothing is written."""
    wanted = Wanted("stratum", program_of(environment), options.force)
    around = Surroundings(cwd, environment)
    if options.plugin is None:
        return _tell(uninstalled(around, options.scope, wanted, dry_run=options.dry_run), options)
    done = uninstall_plugin(
        around, options.plugin, wanted.program, force=options.force, dry_run=options.dry_run
    )
    return _tell(done, options)


def _shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        default="project",
        help="for whoever has the project, for you everywhere, or for you in it (default: project)",
    )
    parser.add_argument(
        "--plugin", type=Path, metavar="DIR", help="a folder for a plugin of Claude Code, instead of a scope"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would change, and write nothing")
    parser.add_argument("--force", action="store_true", help="also what somebody has changed, or put there")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def _print(options: argparse.Namespace, wanted: Wanted) -> int:
    """Prints entries on standard output, and what to do with them on the other one."""
    clients = CLIENTS if options.client == "all" else (options.client,)
    entries = [entry_for(client, wanted.name, wanted.program) for client in clients]
    if options.json:
        print(json.dumps([entry.row() for entry in entries], indent=2, ensure_ascii=False))
        return DONE
    for entry in entries:
        said = f"{entry.client}: this belongs into {entry.file}"
        say(f"{said}, or: {entry.command}" if entry.command else said, to=sys.stderr)
        sys.stderr.flush()
        print(entry.text, end="", flush=True)
    if wanted.program.remark:
        say(wanted.program.remark, to=sys.stderr)
    return DONE


def _tell(done: Installation, options: argparse.Namespace) -> int:
    code = REFUSED if done.result == "refused" else DONE
    if options.json:
        print(json.dumps(_row(done, options.verb, dry_run=options.dry_run), indent=2, ensure_ascii=False))
        return code
    if done.result == "refused":
        for refusal in done.refusals:
            say(f"error: {refusal.path}: {refusal.why}", to=sys.stderr)
            say(f"hint: {refusal.hint}", to=sys.stderr)
        say("Nothing was written.", to=sys.stderr)
        return code
    if options.dry_run:
        print(done.diff(), end="")
    words = WOULD if options.dry_run else WORDS
    out = sys.stderr if options.dry_run else sys.stdout
    for line in _lines(done, words):
        say(line, to=out)
    for kept in done.kept:
        say(f"Left {kept.path}: {kept.why}; {kept.hint}", to=out)
    say(_end(done, options.verb), to=out)
    for remark in done.remarks:
        say(remark, to=out)
    return code


def _lines(done: Installation, words: Mapping[str, str]) -> Iterator[str]:
    """Gives a line for each file, but one for all that lie in the same folder of folders."""
    groups: dict[tuple[str, Path], list[Path]] = {}
    for change in done.changes:
        inner = change.path.relative_to(done.root) if change.path.is_relative_to(done.root) else change.path
        top = next((part for part in inner.parts if part in ("skills", "agents", "hooks")), None)
        above = change.path if top is None else done.root.joinpath(*inner.parts[: inner.parts.index(top) + 1])
        groups.setdefault((change.action, above), []).append(change.path)
    for (action, path), paths in groups.items():
        many = f"{len(paths)} files in {path}"
        yield f"{words[action]} {path if paths == [path] else many}"


def _end(done: Installation, verb: str) -> str:
    if done.result == "unchanged":
        what = "there already" if verb == "install" else "not there"
        return f"Nothing to do: stratum-git is {what} ({done.scope} scope, {done.root})."
    if done.result == "planned":
        return "Nothing was written."
    if verb == "uninstall":
        return "stratum-git is out again."
    how = f"--plugin {shlex.quote(str(done.root))}" if done.scope == "plugin" else f"--scope {done.scope}"
    undo = f"`stratum-git uninstall {how}` takes it back"
    return f"{undo}; what was there before is in {done.record}."


def _row(done: Installation, verb: str, *, dry_run: bool) -> dict[str, Json]:
    files: list[Json] = [{"path": str(c.path), "action": c.action} for c in done.changes]
    return {
        "verb": verb,
        "result": done.result,
        "scope": done.scope,
        "root": str(done.root),
        "files": files,
        "kept": [{"path": str(k.path), "why": k.why, "hint": k.hint} for k in done.kept],
        "refused": [{"path": str(r.path), "why": r.why, "hint": r.hint} for r in done.refusals],
        "remarks": list(done.remarks),
        "record": None if done.record is None else str(done.record),
        **({"diff": done.diff()} if dry_run else {}),
    }
