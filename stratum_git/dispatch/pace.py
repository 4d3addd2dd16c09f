"""How often attempts are looked at while they are at work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds until the first look, and between looks at least; and the share of one core that they take."""

    first: float = 1.0
    least: float = 2.0
    share: float = 0.05
    width: int = 2
    """Slots that are looked at at once."""
