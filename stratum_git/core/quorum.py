"""When enough results are in, and when enough can no longer come."""

from __future__ import annotations

from typing import Literal

from stratum_git.model.spec import Require

HOPELESS: frozenset[str] = frozenset({"start", "base"})
"""Kinds of rejection that another attempt cannot mend: the program is missing, or the needs conflict."""


def needed(require: Require, total: int) -> int:
    """Returns how many of *total* tasks must succeed."""
    match require:
        case "all":
            return total
        case "any":
            return 1
        case count:
            return count


def decide(require: Require, total: int, *, good: int, dead: int) -> Literal["open", "met", "missed"]:
    """Returns what is certain already, with *good* successes and *dead* tasks that can no longer succeed."""
    enough = needed(require, total)
    if good >= enough:
        return "met"
    return "missed" if total - dead < enough else "open"
