"""Where a user's state lies."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def state_home(environment: Mapping[str, str]) -> str:
    """Returns the user's folder for state. Whoever reads the environment sees to it that HOME is there."""
    named = environment.get("XDG_STATE_HOME", "")
    if named.startswith("/"):
        return named
    return os.path.join(environment.get("HOME") or "/", ".local/state")
