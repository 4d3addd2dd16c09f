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


def _folder(name: str) -> Path:
    for place in (PACKAGE / "_data" / name, PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise BugError(f"the folder {name} is not installed")
