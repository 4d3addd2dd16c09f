"""Tasks that were given to a session and of which nobody has said what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stratum_git.app.clients import driven_by
from stratum_git.app.hooks.asked import Ground
from stratum_git.app.hooks.tenants import tenants
from stratum_git.dispatch.clock import now, uptime
from stratum_git.git.repository import Repository
from stratum_git.slots.leases import Lease, has_ended, read_leases

SHOWN = 12


@dataclass(frozen=True, slots=True)
class Unreported:
    """A task, its lease, and where its work lies."""

    lease: Lease
    path: Path

    @property
    def name(self) -> str:
        """Returns the name of its lease, as the one who has it was told."""
        lease = self.lease
        return f"{lease.flow}/{lease.step}/{lease.task}/{lease.attempt}-{lease.nonce}"


def repository_of(ground: Ground) -> Repository:
    """Returns the repository, without asking git about it."""
    layout = ground.layout
    return Repository(layout.root, layout.git_dir, layout.common_dir, layout.object_format)


def unreported(ground: Ground, session: str) -> tuple[Unreported, ...]:
    """Returns the tasks that a session was given and has not reported, by the leases there are now."""
    places = {(who.flow, who.step, who.task, who.attempt): who.path for who in tenants(ground)}
    return tuple(
        Unreported(lease, places.get((lease.flow, lease.step, lease.task, lease.attempt), ground.layout.root))
        for lease in _leases(ground, session)
    )


def all_unreported(ground: Ground) -> tuple[Lease, ...]:
    """Returns the open leases of the repository, whoever was given them."""
    held = read_leases(repository_of(ground)).values()
    return tuple(one.lease for one in held if one.lease is not None and one.lease.kind == "open")


def listed(work: tuple[Unreported, ...]) -> str:
    """Returns the tasks in lines, each with its place."""
    lines = [
        f"- {one.lease.task} (attempt {one.lease.attempt}, flow {one.lease.flow}): {one.path}" for one in work
    ]
    more = len(lines) - SHOWN
    return "\n".join([*lines[:SHOWN], *([f"- and {more} more"] if more > 0 else [])])


def calls(work: tuple[Unreported, ...]) -> str:
    """Returns the calls that report them."""
    steps = dict.fromkeys((one.lease.flow, one.lease.step) for one in work if not one.lease.holder)
    told = [
        f'stratum_parallel_done(flow_id="{flow}", step_id="{step}", task_results=[{{"task_id": ..., '
        f'"status": "complete" | "failed", "result": ...}}], merge_status="clean")'
        for flow, step in steps
    ]
    told += [f'stratum_task_complete(lease="{one.name}", ...)' for one in work if one.lease.holder]
    return "\n".join(told[:SHOWN])


def _leases(ground: Ground, session: str) -> Iterator[Lease]:
    driven = driven_by(ground.state, session)
    for lease in all_unreported(ground):
        if not lease.holder:
            if lease.flow in driven:
                yield lease
        elif lease.session == session and not has_ended(lease, now=now(), uptime=uptime()):
            # Of one that has ended nobody would take a report.
            yield lease
