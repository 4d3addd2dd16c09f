"""The verb with which a person resolves a conflict: resolve."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from stratum_git.app import resolving
from stratum_git.app.finishing import Again
from stratum_git.app.rows import finished_row, given_up_row, opened_row
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer
from stratum_git.cli.words import say
from stratum_git.model.ids import FlowId

YES, NO = 0, 1


def resolve_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``resolve``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow that nobody runs")
    parser.add_argument("task", metavar="TASK", help="a task that is parked in a conflict")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--done", action="store_true", help="it is resolved: check it, verify it, land it")
    what.add_argument("--abort", action="store_true", help="give the slot back; what was done is kept")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def resolve(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Opens a conflict in a slot, or lands what was made of it; 1 when that is not resolved yet."""
    around, flow = Surroundings(cwd, environment), FlowId(options.flow)
    if options.done:
        return _finish(options, around, flow)
    if options.abort:
        return _give_up(options, around, flow)
    opened = resolving.open_conflict(around, flow, options.task)
    if options.json:
        return answer(opened_row(flow, opened))
    say(f"the conflict of {opened.task} with {_branch(opened.target)} lies in")
    say(f"  {opened.path}")
    for path in opened.paths:
        say(f"  {path}")
    if opened.note:
        say(f"its setup failed: {opened.note}")
    say("edit until no marker is left; `git add` what is to stay as it lies there, `git rm` what is to go")
    say(f"then: stratum-git resolve {flow} {opened.task} --done   (or --abort, which keeps what you did)")
    return YES


def _finish(options: argparse.Namespace, around: Surroundings, flow: FlowId) -> int:
    found = resolving.finish(around, flow, options.task)
    if options.json:
        answer(finished_row(flow, options.task, found))
    else:
        _tell(flow, options.task, found)
    return YES if isinstance(found, resolving.Resolved) else NO


def _give_up(options: argparse.Namespace, around: Surroundings, flow: FlowId) -> int:
    found = resolving.give_up(around, flow, options.task)
    if options.json:
        return answer(given_up_row(flow, options.task, found))
    said = f"; what you did is kept as {found.kept}" if found.kept else ""
    say(f"the conflict of {options.task} stays parked{said}")
    return YES


def _tell(flow: FlowId, task: str, found: resolving.Resolved | resolving.Unresolved | Again) -> None:
    match found:
        case resolving.Resolved(landing, status, went_on):
            say(
                f"{task} has landed"
                + (f" as {landing.commit}" if landing.commit else ": nothing was left of it")
            )
            for other in landing.others:
                say(f"{other}, which builds on it, has landed too")
            for note in landing.notes:
                say(note)
            if went_on and status == "running":
                say(f"enough has landed by now: `stratum-git resume {flow}` goes on")
        case resolving.Unresolved(path, findings):
            say(f"{task} is not resolved yet, in {path}:")
            for line in findings:
                say(f"  {line}")
        case Again(paths):
            say(f"what you made of {task} is kept, and its target moved meanwhile; it conflicts in:")
            for name in paths:
                say(f"  {name}")
            say(f"`stratum-git resolve {flow} {task}` opens what is left")
        case _ as never:
            assert_never(never)


def _branch(ref: str) -> str:
    return ref.removeprefix("refs/heads/")
