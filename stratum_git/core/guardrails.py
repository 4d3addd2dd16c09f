"""Guardrails: patterns that must not occur in a result.

A pattern is the author's, the text an agent's, and together they may take for ever: each search has a
deadline, and what could not be searched counts as found. Python's own ``re`` has no deadlines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import regex

from stratum_git.model.ids import Json

SECONDS = 1.0
"""For one pattern; ``ALL`` is for all of them."""
LONGEST = 500
"""Characters of a pattern: to get ready for a longer one takes too long, and no deadline counts then."""
ALL = 3.0


def hits(patterns: Sequence[str], result: Json) -> tuple[str, ...]:
    """Returns a sentence for each pattern that occurs in *result*, written as JSON with sorted keys."""
    try:
        text = json.dumps(result, sort_keys=True)
    except (RecursionError, ValueError):
        return ("guardrail matched: the result is nested too deep to be looked through",)
    found = (_hit(pattern, text, min(SECONDS, ALL / len(patterns))) for pattern in patterns)
    return tuple(said for said in found if said is not None)


def _hit(pattern: str, text: str, seconds: float) -> str | None:
    if len(pattern) > LONGEST:
        return f"guardrail matched: {pattern[:80]!r}... (it is longer than {LONGEST} characters)"
    try:
        found = regex.search(pattern, text, regex.IGNORECASE | regex.MULTILINE, timeout=seconds)
    except TimeoutError:
        return f"guardrail matched: {pattern!r} (it took longer than {seconds:g} s to look for)"
    except regex.error as error:
        return f"guardrail matched: {pattern!r} (it cannot be looked for: {error})"
    return None if found is None else f"guardrail matched: {pattern!r}"
