"""The verbs for what comes after a landing: land, undo."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import undoing
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer
from stratum_git.cli.words import say
from stratum_git.git.figures import Figures, Size
from stratum_git.model.ids import FlowId, Json

YES, NO = 0, 1
SHORT = 10


def undo_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``undo``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow that is over")
    parser.add_argument("--dry-run", action="store_true", help="move nothing, say what would be undone")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def undo(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Puts the targets of a flow back; 0 when they are back, however often it is asked."""
    around = Surroundings(cwd, environment)
    report = undoing.undo(around, FlowId(options.flow), is_dry=options.dry_run)
    if options.json:
        answer(_undone_row(report))
    else:
        _tell_undone(report)
    return NO if report.blocked else YES


def _undone_row(report: undoing.UndoReport) -> Json:
    targets: list[Json] = [
        {
            "target": one.target,
            "old": one.old,
            "new": one.new,
            "was_undone": one.is_done,
            "commits": [commit_row(commit) for commit in one.commits],
        }
        for one in report.targets
    ]
    head: dict[str, Json] = {"flow_id": report.flow, "dry_run": report.is_dry, "targets": targets}
    return {**head, "blocked": report.blocked, "notes": list(report.notes)}


def _tell_undone(report: undoing.UndoReport) -> None:
    for one in report.targets:
        name = one.target.removeprefix("refs/heads/")
        if one.is_done:
            say(f"{name} was put back already, to {one.new[:SHORT]}")
            continue
        did = "would be put back" if report.is_dry else "is back"
        say(f"{name} {did} at {one.new[:SHORT]}, from {one.old[:SHORT]}; not on it any more:")
        for commit in one.commits:
            say(f"  {told(commit)}")
    if report.blocked:
        say(f"in the way now: {report.blocked}")
    for note in report.notes:
        say(f"a checkout did not follow: {note}")
    if not report.is_dry:
        say(f"The results are kept; `stratum-git land {report.flow}` lands them again.")


def commit_row(one: Figures) -> dict[str, Json]:
    """Returns a commit with its figures, for programs."""
    author = one.commit.author
    return {
        "commit": one.commit.oid,
        "subject": one.commit.message.partition("\n")[0],
        "author": {"name": author.name, "email": author.email},
        **size_row(one.size),
    }


def size_row(size: Size) -> dict[str, Json]:
    """Returns the figures of a change, for programs."""
    return {"files": size.files, "insertions": size.insertions, "deletions": size.deletions}


def told(one: Figures) -> str:
    """Returns a commit in a line."""
    subject, author = one.commit.message.partition("\n")[0], one.commit.author
    return f"{one.commit.oid[:SHORT]} {subject} ({author.name} <{author.email}>, {sized(one.size)})"


def sized(size: Size) -> str:
    """Returns the figures of a change in words."""
    files = f"{size.files} file" if size.files == 1 else f"{size.files} files"
    return f"{files}, +{size.insertions} -{size.deletions}"
