"""The agent that does as it is told: the fake that tests use, held to the same tests as the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from stratum_git.agents.base import (
    AgentFailed,
    AgentLimited,
    AgentSpent,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.model.ids import Json


@dataclass(frozen=True, slots=True)
class Script:
    """What to do in one attempt, in this order; it ends in one of six ways.

    It writes files (``None`` deletes), says a line, does what ``then`` does (a commit, perhaps), tells its
    meter what it ``tells``, waits until an event, takes its time. Files come first, so that an attempt that
    is cut short has left something. ``limited`` and ``spent`` are the reasons of those ends, ``after`` the
    seconds that a limited one says to wait.
    """

    files: Mapping[str, bytes | None] = field(default_factory=dict)
    says: str = ""
    then: Callable[[Assignment], None] | None = None
    until: trio.Event | None = None
    seconds: float = 0.0
    output: Json = None
    fails: str | None = None
    unstartable: str | None = None
    usage: Mapping[str, Json] = field(default_factory=dict)
    tells: Mapping[str, Json] = field(default_factory=dict)
    limited: str | None = None
    after: float | None = None
    spent: str | None = None


@dataclass(frozen=True, slots=True)
class ScriptedAgent:
    """Plays the script that *play* gives for an assignment. It starts no process."""

    name: str
    play: Callable[[Assignment], Script]

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt."""
        script = self.play(assignment)
        if script.unstartable is not None:
            return AgentUnstartable(script.unstartable)
        started = trio.current_time()
        with trio.CancelScope() as limit:
            if assignment.timeout is not None:
                limit.deadline = started + assignment.timeout
            _perform(script, assignment, on_line)
            await _take_time(script)
        if limit.cancelled_caught:
            return AgentTimedOut(assignment.timeout or 0.0, script.usage)
        seconds = trio.current_time() - started
        if script.limited is not None:
            return AgentLimited(script.limited, script.after, seconds, script.usage)
        if script.spent is not None:
            return AgentSpent(script.spent, seconds, script.usage)
        if script.fails is not None:
            return AgentFailed(script.fails, seconds=seconds, usage=script.usage)
        return Finished(script.output, script.usage, text_tail=script.says, seconds=seconds)

    def problem(self) -> str | None:
        """Returns ``None``: it needs nothing."""
        return None


def _perform(script: Script, assignment: Assignment, on_line: Callable[[str], None]) -> None:
    for path, data in script.files.items():
        target = assignment.slot / path
        if data is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    if script.says:
        on_line(script.says)
    if script.then is not None:
        script.then(assignment)
    if script.tells and assignment.meter is not None:
        assignment.meter(script.tells)


async def _take_time(script: Script) -> None:
    if script.until is not None:
        await script.until.wait()
    await trio.sleep(script.seconds)
