"""What flows left behind: slots, leases, worktrees of clients, locks, and flows that nobody runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from stratum_git.app.client_worktrees import client_worktrees
from stratum_git.app.doctor.finding import Finding
from stratum_git.app.recovery import inhabited
from stratum_git.core.resolving import open_resolutions
from stratum_git.core.sessions import is_at_rest
from stratum_git.dispatch.clock import now, uptime
from stratum_git.errors import StratumError
from stratum_git.git.deregistration import is_going
from stratum_git.git.files import read_pointer
from stratum_git.git.repository import Repository
from stratum_git.git.stale_locks import locks_in
from stratum_git.model.ids import FlowId, RefName
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.leases import HeldLease, Lease, is_live, read_leases
from stratum_git.slots.occupancy import Occupant, Occupied, Unreadable, read_record, try_lock
from stratum_git.store.flows import load
from stratum_git.store.listing import list_flows

PASSING = 10.0
"""Seconds that a lock of git's may be there without anything being wrong."""
SHOWN = 10
"""Leases that are named."""
DAY = 86_400.0


def leftovers(repo: Repository, folders: StateFolders) -> Iterator[Finding]:
    """Says what lies about."""
    leases = read_leases(repo)
    yield from _flows(repo, folders)
    yield from _leases(leases)
    yield from _slots(repo, folders, leases)
    yield from _registrations(repo, folders)
    yield from _worktrees(folders)
    yield from _locks(repo)
    yield from _failed_hooks(folders)


def _flows(repo: Repository, folders: StateFolders) -> Iterator[Finding]:
    listing = list_flows(repo)
    yield Finding("flows", "ok", f"{len(listing.headers)} flows")
    for remark in listing.remarks:
        yield Finding("flows", "fail", remark, fix="git fsck")
    for row in listing.headers:
        flow = row.flow
        again = f"stratum-git resume {flow}"
        if row.status == "blocked":
            yield Finding(f"flow {flow}", "warn", "its landing is blocked", again, again)
        elif row.status == "running" and row.driver == "runner" and not _is_held(folders, flow):
            yield Finding(f"flow {flow}", "warn", "nobody runs it", again, again)


def _is_held(folders: StateFolders, flow: str) -> bool:
    path = folders.root / "locks" / f"flow-{flow}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, thread_local=False, mode=0o600).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _leases(leases: Mapping[RefName, HeldLease]) -> Iterator[Finding]:
    shown = 0
    for ref, held in leases.items():
        lease = held.lease
        if lease is None:
            yield Finding("lease", "fail", f"{ref} cannot be read", fix=f"git cat-file -p {ref}")
            continue
        if is_live(lease, now=now(), uptime=uptime()) or shown == SHOWN:
            continue
        shown += 1
        detail = f"{_name(lease)} was {lease.holder}'s, and the lease is over"
        hint = "who takes the flow up next gives the task out again"
        yield Finding("lease", "warn", detail, hint, f"stratum-git resume {lease.flow}")
    holders = sorted(
        {h.lease.holder for h in leases.values() if h.lease and is_live(h.lease, now=now(), uptime=uptime())}
    )
    if holders:
        yield Finding("leases", "ok", f"at work: {', '.join(holders)}")


def _name(lease: Lease) -> str:
    return "/".join(part for part in (lease.flow, lease.step, lease.task) if part)


def _slots(repo: Repository, folders: StateFolders, held: Mapping[RefName, HeldLease]) -> Iterator[Finding]:
    leases = {
        (one.lease.flow, one.lease.step, one.lease.task, one.lease.attempt): one.lease
        for one in held.values()
        if one.lease is not None
    }
    paths = sorted(p.with_suffix("") for p in (folders.root / "slots").glob("*.json"))
    people = _people(repo, paths)
    lent = {one.occupant for one in client_worktrees(folders)}
    yield Finding("slots", "ok", f"{len(paths)} slots, {len(leases)} leases")
    for path in paths:
        record = read_record(path)
        if isinstance(record, Unreadable):
            hint = "save what you need of it, then delete its .json file"
            detail = f"the record of {path} cannot be read"
            yield Finding(f"slot {path.name}", "fail", detail, hint, f"rm {path}.json")
        elif isinstance(record, Occupied) and record.occupant not in lent:
            who = record.occupant
            lease = leases.get((who.flow, who.step, who.task, who.attempt))
            lock = try_lock(path)
            if lock is None:
                continue
            lock.release()
            by = people.get(who)
            if by is not None:
                yield Finding(f"slot {path.name}", "ok", f"{by} in {path}")
            elif lease is None or not is_live(lease, now=now(), uptime=uptime()):
                detail = f"work of {who.flow}/{who.step}/{who.task} lies in {path}, and nobody is at it"
                hint = f"stratum-git resume {who.flow}, or stratum_resume, keeps it"
                fix = f"stratum-git resume {who.flow}"
                yield Finding(f"slot {path.name}", "warn", detail, hint, fix)


def _people(repo: Repository, slots: Iterable[Path]) -> dict[Occupant, str]:
    """Returns what goes on in slots that no process holds, by whose slots these are."""
    records = (read_record(path) for path in slots)
    flows = {FlowId(record.occupant.flow) for record in records if isinstance(record, Occupied)}
    found: dict[Occupant, str] = {}
    for flow in flows:
        with suppress(StratumError):
            state = load(repo, flow)[0].state
            if is_at_rest(state):
                found |= dict.fromkeys(inhabited(state), f"the session {flow} rests")
            for step, task, who in open_resolutions(state):
                said = f"{who.by} resolves the conflict of {task}"
                found[Occupant(flow, step, task, who.attempt)] = said
    return found


def _registrations(repo: Repository, folders: StateFolders) -> Iterator[Finding]:
    slots = (folders.root / "slots").resolve()
    for entry in sorted((repo.common_dir / "worktrees").glob("slot-*")):
        try:
            place = Path(read_pointer(entry / "gitdir")).parent
        except OSError:
            if is_going(repo, entry):
                continue
            detail = f"the registration {entry} says no place"
            hint = "the next run tidies up; or, with no run under way, delete it"
            yield Finding("worktrees", "warn", detail, hint, f"rm -r {entry}")
            continue
        if not place.is_dir():
            detail = f"{place} is registered as a worktree, and is not there"
            hint = "the next run that makes slots tidies up"
            yield Finding("worktrees", "warn", detail, hint, f"git worktree remove --force --force {place}")
        elif not (entry / "locked").exists():
            detail = f"the slot {place} is not locked: `git worktree prune` may take it for gone"
            yield Finding("worktrees", "warn", detail, "lock it", f"git worktree lock {place}")
        elif place.resolve().parent != slots:
            detail = f"{place} is a slot of another state folder than {slots}"
            hint = "XDG_STATE_HOME or slots.root was another one when it was made"
            fix = f"git worktree remove --force --force {place}"
            yield Finding("worktrees", "warn", detail, hint, fix)


def _worktrees(folders: StateFolders) -> Iterator[Finding]:
    found = client_worktrees(folders)
    left = [one for one in found if one.is_over()]
    if found:
        yield Finding("client worktrees", "ok", f"{len(found)} worktrees that a client asked for")
    for one in left:
        detail = f"the client that asked for {one.path or one.name} is gone"
        hint = "what was done there is kept; the next session gives back what nobody worked in"
        fix = f"git log -1 --stat {one.branch.removeprefix('refs/heads/')}"
        yield Finding("client worktree", "warn", detail, hint, fix)


def _locks(repo: Repository) -> Iterator[Finding]:
    for lock, is_ours in locks_in(repo.common_dir).items():
        try:
            age = now() - lock.stat().st_mtime
        except FileNotFoundError:
            continue
        if age < PASSING:
            continue
        hint, fix = "when no git is at work in the repository, delete it", f"rm {lock}"
        if is_ours:
            hint, fix = "it is ours: the next run that needs it deletes it, if its git is dead", ""
        yield Finding("lock", "warn", f"{lock} is {age:.0f} s old", hint, fix)


def _failed_hooks(folders: StateFolders) -> Iterator[Finding]:
    log = folders.root / "hooks.log"
    try:
        if now() - log.stat().st_mtime > DAY:
            return
        last = log.read_bytes()[-2000:].decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return
    if last:
        yield Finding("hooks.log", "warn", f"a hook failed: {last[-1][:300]}", "", f"tail {log}")
