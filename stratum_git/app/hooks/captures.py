"""SubagentStop, where departures.py is not enough: what lies in a slot is kept, and its lease renewed."""

from __future__ import annotations

from pathlib import Path

from stratum_git.app.capturing import snapshot
from stratum_git.app.hooks.aided import repository_of
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked, Ground, names_secrets
from stratum_git.app.hooks.departures import is_slot, named_by, note
from stratum_git.app.hooks.prolonging import renew
from stratum_git.app.hooks.subagents import is_due
from stratum_git.app.hooks.tenants import CLIENTS, KEPT, Tenant, tenant_of
from stratum_git.dispatch.names import attempt_ref, seen_ref
from stratum_git.git.process import trust
from stratum_git.git.whereabouts import Undecided
from stratum_git.model.ids import FlowId, Oid, RefName, StepId


def subagent_stop(asked: Asked) -> Answer:
    """Keeps what a subagent said and what lies in its slot, and renews the lease: its report is to come."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    named = named_by(asked, ground)
    renew(ground, [tenant for tenant in named if tenant.flow != CLIENTS and _may_be_due(ground, tenant)])
    for tenant in () if names_secrets(ground) else named:
        if tenant.flow != CLIENTS:
            note(asked, tenant.folder(ground))
        _keep(ground, tenant)
    return NOTHING


def _may_be_due(ground: Ground, tenant: Tenant) -> bool:
    try:
        return is_due(ground, tenant)
    except Undecided:
        # Whoever renews it asks git.
        return True


def _keep(ground: Ground, tenant: Tenant) -> None:
    """Puts what lies in a slot on a ref."""
    if not is_slot(tenant):
        return
    repo = repository_of(ground)
    trust(repo.common_dir, repo.root)
    own = attempt_ref(FlowId(tenant.flow), StepId(tenant.step), tenant.task, tenant.attempt)
    ref = RefName(f"{KEPT}{tenant.task}") if tenant.flow == CLIENTS else seen_ref(own)
    if tenant_of(tenant.path) == tenant:
        snapshot(repo, Path(tenant.path), Oid(tenant.base), ref, tenant.task or tenant.step)
