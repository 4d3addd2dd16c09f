"""SubagentStop: what a subagent said is kept; raises Heavier where something lies in its slot, too."""

from __future__ import annotations

import json
import os

from stratum_git.app.hooks.asked import NOTHING, Heavier, names_secrets
from stratum_git.app.hooks.subagents import is_due
from stratum_git.app.hooks.tenants import CLIENTS, standing_in
from stratum_git.app.hooks.transcripts import sent_to
from stratum_git.dispatch.clock import now
from stratum_git.git.stillness import is_still
from stratum_git.git.unaided import unaided
from stratum_git.git.whereabouts import Undecided, checkout_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratum_git.app.hooks.asked import Answer, Asked, Ground
    from stratum_git.app.hooks.tenants import Tenant

WORDS = 100_000
COMMIT = 1024 * 1024
"""Bytes of a commit."""


def subagent_stop(asked: Asked) -> Answer:
    """Keeps what a subagent said; raises Heavier where a lease is to be renewed, or a slot to be captured."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    named = named_by(asked, ground)
    tasks = [tenant for tenant in named if tenant.flow != CLIENTS]
    if any(is_due(ground, tenant) for tenant in tasks):
        raise Heavier("captures")
    if names_secrets(ground):
        return NOTHING
    if not all(is_untouched(tenant) for tenant in named):
        raise Heavier("captures")
    for tenant in tasks:
        note(asked, tenant.folder(ground))
    return NOTHING


def named_by(asked: Asked, ground: Ground) -> tuple[Tenant, ...]:
    """Returns whose slot a subagent was in: the one that it is called from, else those it was sent to."""
    here = standing_in(asked)
    return (here,) if here is not None else sent_to(asked, ground)


def is_slot(tenant: Tenant) -> bool:
    """Returns whether what lies there is captured: a clone has its own objects, and is reported later."""
    return os.path.basename(tenant.path).startswith("slot")


def is_untouched(tenant: Tenant) -> bool:
    """Returns whether there is surely nothing to capture: a slot is as it was made, at its base."""
    if not is_slot(tenant):
        return True
    checkout = checkout_at(tenant.path)
    try:
        there = unaided(checkout, tenant.path)
        if checkout is None or checkout.root != os.path.realpath(tenant.path):
            return False
        with open(os.path.join(checkout.git_dir, "HEAD"), encoding="ascii") as file:
            head = file.read().removesuffix("\n")
        if head.startswith("ref: refs/heads/"):
            head = there.ref(head.removeprefix("ref: ")) or ""
        tree = there.tree(tenant.base, COMMIT)
        return head == tenant.base and is_still(checkout.root, checkout.git_dir, tree)
    except (Undecided, OSError, ValueError):
        return False


def note(asked: Asked, folder: str) -> None:
    """Writes down what a subagent said last, beside the attempt that it worked at."""
    if not os.path.isdir(folder):
        return
    agent = asked.text("agent_id")
    row = {
        "agent_id": agent,
        "agent_type": asked.text("agent_type"),
        "session_id": asked.session,
        "said": asked.text("last_assistant_message")[:WORDS],
        "transcript": asked.text("agent_transcript_path"),
        "at": now(),
    }
    name = "".join(letter for letter in agent if letter.isalnum() or letter in "-_")[:100]
    path = os.path.join(folder, f"subagent-{name or 'unknown'}")
    handle = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(row, file, ensure_ascii=False, indent=1)
    os.replace(f"{path}.new", f"{path}.json")
