"""Who works on what now: a ref per attempt under way.

The ref points at a blob that names the holder; its object id is unique, so it serves as a fencing token:
whoever moves or deletes the ref names the lease he holds, and is refused when it is no longer his.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal

from stratum_git.agents.identity import ProcessIdentity, own_identity
from stratum_git.agents.identity import is_alive as runs
from stratum_git.git.objects import ObjectWriter, read_objects
from stratum_git.git.refs import read_refs, tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.model.changing import replace
from stratum_git.model.ids import OWN, Oid, RefName
from stratum_git.model.values import asdict, dataclass
from stratum_git.slots.lease_words import is_past, words_of

PREFIX = "refs/stratum/leases/"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on an attempt, until ``expires`` (seconds since the epoch)."""

    flow: str
    step: str
    task: str | None
    attempt: int
    holder: str
    identity: ProcessIdentity
    nonce: str
    expires: float
    kind: Literal["process", "open"] = "process"
    """A process holds it and lets go when it dies, or it is anybody's until it expires."""
    ends: float | None = None
    """The same moment as ``expires``, in seconds since the boot in ``identity``; for an open lease."""
    session: str = ""
    """The client's session through which a worker claimed it, where the client tells its servers that."""


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as the repository has it; ``lease`` is ``None`` when its words cannot be read.

    Nobody can be asked about such a one. It holds until somebody takes it over by its token.
    """

    token: Oid
    lease: Lease | None


def lease_ref(flow: str, step: str, task: str | None) -> RefName:
    """Returns the ref of the lease of a task, or of a step that one agent does."""
    return RefName(f"{PREFIX}{flow}/{step}/{OWN if task is None else task}")


def write_lease(writer: ObjectWriter, lease: Lease) -> Oid:
    """Writes a lease and returns its token."""
    return writer.blob(json.dumps(asdict(lease), indent=1, sort_keys=True).encode())


def read_leases(repo: Repository, flow: str | None = None) -> dict[RefName, HeldLease]:
    """Returns the leases of a flow, or of all flows. Two git processes, however many there are."""
    refs = read_refs(repo, f"{PREFIX}{flow}/" if flow is not None else PREFIX)
    said = read_tokens(repo, tuple(refs.values()))
    return {ref: HeldLease(token, said[token]) for ref, token in refs.items()}


def read_lease(repo: Repository, ref: RefName) -> HeldLease | None:
    """Returns the lease of one task, or ``None``."""
    token = tip_nowait(repo, ref)
    found = None if token is None else read_objects(repo, [token])[0]
    return None if token is None else HeldLease(token, None if found is None else _parsed(found.data))


def read_tokens(repo: Repository, tokens: Sequence[Oid]) -> dict[Oid, Lease | None]:
    """Returns what leases say, by their tokens; ``None`` for words that cannot be read. One git process."""
    found = read_objects(repo, tokens)
    return {t: None if o is None else _parsed(o.data) for t, o in zip(tokens, found, strict=True)}


def is_live(
    lease: Lease, *, now: float, uptime: float, is_alive: Callable[[ProcessIdentity], bool] = runs
) -> bool:
    """Returns whether the holder may still be at work at *now*, seconds since the epoch.

    On this host that is seen: the very process runs or it does not, and after a reboot it does not. Elsewhere
    only the expiry tells. Two hosts of one name may so take each other for dead; then two work on the same,
    and the token refuses the first one's result.
    """
    if lease.kind == "process" and lease.identity.host == own_identity().host:
        return is_alive(lease.identity)
    return now < lease.expires if lease.kind == "process" else not has_ended(lease, now=now, uptime=uptime)


def has_ended(lease: Lease, *, now: float, uptime: float) -> bool:
    """Returns whether the time of an open lease is over, by the best clock there is.

    In the boot of this machine in which it was given out that is *uptime*, seconds since then: whoever sets
    the wall clock ends no lease, and makes none last. Otherwise it is *now*, seconds since the epoch; a lease
    that seems to last longer than any was given out by a clock that was wrong, and nobody waits for that.
    """
    here, there = own_identity(), lease.identity
    is_here = (here.host, here.boot_id) == (there.host, there.boot_id)
    return is_past(lease.expires, lease.ends if is_here else None, now=now, uptime=uptime)


def prolonged(lease: Lease, seconds: float, *, now: float, uptime: float) -> Lease:
    """Returns an open lease that ends in *seconds*; this process answers for the clocks."""
    return replace(lease, identity=own_identity(), expires=now + seconds, ends=uptime + seconds)


def _parsed(data: bytes) -> Lease | None:
    said = words_of(data)
    if said is None:
        return None
    return Lease(
        flow=said.flow,
        step=said.step,
        task=said.task,
        attempt=said.attempt,
        holder=said.holder,
        identity=ProcessIdentity(said.pid, said.start_time, said.boot_id, said.host),
        nonce=said.nonce,
        expires=said.expires,
        kind="open" if said.kind == "open" else "process",
        ends=said.ends,
        session=said.session,
    )
