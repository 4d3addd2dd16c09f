"""What the end of a run of Claude Code came to.

It has succeeded when the program ended with 0 **and** told a result that is no error, went to its end, and
has the object that was asked for. None of these is enough alone: after an interruption it ends with 0, an
error of the API is called a success, and so is a run that never returned its object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stratum_git.agents.base import (
    AgentFailed,
    AgentLimited,
    AgentSpent,
    AgentUnstartable,
    Assignment,
    Outcome,
    Profile,
)
from stratum_git.agents.claude_events import LIMITS, Run, trouble
from stratum_git.agents.stream import number, rows, words
from stratum_git.agents.supervise import Exited
from stratum_git.model.ids import Json


@dataclass(frozen=True, slots=True)
class Ending:
    """A run that told a result."""

    name: str
    told: Run
    result: Mapping[str, Json]
    ended: Exited
    usage: Mapping[str, Json]

    def failed(self, why: str) -> AgentFailed:
        """Returns the outcome that it failed."""
        return AgentFailed(f"{self.name}: {why}", self.ended.code, self.ended.seconds, self.usage)


def refusal(end: Ending) -> Outcome | None:
    """Returns the outcome of a run that says of itself that it came to nothing."""
    subtype, said, seconds = words(end.result.get("subtype")), trouble(end.result), end.ended.seconds
    is_error = end.result.get("is_error") is True or end.ended.code != 0
    limit, status = end.told.limit, int(number(end.result.get("api_error_status")))
    if subtype == "error_max_budget_usd":
        return AgentSpent(f"{end.name} has spent what it may ({said})", seconds, end.usage)
    if is_error and (status in LIMITS or limit is not None):
        after = None if limit is None else limit.after
        return AgentLimited(f"{end.name}: {said}", after, seconds, end.usage)
    if is_error and end.told.is_unknown:
        return AgentUnstartable(f"{end.name}: {said}")
    if subtype == "error_max_turns":
        return end.failed(f"it was not done after {int(number(end.result.get('num_turns')))} turns")
    if is_error or subtype != "success":
        return end.failed(said)
    return None


def shortcoming(end: Ending, given: Assignment, profile: Profile) -> Outcome | None:
    """Returns the outcome of a run that says that all is well, and it is not.

    That it was denied something matters when it is to work and could not at all: who was denied one way may
    have found another, and a reviewer is denied whatever would change anything.
    """
    how, denied = words(end.result.get("terminal_reason")), rows(end.result.get("permission_denials"))
    if how not in {"", "completed"}:
        return end.failed(f"it was ended early ({how})")
    if given.schema is not None and not isinstance(end.result.get("structured_output"), dict):
        return end.failed("it did not return the object that was asked for")
    if denied and not end.told.has_worked and profile == "general":
        names = ", ".join(sorted({words(row.get("tool_name")) for row in denied}))
        return end.failed(f"it was not permitted to use {names}, and did nothing else; `tools` permits more")
    return None
