"""An attempt that goes on with the conversation of the one before: on the same base, with the same files.

What the agent remembers has to be true. So the files that were refused lie in its slot again, uncommitted,
and where the base is another one by now everything begins anew.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from stratum_git.agents.base import Agent, AgentSpec
from stratum_git.core.conversations import followup
from stratum_git.dispatch.context import Context
from stratum_git.errors import HostError
from stratum_git.git.commits import commits_of
from stratum_git.git.planting import plant
from stratum_git.model.conversations import Conversation
from stratum_git.model.ids import Oid
from stratum_git.model.messages import Outcome, Rejected


def resumes(agent: Agent) -> bool:
    """Returns whether an agent has conversations that a retry may go on with."""
    spec = getattr(agent, "spec", None)
    return not isinstance(spec, AgentSpec) or (spec.resumes and spec.kind != "command")


async def still_true(
    context: Context, agent: Agent, on: Conversation | None, base: Oid
) -> Conversation | None:
    """Returns the conversation to go on with; ``None`` where *base* has other files than when it began."""
    if on is None or not resumes(agent):
        return None
    if on.base == base:
        return on
    # A base that is merged in memory is another commit each time it is made.
    try:
        found = await context.git(partial(commits_of, context.repo, (base, on.base)))
    except HostError:
        return None  # of one that nothing was made of, and that a git of the user's deleted
    return on if found[base].tree == found[on.base].tree else None


def put_in_place(context: Context, on: Conversation, slot: Path) -> None:
    """Puts the files of a conversation into a slot that is at its base."""
    if on.result != on.base:
        context.writer.heal()
        plant(slot, commits_of(context.repo, (on.result,))[on.result].tree, ())


def said(on: Conversation | None, findings: tuple[str, ...]) -> str | None:
    """Returns what to say where a conversation goes on."""
    return None if on is None else on.followup or followup(findings)


def intended(on: Conversation | None, intent: str) -> str:
    """Returns the whole prompt. An agent whose conversation is gone has to be told what lies in the slot."""
    if on is None or on.result == on.base:
        return intent
    return f"{intent}\nWhat that attempt had made lies in the slot, uncommitted: mend it.\n"


def to_go_on_with(agent: Agent, outcome: Outcome) -> Outcome:
    """Returns *outcome* with the conversation that the next attempt may go on with."""
    session = outcome.usage.get("session_id")
    if isinstance(outcome, Rejected) and isinstance(session, str) and resumes(agent):
        return replace(outcome, session=session)
    return outcome
