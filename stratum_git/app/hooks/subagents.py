"""SubagentStart: a subagent is told whose place it is in, and keeps the right to it.

Which slot is a subagent's, its folder tells, else its prompt: in the client's transcript of it once there is
one, before that among the calls of the session's that have no answer yet.
"""

from __future__ import annotations

from stratum_git.app.hooks.asked import NOTHING, Answer, Heavier, advice
from stratum_git.app.hooks.tenants import CLIENTS, standing_in
from stratum_git.app.hooks.transcripts import called
from stratum_git.dispatch.clock import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratum_git.app.hooks.asked import Asked, Ground
    from stratum_git.app.hooks.tenants import Tenant

OFFERED, CLAIMED = 3600.0, 900.0
"""Seconds that a task of the client's, or of a worker's, is his for while a subagent is at work on it."""


def subagent_start(asked: Asked) -> Answer:
    """Tells a subagent that works in a slot what holds there; raises Heavier to renew its lease."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    here, tasks = whose(asked, ground)
    if (here is not None and here.flow == CLIENTS) or any(is_due(ground, tenant) for tenant in tasks):
        raise Heavier("renewing")
    return rules(here, tasks)


def whose(asked: Asked, ground: Ground) -> tuple[Tenant | None, list[Tenant]]:
    """Returns whose slot a subagent is called from, and the tasks that it may be at work on."""
    here = standing_in(asked)
    named = (here,) if here is not None else called(asked, ground)
    return here, [tenant for tenant in named if tenant.flow != CLIENTS]


def is_due(ground: Ground, tenant: Tenant) -> bool:
    """Returns whether half of the time of a task's lease is over, and it is there to be renewed."""
    lease = ground.looks.lease(tenant.lease)
    if lease is None or lease.attempt != tenant.attempt:
        return False
    return 0 < lease.expires - now() < (CLAIMED if lease.holder else OFFERED) / 2


def rules(here: Tenant | None, tasks: list[Tenant]) -> Answer:
    """Returns what holds in a slot, as advice."""
    words = _rules(here, tasks)
    return advice("SubagentStart", words) if words else NOTHING


def _rules(here: Tenant | None, tasks: list[Tenant]) -> str:
    if here is not None and here.flow == CLIENTS:
        return (
            f"You are in a worktree of your own, {here.path}, on the branch {here.task}. "
            "Stay in it; commit there, or leave changes uncommitted: both are kept."
        )
    if len(tasks) == 1:
        only = tasks[0]
        return (
            f"Your task is {only.task or only.step} of the flow {only.flow}. Its place is {only.path}: work "
            "there with absolute paths, and nowhere else. Commit or not, as you like; do not switch "
            "branches, stash or push. What lies there when you end is your result."
        )
    if tasks:
        places = "\n".join(f"- {tenant.task or tenant.step}: {tenant.path}" for tenant in tasks)
        return (
            "Work only in the place that your prompt names, with absolute paths; others are at work in the "
            f"rest of:\n{places}\nDo not switch branches, stash or push there."
        )
    return ""
