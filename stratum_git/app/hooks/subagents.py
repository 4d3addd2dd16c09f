"""SubagentStart: a subagent is told whose place it is in, and keeps the right to it.

Which slot is a subagent's, its folder tells, else its prompt: in the client's transcript of it once there is
one, before that among the calls of the session's that have no answer yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from stratum_git.app.client_records import FLOW, client_worktrees, rest
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked, Ground, advice
from stratum_git.app.hooks.tenants import Tenant, standing_in
from stratum_git.app.hooks.transcripts import called
from stratum_git.app.hooks.unreported import repository_of
from stratum_git.dispatch.clock import now, uptime
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.model.ids import RefName
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.leases import prolonged, read_lease, write_lease

OFFERED, CLAIMED = 3600.0, 900.0
"""Seconds that a task of the client's, or of a worker's, is his for while a subagent is at work on it."""


def subagent_start(asked: Asked) -> Answer:
    """Tells a subagent that works in a slot what holds there, and renews its lease."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    here = standing_in(asked)
    named = (here,) if here is not None else called(asked, ground)
    tasks = [tenant for tenant in named if tenant.flow != FLOW]
    if here is not None and here.flow == FLOW:
        _wake(ground, here)
    renew(ground, tasks)
    words = _rules(here, tasks)
    return advice("SubagentStart", words) if words else NOTHING


def _rules(here: Tenant | None, tasks: list[Tenant]) -> str:
    if here is not None and here.flow == FLOW:
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


def renew(ground: Ground, tasks: Iterable[Tenant]) -> None:
    """Lets leases last, where half of their time is over: they are compared, so others count on them."""
    repo = repository_of(ground)
    for tenant in tasks:
        ref = RefName(tenant.lease)
        held = read_lease(repo, ref)
        lease = None if held is None else held.lease
        if held is None or lease is None or lease.kind != "open" or lease.attempt != tenant.attempt:
            continue
        seconds = CLAIMED if lease.holder else OFFERED
        if not 0 < lease.expires - now() < seconds / 2:
            continue
        writer = ObjectWriter(repo, durable=True)
        token = write_lease(writer, prolonged(lease, seconds, now=now(), uptime=uptime()))
        writer.sync()
        transact(repo, [RefUpdate(ref, token, held.token)], message="stratum-git", durable=True)


def _wake(ground: Ground, here: Tenant) -> None:
    """Notes that somebody goes on in a worktree whose subagent had ended."""
    folders = StateFolders(ground.state)
    for one in client_worktrees(folders):
        if one.key == here.task and one.rested:
            rest(folders, one, 0.0)
