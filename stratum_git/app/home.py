"""Where a user's state lies."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path


def state_home(environment: Mapping[str, str]) -> Path:
    """Returns the user's folder for state."""
    named = environment.get("XDG_STATE_HOME", "")
    if named.startswith("/"):
        return Path(named)
    return Path(environment.get("HOME") or _home()) / ".local/state"


def _home() -> str:
    # Without HOME, as services have it: where the user lives, and not the top of the disk.
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"
