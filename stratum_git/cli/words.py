"""Words for a terminal: what somebody else wrote must not move its cursor, or hide the rest."""

from __future__ import annotations

import re
import sys
from typing import TextIO

CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and line feed, turns of direction, and bytes of names that are no UTF-8."""


def safe(data: str | bytes) -> str:
    """Returns a text in which control characters are written out, by their numbers."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str, *, to: TextIO | None = None) -> None:
    """Prints a line that has words of somebody else's in it."""
    print(safe(text), file=to or sys.stdout)
