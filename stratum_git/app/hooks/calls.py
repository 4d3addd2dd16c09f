"""The hooks there are, and what a client says when it calls one. Loads nothing that takes time."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HOOKS: dict[str, tuple[float, tuple[str, ...]]] = {
    # hook: (seconds that it may take, modules that answer it, one after the other)
    "session-start": (5.0, ("beginning", "sweeping")),
    "session-end": (25.0, ("sweeping",)),
    "stop": (2.0, ("stopping",)),
    "pre-tool-use": (2.0, ("commands",)),
    "post-tool-use": (5.0, ("specs",)),
    "post-tool-use-failure": (2.0, ("failures",)),
    "subagent-start": (2.0, ("subagents",)),
    "subagent-stop": (20.0, ("departures", "sweeping")),
    "worktree-create": (280.0, ("worktrees",)),
    "worktree-remove": (110.0, ("worktrees",)),
}


class NonsenseError(ValueError):
    """What a client says cannot be understood; ``message`` says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def row_of(said: bytes) -> dict[str, object]:
    """Returns what a client says, by its JSON; raises ValueError."""
    row = json.loads(said or b"{}")
    if not isinstance(row, dict):
        raise NonsenseError("what the client says is no object")
    return row


def place_of(row: Mapping[str, object]) -> str:
    """Returns the folder that a client speaks of; empty where it speaks of none."""
    place = row.get("cwd")
    return place if isinstance(place, str) and place.startswith("/") else ""
