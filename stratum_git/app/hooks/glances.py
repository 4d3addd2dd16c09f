"""Whether a hook can have anything to say at all: seen in a moment, before what says it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stratum_git.app.clients import folder_of
from stratum_git.app.hooks.asked import Asked

SPEC = ".stratum.yaml"


def may_matter(module: str, asked: Asked) -> bool:
    """Returns whether *module* has to be loaded for what was asked."""
    return GLANCES[module](asked)


def _stopping(asked: Asked) -> bool:
    ground = asked.ground
    again = asked.row.get("stop_hook_active") is True
    return ground is not None and not again and folder_of(ground.state, asked.session) is not None


def _sweeping(asked: Asked) -> bool:
    ground = asked.ground
    return ground is not None and any((ground.state / "worktrees").glob("*.json"))


def _failures(asked: Asked) -> bool:
    ground = asked.ground
    if ground is None or asked.row.get("is_interrupt") is True:
        return False
    return ground.slots.is_dir() or folder_of(ground.state, asked.session) is not None


def _has_slots(asked: Asked) -> bool:
    return asked.ground is not None and asked.ground.slots.is_dir()


def _always(_: Asked) -> bool:
    return True


GLANCES: Mapping[str, Callable[[Asked], bool]] = {
    "beginning": lambda asked: asked.ground is not None,
    "sweeping": _sweeping,
    "stopping": _stopping,
    "commands": lambda asked: bool(asked.tool("command")),
    "specs": lambda asked: asked.tool("file_path").endswith(SPEC),
    "failures": _failures,
    "subagents": _has_slots,
    "captures": _has_slots,
    "worktrees": _always,
}
