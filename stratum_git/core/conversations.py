"""Whether a retry goes on with the conversation of the attempt before, and what is said there.

It does when the conversation is true about the files: what was wrong is something to mend in them, and they
lie in the slot as they were left. After a secret, another history or a stash everything begins anew, and so
it does when the attempt was lost, or a conversation that was gone on with broke.
"""

from __future__ import annotations

from collections.abc import Sequence

from stratum_git.model.conversations import Conversation
from stratum_git.model.messages import Rejected

MENDABLE = frozenset(
    {
        "agent", "budget", "certificate", "contract", "ensure", "guardrail", "no_change", "scope", "verify",
    }
)  # fmt: skip
"""Kinds of rejection after which the files may stay as they are."""
BROKEN = frozenset({"agent", "budget"})
"""Those that a conversation itself may be the cause of."""


def goes_on(outcome: Rejected, before: Conversation | None) -> Conversation | None:
    """Returns what the attempt after *outcome* goes on with; *before* is what this one went on with."""
    if outcome.session is None or outcome.base is None or outcome.result is None:
        return None
    if outcome.kind not in MENDABLE or (before is not None and outcome.kind in BROKEN):
        return None
    return Conversation(outcome.session, outcome.base, outcome.result)


def followup(findings: Sequence[str]) -> str:
    """Returns what to say to an agent whose last result was refused, in the same conversation."""
    lines = [f"- {finding}" for finding in findings] or ["- it did not come to an end"]
    return "\n".join(
        [
            "What you made was looked at, and is not accepted yet:",
            "",
            *lines,
            "",
            "Your work so far is in the slot as you left it. Mend this; what was asked stays the same.",
            "",
        ]
    )
