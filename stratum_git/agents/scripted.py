"""The agent that does as it is told: the fake that tests use, held to the same tests as the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from stratum_git.agents.base import (
    AgentFailed,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.model.ids import Json


@dataclass(frozen=True, slots=True)
class Script:
    """What to do in one attempt: take time, write files (``None`` deletes), then end in one of four ways."""

    seconds: float = 0.0
    files: Mapping[str, bytes | None] = field(default_factory=dict)
    output: Json = None
    says: str = ""
    fails: str | None = None
    unstartable: str | None = None


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
        if script.says:
            on_line(script.says)
        with trio.move_on_after(
            assignment.timeout if assignment.timeout is not None else float("inf")
        ) as limit:
            await trio.sleep(script.seconds)
        if limit.cancelled_caught:
            return AgentTimedOut(assignment.timeout or 0.0)
        for path, data in script.files.items():
            target = assignment.slot / path
            if data is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        return Finished(script.output) if script.fails is None else AgentFailed(script.fails)
