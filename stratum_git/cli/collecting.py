"""The verb that removes what has been kept for long enough: gc."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app.quiet import give_back_quiet
from stratum_git.app.retention import Removed, age, retain
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer
from stratum_git.cli.words import say
from stratum_git.model.ids import Json

YES, NO = 0, 1


def gc_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``gc``."""
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        help="how long a flow has to be over: 30d, 12h, 0s; `retention` of the settings if left out, or 30d",
    )
    parser.add_argument("--flows", action="store_true", help="remove the flows too, with their history")
    parser.add_argument(
        "--worktrees",
        action="store_true",
        help="take back those of Claude Code whose sessions are over, however young; their work stays",
    )
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, say what would be")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def gc(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints what was removed; 1 when not all could be that was to be."""
    older_than = None if options.older_than is None else age(options.older_than)
    around = Surroundings(cwd, environment)
    slots = give_back_quiet(around, older_than, dry_run=options.dry_run)
    removed = retain(
        around, older_than, flows=options.flows, worktrees=options.worktrees, dry_run=options.dry_run
    )
    if options.json:
        more: dict[str, Json] = {"slots": [*slots]} if slots else {}
        answer({"dry_run": options.dry_run, **removed.row(), **more})
    else:
        for path in slots:
            say(f"{'would give' if options.dry_run else 'gave'} back {path}, of a session that rests")
        _tell(removed, "would delete" if options.dry_run else "deleted")
    return YES if removed.is_all else NO


def _tell(removed: Removed, did: str) -> None:
    for ref, oid in removed.refs.items():
        say(f"{did} {ref}, which was at {oid}")
    for path in removed.paths:
        say(f"{did} {path}")
    for what, why in removed.kept.items():
        say(f"kept {what}: {why}")
    if not removed.is_all:
        say("not all could be deleted; call it again")
    say(f"{did} {len(removed.refs)} refs and {len(removed.paths)} files of {len(removed.flows)} flows")
