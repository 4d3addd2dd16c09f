"""SubagentStart and SubagentStop: a subagent is told whose place it is in, and what it left there is kept.

Which slot is a subagent's, its folder tells, else its prompt: in the client's transcript of it once there is
one, before that among the calls of the session's that have no answer yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from stratum_git.app.capturing import snapshot
from stratum_git.app.client_worktrees import PREFIX, client_worktrees
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked, Ground, advice, names_secrets
from stratum_git.app.hooks.tenants import Tenant, standing_in, tenant_of
from stratum_git.app.hooks.transcripts import called, sent_to
from stratum_git.app.hooks.unreported import repository_of
from stratum_git.app.hooks.worktrees import lender_from_above
from stratum_git.dispatch.clock import now, uptime
from stratum_git.dispatch.names import attempt_ref, seen_ref
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.process import trust
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.model.ids import FlowId, Oid, RefName, StepId
from stratum_git.slots.leases import prolonged, read_lease, write_lease

OFFERED, CLAIMED = 3600.0, 900.0
"""Seconds that a task of the client's, or of a worker's, is his for while a subagent is at work on it."""
WORDS = 100_000
WORKTREES = "-worktrees"


def subagent_start(asked: Asked) -> Answer:
    """Tells a subagent that works in a slot what holds there, and renews its lease."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    here = standing_in(asked)
    named = (here,) if here is not None else called(asked, ground)
    tasks = [tenant for tenant in named if tenant.flow != WORKTREES]
    if here is not None and here.flow == WORKTREES:
        _wake(asked, here)
    _renew(ground, tasks)
    words = _rules(here, tasks)
    return advice("SubagentStart", words) if words else NOTHING


def subagent_stop(asked: Asked) -> Answer:
    """Keeps what a subagent said and what lies in its slot, and renews the lease: its report is to come."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    here = standing_in(asked)
    named = (here,) if here is not None else sent_to(asked, ground)
    _renew(ground, [tenant for tenant in named if tenant.flow != WORKTREES])
    for tenant in () if names_secrets(ground) else named:
        if tenant.flow != WORKTREES:
            _note(asked, tenant.folder(ground))
        _keep(ground, tenant)
    return NOTHING


def _rules(here: Tenant | None, tasks: list[Tenant]) -> str:
    if here is not None and here.flow == WORKTREES:
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


def _renew(ground: Ground, tasks: Iterable[Tenant]) -> None:
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


def _wake(asked: Asked, here: Tenant) -> None:
    """Notes that somebody goes on in a worktree whose subagent had ended."""
    lender = lender_from_above(asked)
    for one in client_worktrees(lender.folders):
        if one.key == here.task and one.rested:
            lender.rest(one, 0.0)


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
    if not tenant.path.name.startswith("slot"):
        # A clone's objects are its own; it lies there until it is reported.
        return
    repo = repository_of(ground)
    trust(repo.common_dir, repo.root)
    own = attempt_ref(FlowId(tenant.flow), StepId(tenant.step), tenant.task, tenant.attempt)
    ref = RefName(f"{PREFIX}{tenant.task}") if tenant.flow == WORKTREES else seen_ref(own)
    if tenant_of(tenant.path) == tenant:
        snapshot(repo, tenant.path, Oid(tenant.base), ref, tenant.task or tenant.step)
