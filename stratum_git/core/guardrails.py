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


def hits(patterns: Sequence[str], result: Json) -> tuple[str, ...]:
    """Returns a sentence for each pattern that occurs in *result*, written as JSON with sorted keys."""
    text = json.dumps(result, sort_keys=True)
    return tuple(said for pattern in patterns if (said := _hit(pattern, text)) is not None)


def _hit(pattern: str, text: str) -> str | None:
    try:
        found = regex.search(pattern, text, regex.IGNORECASE | regex.MULTILINE, timeout=SECONDS)
    except TimeoutError:
        return f"guardrail matched: {pattern!r} (it took longer than {SECONDS:g} s to look for)"
    except regex.error as error:
        return f"guardrail matched: {pattern!r} (it cannot be looked for: {error})"
    return None if found is None else f"guardrail matched: {pattern!r}"
