"""What models cost, where that is known: USD for a million tokens, as published in November 2026.

Of a model that is not here nothing is said: a wrong price is worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DATED = re.compile(r"-20\d{6}$")
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """USD for a million tokens: going in, coming out, written to the cache, read from it."""

    incoming: float
    outgoing: float
    written: float
    read: float

    def of(self, incoming: int, outgoing: int, written: int, read: int) -> float:
        """Returns what so many tokens of each sort cost, in USD."""
        cost = incoming * self.incoming + outgoing * self.outgoing
        return (cost + written * self.written + read * self.read) / MILLION


OPUS = Price(5, 25, 6.25, 0.5)
SONNET = Price(3, 15, 3.75, 0.3)
FABLE = Price(10, 50, 12.5, 1)
PRICES = {
    "claude-fable-5": FABLE,
    "claude-fable-5-1": Price(10, 50, 12.5, 0.25),
    "claude-haiku-4-5": Price(1, 5, 1.25, 0.1),
    "claude-opus-4-5": OPUS,
    "claude-opus-4-6": OPUS,
    "claude-opus-4-7": OPUS,
    "claude-opus-4-8": OPUS,
    "claude-opus-5": OPUS,
    "claude-opus-5-5": Price(4, 20, 5, 0.2),
    "claude-sonnet-4-5": SONNET,
    "claude-sonnet-4-6": SONNET,
    "claude-sonnet-5": Price(2, 10, 2.5, 0.2),
}


def price_of(model: str) -> Price | None:
    """Returns the price of *model*, with or without the day that it is of; ``None`` when it is not known."""
    return PRICES.get(DATED.sub("", model))
