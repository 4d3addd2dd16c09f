"""What an attempt cost, as its agent or client told it: only what makes sense is taken.

Usage is an object: ``usd`` a number, ``tokens`` (all of them, in and out), ``input_tokens``,
``output_tokens``, ``turns`` and ``ms`` whole numbers, ``model`` and ``session_id`` words; each where known.
``ms`` is how long the agent was at work, ``waited_ms`` how long it waited for room at its model's server.
Whoever tells it may tell anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from stratum_git.model.ids import Json

Usage: TypeAlias = Mapping[str, Json]

WHOLE = ("tokens", "input_tokens", "output_tokens", "turns", "ms", "waited_ms")
WORDS = ("model", "session_id")
MOST = 10**15
"""More than anything costs; what is beyond is nonsense, and would not fit into other programs' numbers."""
LONGEST = 200


def usage_of(told: Json | Usage) -> dict[str, Json]:
    """Returns what is usage in *told*; nothing where it is no object."""
    if not isinstance(told, Mapping):
        return {}
    found: dict[str, Json] = {}
    usd = _number(told.get("usd"))
    if usd is not None:
        found["usd"] = round(usd, 9)
    for name in WHOLE:
        if (count := _number(told.get(name))) is not None:
            found[name] = round(count)
    sides = [n for name in ("input_tokens", "output_tokens") if isinstance(n := found.get(name), int)]
    if sides and "tokens" not in found:
        found["tokens"] = sum(sides)
    for name in WORDS:
        word = told.get(name)
        if isinstance(word, str) and 0 < len(word) <= LONGEST and word.isprintable():
            found[name] = word
    return found


def added(first: Usage, second: Usage) -> dict[str, Json]:
    """Returns what two stretches of one attempt cost together; words are those of the later one."""
    found = {**first, **second}
    for name in ("usd", *WHOLE):
        one, other = _number(first.get(name)), _number(second.get(name))
        if one is not None and other is not None:
            found[name] = round(one + other, 9) if name == "usd" else round(one + other)
    return found


def in_words(usage: Usage) -> str:
    """Returns usage as it is told in a sentence, such as ``0.12 usd, 41 k tokens, 7 turns``."""
    usd, tokens, turns = (_number(usage.get(name)) for name in ("usd", "tokens", "turns"))
    parts = []
    if usd is not None:
        parts.append(f"{in_usd(usd)} usd")
    if tokens is not None:
        parts.append(f"{in_thousands(round(tokens))} token{'' if tokens == 1 else 's'}")
    if turns:
        parts.append(f"{round(turns)} turn{'' if turns == 1 else 's'}")
    return ", ".join(parts)


def in_usd(amount: float) -> str:
    """Returns an amount with cents, and with more digits where it is less than ten cents."""
    return f"{amount:.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"


def in_thousands(count: int) -> str:
    """Returns a count that is short to read: ``950``, ``41 k``, ``1.2 M``."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.0f} k" if count < 999_500 else f"{count / 1e6:.1f} M"


def _number(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and 0 <= value <= MOST else None
