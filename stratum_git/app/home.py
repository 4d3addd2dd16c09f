"""Where a user's state lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def state_home(environment: Mapping[str, str]) -> Path:
    """Returns the user's folder for state. Whoever reads the environment sees to it that HOME is there."""
    named = environment.get("XDG_STATE_HOME", "")
    if named.startswith("/"):
        return Path(named)
    return Path(environment.get("HOME") or "/") / ".local/state"
