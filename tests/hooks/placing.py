"""Tasks in slots, and their leases, as a server hands them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stratum_git.app.clients import BATCH, note
from stratum_git.app.leasing import granted, offer
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.git.repository import head_of, open_repository
from stratum_git.model.effects import Launch
from stratum_git.model.ids import FlowId, RefName, StepId, TaskId
from stratum_git.slots.leases import lease_ref, write_lease
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.pool import SlotPool
from tests.hooks.asking import ClientHooks


def placed(client: ClientHooks, task: str = "one", flow: str = "f") -> Path:
    """Returns the place of a task of a client's flow, which nobody holds."""
    repo = open_repository(client.repo.path)
    pool = SlotPool(repo, client.folders)
    slot = pool.acquire(
        base=head_of(repo).oid,
        branch=RefName(f"refs/heads/stratum/{flow}/{task}"),
        occupant=Occupant(flow, "s1", task, 1),
        isolation="worktree",
    )
    client.folders.attempt(flow, "s1", task, 1)
    pool.leave(slot)
    return slot.path


def leased(
    client: ClientHooks,
    task: str = "one",
    flow: str = "f",
    *,
    holder: str = "",
    session: str = "",
    seconds: float = 60,
) -> None:
    """Gives a task out: to whoever drives the flow, or to a worker in a session."""
    repo = open_repository(client.repo.path)
    lease = offer(FlowId(flow), Launch(StepId("s1"), TaskId(task), 1))
    lease = granted(replace(lease, holder=holder, session=session, nonce=f"{task}-nonce"), seconds)
    writer = ObjectWriter(repo, durable=False)
    transact(repo, [RefUpdate(lease_ref(flow, "s1", task), write_lease(writer, lease), None)], message="x")


def driven(client: ClientHooks, flow: str = "f", session: str = "", kind: str = BATCH) -> None:
    """Notes that a session was given work."""
    note(client.folders.root, session or client.session, flow, kind)
