"""The verb that has back what attempts left: salvage."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stratum_git.app import salvage as salvaging
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer
from stratum_git.cli.words import say
from stratum_git.model.ids import FlowId

FEW = 20
YES, NO = 0, 1


def salvage_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``salvage``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("task", metavar="TASK", help="the id of a task, or of a step that one agent did")
    parser.add_argument("--attempt", type=int, metavar="N", help="which attempt; the last one if left out")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--branch", metavar="NAME", help="make a new branch at what it left")
    where.add_argument("--into", type=Path, metavar="DIR", help="write its files into a new or empty folder")
    where.add_argument("--list", action="store_true", help="say what there is, as without a destination")
    parser.add_argument(
        "--staged", action="store_true", help="what was staged, unmerged or noted, instead of the files"
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def salvage(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Restores what an attempt left, or says what there is; 1 when that is nothing."""
    estate = salvaging.survey(Surroundings(cwd, environment), FlowId(options.flow), options.task)
    if options.branch is None and options.into is None:
        return _list(salvaging.listing(estate, options.attempt), as_json=options.json)
    if options.branch is not None:
        done = salvaging.to_branch(estate, options.branch, options.attempt, staged=options.staged)
        said = f"the branch {options.branch} is at attempt {done.attempt}, {done.commit}"
    else:
        done = salvaging.to_folder(estate, cwd / options.into, options.attempt, staged=options.staged)
        said = f"{done.files} files of attempt {done.attempt} are in {options.into}"
    if options.json:
        return answer(done.row())
    say(said)
    return YES


def _list(row: dict[str, Any], *, as_json: bool) -> int:
    attempts, busy = row["attempts"], row["at_work"]
    if as_json:
        print(json.dumps(row, indent=2))
    for one in () if as_json else attempts:
        _tell(one)
    for one in () if as_json else busy:
        words = "is at work in" if one["is_live"] else "was left by whoever ran it in"
        say(f"attempt {one['attempt']}: {words} {one['path']}")
    if not attempts and not busy and not as_json:
        say("nothing was left")
    return YES if attempts or busy else NO


def _tell(one: dict[str, Any]) -> None:
    when = "" if one["at"] is None else time.strftime(" %Y-%m-%d %H:%M:%S", time.localtime(one["at"]))
    say(f"attempt {one['attempt']}: {one['outcome'] or 'not reported'}{when}")
    if one["commit"]:
        say(f"  files: {one['files']} in {one['commit']}")
    for ref in one["refs"]:
        say(f"  ref: {ref}")
    for rest in one["rests"]:
        say(f"  besides: {rest['ref']}")
        _few("staged", rest["staged"])
        _few("unmerged", rest["unmerged"])
        _few("noted by git", rest["notes"])
        _few("commits", rest["commits"])
    _few("could not be made a commit, kept", one["left"])
    _few("kept as they were besides", one["raw"])
    listed = [f"{item['path']} ({item['bytes']} bytes)" for item in one["ignored"]["listed"]]
    _few("ignored by git, gone with the slot", listed, one["ignored"]["total"])
    for folder in one["folders"]:
        say(f"  folder: {folder}")


def _few(what: str, names: list[str], total: int | None = None) -> None:
    more = (len(names) if total is None else total) - min(len(names), FEW)
    if names:
        shown = ", ".join(name.replace("\n", "\\n") for name in names[:FEW])
        say(f"  {what}: {shown}{f' and {more} more' if more > 0 else ''}")
