"""Notes, while an agent of a session is at work, what it calls its conversation.

It tells that as soon as it knows, and in the flow it stands when the attempt has ended. Should everybody be
killed in between, the note says with which conversation the next attempt goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from stratum_git.agents.output import replace_private
from stratum_git.core.usage import usage_of
from stratum_git.model.ids import Json

FILE = "session.json"
LIMIT = 10_000


def note_conversation(folder: Path, usage: Mapping[str, Json], before: str | None) -> str | None:
    """Notes the conversation that *usage* names, unless it is the one of *before*; returns what it is."""
    found = usage_of(usage).get("session_id")
    if not isinstance(found, str) or found == before:
        return before
    replace_private(folder / FILE, json.dumps({"session_id": found}).encode())
    return found


def noted_conversation(folder: Path) -> dict[str, Json]:
    """Returns what was noted, as usage; nothing when there is no note."""
    try:
        data = (folder / FILE).read_bytes()
        return usage_of(json.loads(data)) if len(data) < LIMIT else {}
    except (OSError, ValueError, RecursionError):
        return {}
