"""Runs the commands that a prefix of a landing has to pass, in a slot of its own.

Nothing that they leave behind is anybody's work: what was tested is the commit, and the slot is made clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, assert_never

import trio

from stratum_git.agents.command import inherited
from stratum_git.agents.output import plain_text
from stratum_git.agents.supervise import Exit, Exited, Signalled, TimedOut, Unstartable, supervise
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.judge import VERIFY_TIMEOUT, shown
from stratum_git.errors import StratumError
from stratum_git.git.fence import Post
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import LANDING, FlowId, Oid, StepId
from stratum_git.model.spec import Command
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.slot import Slot

CANNOT_TELL = 125
"""The exit code with which a command says that it could not find out, as for ``git bisect run``."""
LINES, LONGEST = 10, 300


@dataclass(frozen=True, slots=True)
class Check:
    """What is run: ``setup`` first, then ``commands``, until one of them fails."""

    setup: tuple[Command, ...]
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """What commands came to; ``error``: nobody can tell. ``findings`` are the last words of a failure."""

    verdict: Literal["pass", "fail", "error"]
    seconds: float
    findings: tuple[str, ...] = ()


async def run_check(
    context: Context, flow: FlowId, step: StepId, number: int, commit: Oid, check: Check
) -> Ran:
    """Tests *commit*; the logs are those of attempt *number* at the landing."""
    began = trio.current_time()
    try:
        opening = partial(context.pool.borrow, base=commit, occupant=Occupant(flow, step, LANDING, number))
        # The commit is on no ref, so a git of the user's may have deleted it; and what the HEAD of a slot
        # names is to be on the disk before it.
        await context.git(context.writer.heal)
        await context.git(context.writer.sync)
        slot = await context.git(opening)
        try:
            folder = context.folders.attempt(flow, step, LANDING, number)
            verdict, findings = await _run_all(context, slot, folder, check)
        finally:
            with trio.CancelScope(shield=True):
                await context.git(partial(context.pool.release, slot))
    except StratumError as error:
        # Whoever held a command was killed, or there is no place for it: that says nothing of the commit.
        return Ran("error", trio.current_time() - began, (error.message,))
    return Ran(verdict, trio.current_time() - began, findings)


def last_attempt(context: Context, flow: FlowId, step: StepId) -> int:
    """Returns the highest number that a test of a landing has had: its logs stay where they are."""
    folder = context.folders.attempt_path(flow, step, LANDING, 0).parent
    try:
        return max((int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()), default=0)
    except FileNotFoundError:
        return 0


async def _run_all(
    context: Context, slot: Slot, folder: Path, check: Check
) -> tuple[Literal["pass", "fail", "error"], tuple[str, ...]]:
    post = Post(slot.path, git_dir_of(slot.path))
    environment = context.fence.around(inherited(context.environment), post)
    for kind, commands in (("setup", check.setup), ("land_verify", check.commands)):
        for number, command in enumerate(commands, 1):
            ended = await supervise(
                command,
                cwd=slot.path,
                env=environment,
                log=folder / f"{kind}-{number}.log",
                timeout=VERIFY_TIMEOUT,
                hide=context.secrets,
            )
            verdict, words = _told(ended)
            if verdict != "pass":
                head = f"`{shown(command)}` {words}"
                return verdict, (head, *_last_lines(ended))
    return "pass", ()


def _told(ended: Exit) -> tuple[Literal["pass", "fail", "error"], str]:
    match ended:
        case Exited(code=0):
            return "pass", ""
        case Exited(code=code):
            return "error" if code == CANNOT_TELL else "fail", f"exited with {code}"
        case Signalled(signal=number):
            return "error", f"was ended by signal {number}"
        case TimedOut(after=after):
            return "error", f"took more than {after:g} s"
        case Unstartable(reason=reason):
            return "error", f"could not be started: {reason}"
        case _ as never:
            assert_never(never)


def _last_lines(ended: Exit) -> Sequence[str]:
    if isinstance(ended, Unstartable):
        return ()
    lines = [
        line.strip()[:LONGEST]
        for stream in (ended.tail, ended.errors)
        for line in plain_text(stream).splitlines()
        if line.strip()
    ]
    return lines[-LINES:]
