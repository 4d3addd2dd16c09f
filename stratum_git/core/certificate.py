"""Certificates: sections that the words of a result must have, so that its reasoning can be followed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stratum_git.model.ids import Json
from stratum_git.model.spec import Decompose, Inline, Step

CITATION = re.compile(r"\[P\d+\]")
DEFAULT: tuple[tuple[str, str], ...] = (
    ("Premises", "State every verifiable fact you are using. Each premise must cite a file:line."),
    ("Trace", "Walk through the logic step by step. Reference premises by [P<n>] ID."),
    ("Conclusion", "State your finding. Every claim must reference at least one premise."),
)
"""The protocol's words, as agents know them."""


def is_certified(step: Step) -> bool:
    """Returns whether a step's result needs a certificate: only Claude is asked for one."""
    wanted = step.reasoning_template is not None and step.agent in {None, "", "claude"}
    return wanted and isinstance(step.work, Inline | Decompose)


def with_sections(intent: str, template: Mapping[str, Json]) -> str:
    """Returns an intent that also says which sections the answer must have."""
    cites = template.get("require_citations") is True
    lines = [intent, "", "---", "", "You MUST structure your response with these sections:", ""]
    for number, (label, description) in enumerate(_sections(template)):
        lines += [f"## {label}", description]
        if cites and number == 0:
            lines.append("Format each fact as: [P1] <fact, citing file:line>, [P2] ..., etc.")
        elif cites:
            lines.append("Reference premises by their [P<n>] ID.")
        lines.append("")
    return "\n".join(lines)


def missing(template: Mapping[str, Json], result: Json) -> tuple[str, ...]:
    """Returns what the ``artifact`` of a result lacks."""
    found = result.get("artifact") if isinstance(result, dict) else None
    artifact = found if isinstance(found, str) else ""
    labels = [label for label, _ in _sections(template)]
    absent = [label for label in labels if f"## {label}" not in artifact]
    if absent:
        return tuple(f"certificate missing section: {label}" for label in absent)
    if template.get("require_citations") is True and labels:
        conclusion = artifact[artifact.index(f"## {labels[-1]}") :]
        if not CITATION.search(conclusion):
            return ("certificate violation: conclusion contains no premise citations [P<n>]",)
    return ()


def _sections(template: Mapping[str, Json]) -> tuple[tuple[str, str], ...]:
    rows = template.get("sections")
    if not isinstance(rows, list) or not rows:
        return DEFAULT
    found = (row for row in rows if isinstance(row, dict))
    return tuple((str(row.get("label", "")), str(row.get("description", ""))) for row in found)
