"""The verb that shows what conflicts, and how that was resolved before: conflicts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from stratum_git.app.conflicts import conflicts as parked
from stratum_git.app.remembered import forget, remembered
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.words import safe
from stratum_git.errors import UserError
from stratum_git.model.ids import FlowId, Json

Row: TypeAlias = Mapping[str, Any]

BOLD, RED, GREEN, CYAN, DIM = "1", "31", "32", "36", "2"
SIDES = (("base", "|", DIM), ("ours", "<", RED), ("theirs", ">", GREEN))
SHORT = 10
AROUND = 3


def conflicts_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``conflicts``."""
    parser.add_argument("flow", nargs="?", metavar="FLOW", help="the id of a flow")
    parser.add_argument("task", nargs="?", metavar="TASK", help="the id of a task, or of a step")
    parser.add_argument("--context", type=int, default=0, metavar="N", help="lines around a hunk, 3 at most")
    parser.add_argument("--remembered", action="store_true", help="list the resolutions that are remembered")
    parser.add_argument("--forget", metavar="PATH|DIGEST", help="forget a resolution, or those of a path")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def conflicts(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints what conflicts, or what is remembered; 1 when that is nothing."""
    around = Surroundings(cwd, environment)
    asked = sum((options.flow is not None, options.remembered, options.forget is not None))
    if asked != 1:
        raise UserError("`conflicts` takes a FLOW, or --remembered, or --forget", hint="name one of them")
    if options.flow is None:
        rows = remembered(around) if options.remembered else forget(around, options.forget)
        return _told(rows, _known(rows), is_json=options.json)
    context = max(0, min(options.context, AROUND))
    rows = parked(around, FlowId(options.flow), options.task, context)
    is_coloured = sys.stdout.isatty() and not environment.get("NO_COLOR")
    return _told(rows, (line for row in rows for line in _conflict(row, is_coloured)), is_json=options.json)


def _told(rows: list[dict[str, Json]], lines: Iterable[str], *, is_json: bool) -> int:
    if is_json:
        print(json.dumps(rows, indent=2))
    else:
        for line in lines:
            print(line)
    return 0 if rows else 1


def _known(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        result = "deleted" if row["result"] is None else row["result"]["oid"][:SHORT]
        where = "/".join(filter(None, (row["flow_id"], row["step_id"], row["task_id"])))
        yield safe(f"{row['digest'][:12]} {row['path']} -> {result}, by {row['rung']} {row['by']} in {where}")


def _conflict(row: Row, is_coloured: bool) -> Iterator[str]:  # noqa: FBT001 - private, named by its caller
    def ink(text: str, colour: str) -> str:
        return f"\033[{colour}m{safe(text)}\033[0m" if is_coloured else safe(text)

    name = row["task_id"] or row["step_id"]
    yield f"{ink(row['title'], BOLD)}  ({name}, parked as {row['conflict'][:SHORT]})"
    for line in row["intent"].splitlines()[:AROUND]:
        yield safe(f"  {name} wants: {line}")
    for file in row["files"]:
        yield f"  {ink(file['path'], CYAN)}: {safe(file['kind'])}"
        for other in file["against"]:
            of = f", task {other['task_id']}" if other["task_id"] else f", by {other['author']}"
            yield safe(f"    against {other['title']} ({other['commit'][:SHORT]}{of})")
        for line in file["words"].splitlines():
            yield safe(f"    {line}")
        for hunk in file["hunks"]:
            yield from (f"    {line}" for line in _hunk(hunk, ink))
        if file["more"]:
            yield safe(f"    and {file['more']} more: git show {row['conflict'][:SHORT]}:{file['path']}")
    for mend in row["mended"]:
        yield safe(f"  merged already: {mend['path']}, by {mend['rung']} {mend['by']}")
    for mend in row["tried"]:
        yield safe(f"  tried: {mend['path']}, {mend['rung']} {mend['by']}")
    yield safe(f"  next: {row['next']}")


def _hunk(hunk: Row, ink: Any) -> Iterator[str]:
    was, ours, theirs = (_lines(hunk[name]) for name, _, _ in SIDES)
    yield f"@@ was {was}, target {ours}, result {theirs} @@"
    yield from (f"  {safe(line.rstrip())}" for line in hunk["before"])
    for name, mark, colour in SIDES:
        yield from (ink(f"{mark} {line.rstrip()}", colour) for line in hunk[name]["lines"])
    yield from (f"  {safe(line.rstrip())}" for line in hunk["after"])


def _lines(part: Row) -> str:
    start, count = part["start"], len(part["lines"])
    if count == 0:
        return f"none at {start}"
    return str(start) if count == 1 else f"{start}-{start + count - 1}"
