"""SubagentStop: what a subagent said is kept, and what lies in its slot; its report is still to come."""

from __future__ import annotations

import json
import os
from pathlib import Path

from stratum_git.app.capturing import snapshot
from stratum_git.app.hooks.aided import repository_of
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked, Ground, names_secrets
from stratum_git.app.hooks.prolonging import renew
from stratum_git.app.hooks.tenants import CLIENTS, KEPT, Tenant, standing_in, tenant_of
from stratum_git.app.hooks.transcripts import sent_to
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.names import attempt_ref, seen_ref
from stratum_git.git.process import trust
from stratum_git.model.ids import FlowId, Oid, RefName, StepId

WORDS = 100_000


def subagent_stop(asked: Asked) -> Answer:
    """Keeps what a subagent said and what lies in its slot, and renews the lease: its report is to come."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    here = standing_in(asked)
    named = (here,) if here is not None else sent_to(asked, ground)
    renew(ground, [tenant for tenant in named if tenant.flow != CLIENTS])
    for tenant in () if names_secrets(ground) else named:
        if tenant.flow != CLIENTS:
            _note(asked, Path(tenant.folder(ground)))
        _keep(ground, tenant)
    return NOTHING


def _note(asked: Asked, folder: Path) -> None:
    """Writes down what a subagent said last, beside the attempt that it worked at."""
    if not folder.is_dir():
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
    path = folder / f"subagent-{name or 'unknown'}.json"
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(row, file, ensure_ascii=False, indent=1)
    fresh.replace(path)


def _keep(ground: Ground, tenant: Tenant) -> None:
    """Puts what lies in a slot on a ref."""
    if not Path(tenant.path).name.startswith("slot"):
        # A clone's objects are its own; it lies there until it is reported.
        return
    repo = repository_of(ground)
    trust(repo.common_dir, repo.root)
    own = attempt_ref(FlowId(tenant.flow), StepId(tenant.step), tenant.task, tenant.attempt)
    ref = RefName(f"{KEPT}{tenant.task}") if tenant.flow == CLIENTS else seen_ref(own)
    if tenant_of(tenant.path) == tenant:
        snapshot(repo, Path(tenant.path), Oid(tenant.base), ref, tenant.task or tenant.step)
