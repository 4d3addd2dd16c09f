"""``skip_if``: an expression in which references stand for the flow's inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stratum_git.core.expr import Files, Value, evaluate
from stratum_git.core.references import Found, resolve
from stratum_git.model.ids import Json, StepId

REFERENCE = re.compile(r"\$\.[A-Za-z0-9_.-]*[A-Za-z0-9_]")
WORDS: Mapping[str, Json] = {"true": True, "false": False, "null": None}


def holds(
    source: str, inputs: Mapping[str, Json], outputs: Mapping[StepId, Json], files: Files | None
) -> bool:
    """Returns whether *source* is true now. What cannot be told is not: nothing is skipped by mistake.

    A reference to what is not there is null.
    """
    names: dict[str, Json] = dict(WORDS)

    def stand_in(match: re.Match[str]) -> str:
        found = resolve(match[0], inputs, outputs)
        name = f"reference{len(names)}"
        names[name] = found.value if isinstance(found, Found) else None
        return name

    evaluated = evaluate(REFERENCE.sub(stand_in, source), names, files)
    return isinstance(evaluated, Value) and bool(evaluated.value)
