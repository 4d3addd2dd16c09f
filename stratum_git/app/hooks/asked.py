"""What a client asks with a hook, where it asks that, and what it is answered.

Whoever imports this loads nothing that takes time: some hooks run before each command of a client's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.hooks.glances import CONFIG, Glance
from stratum_git.git.layout import Layout

BLOCKING = 2
"""The exit code by which a hook refuses; its words are on standard error, for the model."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The repository that a hook is about, and the folder of its slots, logs and locks."""

    layout: Layout
    state: Path

    @property
    def slots(self) -> Path:
        """Returns the folder of slots."""
        return self.state / "slots"


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of a hook: what the client said, and from where; ``ground`` is ``None`` outside repositories."""

    row: Mapping[str, object]
    cwd: Path
    environment: Mapping[str, str]
    ground: Ground | None
    seen: Glance

    def text(self, key: str) -> str:
        """Returns a field that is a text; empty when it is none."""
        value = self.row.get(key)
        return value if isinstance(value, str) else ""

    def tool(self, key: str) -> str:
        """Returns a text out of what the tool was given."""
        given = self.row.get("tool_input")
        value = given.get(key) if isinstance(given, dict) else None
        return value if isinstance(value, str) else ""

    @property
    def session(self) -> str:
        """Returns the client's name for its session."""
        return self.text("session_id")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a hook prints, and how it ends."""

    out: str = ""
    err: str = ""
    code: int = 0


NOTHING = Answer()


def advice(event: str, words: str) -> Answer:
    """Returns the answer by which the model is told something, and nothing is decided."""
    said = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": words}}
    return Answer(out=json.dumps(said, ensure_ascii=False))


def names_secrets(ground: Ground) -> bool:
    """Returns whether settings name secrets, of which nothing may be written down."""
    try:
        return b"secrets" in (ground.layout.root / CONFIG).read_bytes()
    except OSError:
        return False
