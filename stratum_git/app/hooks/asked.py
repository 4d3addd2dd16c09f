"""What a client asks with a hook, where it asks that, and what it is answered.

Whoever imports this loads nothing that takes time: some hooks run before each command of a client's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.home import state_home
from stratum_git.git.layout import Layout, key_of, layout_of

BLOCKING = 2
"""The exit code by which a hook refuses; its words are on standard error, for the model."""
CONFIG = ".stratum/config.yaml"


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


def settled_in(layout: Layout) -> bool:
    """Returns whether the settings of a checkout may say where slots lie; then they have to be read."""
    try:
        return b"slots" in (layout.root / CONFIG).read_bytes()
    except OSError:
        return False


def names_secrets(ground: Ground) -> bool:
    """Returns whether settings name secrets, of which nothing may be written down."""
    try:
        return b"secrets" in (ground.layout.root / CONFIG).read_bytes()
    except OSError:
        return False


def home_of(layout: Layout, environment: Mapping[str, str]) -> Path:
    """Returns the folder of a repository's state where no settings say otherwise."""
    key = key_of(layout.common_dir)
    above = layout.root.parent
    if above.name == "slots" and above.parent.name == key:
        # A slot lies in it, wherever the settings of the main checkout have it.
        return above.parent
    return state_home(environment) / "stratum-git" / key


def standing(cwd: Path, environment: Mapping[str, str]) -> Layout | None:
    """Returns the checkout that a hook is about.

    That is the one where the session began, if the call comes from another one of the same repository: the
    server reads its settings there.
    """
    here = layout_of(cwd)
    began = environment.get("CLAUDE_PROJECT_DIR", "")
    there = layout_of(Path(began)) if began.startswith("/") else None
    if here is not None and there is not None and there.common_dir == here.common_dir:
        return there
    return here
