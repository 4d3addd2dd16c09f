"""The verbs for what comes after a landing: land, undo."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import late, undoing
from stratum_git.app.rows import landed_row, undone_row
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer
from stratum_git.cli.words import say
from stratum_git.git.figures import Figures, Size, sum_of
from stratum_git.model.ids import FlowId
from stratum_git.model.messages import DroppedResult, LandedResult, LandingEntry, ParkedResult

YES, NO = 0, 1
SHORT = 10


def land_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``land``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument(
        "task", nargs="*", metavar="TASK", help="only these; all that is left if none is named"
    )
    parser.add_argument(
        "--strategy",
        choices=("sequential_apply", "squash", "rebase"),
        help="how results become commits; as the step says if left out",
    )
    parser.add_argument("--dry-run", action="store_true", help="move nothing, show what would land, and how")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def land(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Lands what a flow has left; 0 when all of it is on its target, 1 when some is not."""
    around = Surroundings(cwd, environment)
    request = late.Request(tuple(options.task), options.strategy, options.dry_run)
    report = late.land(around, FlowId(options.flow), request)
    if options.json:
        answer(landed_row(report))
    else:
        _tell_landed(report)
    return YES if _is_all(report) else NO


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
        answer(undone_row(report))
    else:
        _tell_undone(report)
    return NO if report.blocked else YES


def _is_all(report: late.LandReport) -> bool:
    """Returns whether everything that was asked for is on its target, or would be."""
    if any(one.findings or one.blocked or one.unready for one in report.steps):
        return False
    entries = [entry for one in report.steps for entry in one.entries]
    is_placed = all(isinstance(entry, LandedResult) for entry in entries)
    return is_placed and all(why == late.LANDED for why in report.others.values())


def _tell_landed(report: late.LandReport) -> None:
    for one in report.steps:
        _tell_step(one, is_dry=report.is_dry)
    for task, why in report.others.items():
        say(f"{task} {why}")
    if not report.steps and not report.others:
        say(f"nothing of the flow {report.flow} is left to land")
    if report.went_on and report.status == "running":
        say(f"The flow goes on: `stratum-git resume {report.flow}`")
    elif report.went_on:
        say(f"The flow is {report.status}.")


def _tell_step(one: late.StepLanding, *, is_dry: bool) -> None:
    name = one.target.removeprefix("refs/heads/")
    verb = "would be" if is_dry else "is"
    if one.old != one.new:
        say(f"{one.step}: {name} {verb} at {one.new[:SHORT]}, tree {one.tree[:SHORT]}, by {one.strategy}:")
        for commit in one.commits:
            say(f"  {told(commit)}")
        say(f"  in all {sized(sum_of(one.files))}:")
        for file in one.files:
            counts = "binary" if file.insertions is None else f"+{file.insertions} -{file.deletions}"
            say(f"    {file.path}  {counts}")
    else:
        say(f"{one.step}: {name} {'would stay' if is_dry else 'stays'} at {one.old[:SHORT]}")
    for entry in (*one.entries, *one.unready):
        line = _unlanded(one, entry)
        if line:
            say(f"  {line}")
    for finding in one.findings:
        say(f"  nothing lands: {finding}")
    if one.blocked:
        say(f"  in the way now: {one.blocked}")
    for note in one.notes:
        say(f"  a checkout did not follow: {note}")


def _unlanded(one: late.StepLanding, entry: LandingEntry) -> str:
    """Returns what keeps a result from landing; nothing for one that lands."""
    task = entry.task or one.step
    match entry:
        case LandedResult(commit=commit):
            return "" if commit else f"{task}: nothing to land, {one.target} has it"
        case ParkedResult(paths=paths):
            return f"{task}: parked, it conflicts in {', '.join(paths)}"
        case DroppedResult(findings=findings):
            return f"{task}: left out: {'; '.join(findings)}"


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


def told(one: Figures) -> str:
    """Returns a commit in a line."""
    subject, author = one.commit.message.partition("\n")[0], one.commit.author
    return f"{one.commit.oid[:SHORT]} {subject} ({author.name} <{author.email}>, {sized(one.size)})"


def sized(size: Size) -> str:
    """Returns the figures of a change in words."""
    files = f"{size.files} file" if size.files == 1 else f"{size.files} files"
    return f"{files}, +{size.insertions} -{size.deletions}"
