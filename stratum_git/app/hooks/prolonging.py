"""Lets the leases last of tasks that a subagent is at work on."""

from __future__ import annotations

from collections.abc import Iterable

from stratum_git.app.hooks.aided import repository_of
from stratum_git.app.hooks.asked import Ground
from stratum_git.app.hooks.subagents import CLAIMED, OFFERED
from stratum_git.app.hooks.tenants import Tenant
from stratum_git.dispatch.clock import now, uptime
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.model.ids import RefName
from stratum_git.slots.leases import prolonged, read_lease, write_lease


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
