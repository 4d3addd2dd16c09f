"""Finds the files shipped beside the code: in a wheel inside the package, in a checkout above it."""

from __future__ import annotations

from pathlib import Path

from stratum_git.errors import BugError

PACKAGE = Path(__file__).parent


def contracts() -> Path:
    """Returns the folder of JSON Schemas."""
    return _folder("contracts")


def hooks() -> Path:
    """Returns the folder of hook scripts."""
    return _folder("hooks")


def plugin() -> Path:
    """Returns the folder of what clients are given: skills, agents, and words about how to work."""
    return PACKAGE / "plugin"


def plugin_manifests() -> Path:
    """Returns the folder of the manifests of the plugin and of the marketplace that has it."""
    return _folder("claude-plugin", ".claude-plugin")


def _folder(name: str, above: str | None = None) -> Path:
    for place in (PACKAGE / "_data" / name, PACKAGE.parent / (above or name)):
        if place.is_dir():
            return place
    raise BugError(f"the folder {name} is not installed")
