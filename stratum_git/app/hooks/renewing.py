"""Renews what a subagent that starts, or stops, has a right to: what takes git, and more than a look."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stratum_git.app.client_records import FLOW, client_worktrees, rest
from stratum_git.app.hooks.aided import repository_of
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked, Ground
from stratum_git.app.hooks.subagents import CLAIMED, OFFERED, rules, whose
from stratum_git.app.hooks.tenants import Tenant
from stratum_git.dispatch.clock import now, uptime
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.model.ids import RefName
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.leases import prolonged, read_lease, write_lease


def subagent_start(asked: Asked) -> Answer:
    """Tells a subagent that works in a slot what holds there, and renews its lease."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    here, tasks = whose(asked, ground)
    if here is not None and here.flow == FLOW:
        _wake(ground, here)
    renew(ground, tasks)
    return rules(here, tasks)


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
    folders = StateFolders(Path(ground.state))
    for one in client_worktrees(folders):
        if one.key == here.task and one.rested:
            rest(folders, one, 0.0)
