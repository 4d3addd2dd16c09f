"""Tasks that were given to a session and of which nobody has said what became of them."""

from __future__ import annotations

from stratum_git.app.clients import driven_by
from stratum_git.app.hooks.tenants import tenants
from stratum_git.dispatch.clock import now, uptime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratum_git.app.hooks.asked import Ground
    from stratum_git.slots.lease_words import LeaseWords

SHOWN = 12


class Unreported:
    """A task, its lease, and where its work lies."""

    __slots__ = ("lease", "path")

    def __init__(self, lease: LeaseWords, path: str) -> None:
        self.lease = lease
        self.path = path

    @property
    def name(self) -> str:
        """Returns the name of its lease, as the one who has it was told."""
        lease = self.lease
        return f"{lease.flow}/{lease.step}/{lease.task}/{lease.attempt}-{lease.nonce}"


def unreported(ground: Ground, session: str) -> tuple[Unreported, ...]:
    """Returns the tasks that a session was given and has not reported, by the leases there are now."""
    places = {(who.flow, who.step, who.task, who.attempt): who.path for who in tenants(ground)}
    return tuple(
        Unreported(
            lease, places.get((lease.flow, lease.step, lease.task, lease.attempt), ground.checkout.root)
        )
        for lease in _leases(ground, session)
    )


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


def _leases(ground: Ground, session: str) -> Iterator[LeaseWords]:
    driven = driven_by(ground.state, session)
    for lease in ground.looks.leases().values():
        if not lease.holder:
            if lease.flow in driven:
                yield lease
        elif lease.session == session and not lease.has_ended(now=now(), uptime=uptime()):
            # Of one that has ended nobody would take a report.
            yield lease
