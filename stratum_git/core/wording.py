"""How a flow's end is called where the protocol is spoken. Loads nothing, so that listing flows is quick."""

from __future__ import annotations

SCHEMA_VERSION = "1"
"""What every answer of ``query`` and ``gate`` says of its own form."""

ENDINGS = frozenset({"killed", "failed", "cancelled"})


def status_word(status: str, *, killed: bool) -> str:
    """Returns the status of a flow; one that a gate ended is killed while it still cleans up."""
    return "killed" if killed else status


def terminal_word(status: str, *, killed: bool) -> str | None:
    """Returns how a flow ended that did not come through. One that is complete has no such word."""
    word = status_word(status, killed=killed)
    return word if word in ENDINGS else None
