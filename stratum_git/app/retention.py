"""Removes what finished flows left once it has been kept for long enough, and says what.

Never touched: a flow that is not over, whatever a live process holds, a branch that somebody has checked out
or moved on. Refs go by compare-and-swap, and each is told with the commit that it was at: until git's own
garbage collection that can be had back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from stratum_git.app.client_retention import retire
from stratum_git.app.client_worktrees import Lender
from stratum_git.app.clients import notes_of
from stratum_git.app.config import read_config
from stratum_git.app.places import folders_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.resolving import open_resolutions
from stratum_git.dispatch.clock import monotonic, now, uptime
from stratum_git.errors import StratumError, UserError
from stratum_git.git.commits import Commit, commits_of
from stratum_git.git.compaction import let_go
from stratum_git.git.refs import LostRace, RefSession, RefUpdate, read_refs, tip_nowait
from stratum_git.git.registration import checked_out
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import discard
from stratum_git.model.ids import FlowId, Json, Oid, RefName
from stratum_git.slots import trash
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.leases import PREFIX as LEASES
from stratum_git.slots.leases import HeldLease, is_live, read_leases
from stratum_git.slots.occupancy import Occupied, Unreadable, read_record
from stratum_git.spawn.temporary import sweep_temporary
from stratum_git.store.flows import load
from stratum_git.store.listing import PREFIX as FLOWS
from stratum_git.store.listing import list_flows
from stratum_git.store.told import forget_words

OVER = frozenset({"complete", "failed", "cancelled", "killed"})
LEFT = ("refs/stratum/attempts/", "refs/stratum/conflicts/", "refs/stratum/stashes/", LEASES)
BRANCHES = "refs/heads/stratum/"
AT_ONCE = 200
"""Flows whose locks are held, and whose refs are deleted, at the same time."""
EMPTYING = 60.0
"""Seconds that are spent on deleting files; what is left then is in the trash, for the next time."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass
class Removed:
    """What was removed, or would be, and what was left although it is old enough, with the reason."""

    refs: dict[RefName, Oid] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    flows: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    is_all: bool = True

    def row(self) -> dict[str, Json]:
        """Returns it as JSON."""
        return {
            "flows": [*self.flows],
            "refs": [{"ref": ref, "was": oid} for ref, oid in self.refs.items()],
            "paths": [str(path) for path in self.paths],
            "kept": [{"what": what, "why": why} for what, why in self.kept.items()],
            "is_all": self.is_all,
        }


@dataclass(frozen=True, slots=True)
class _Yard:
    """What there is, read once."""

    repo: Repository
    folders: StateFolders
    refs: Mapping[str, Mapping[RefName, Oid]]
    in_use: frozenset[RefName]
    busy: frozenset[str]
    flows: Mapping[RefName, Oid]


def age(text: str) -> float:
    """Returns a span of time like ``30d`` in seconds; raises UserError."""
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if found is None:
        raise UserError(f"{text!r} is not a span of time", hint="for example 30d, 12h, 0s")
    return int(found[1]) * UNITS[found[2]]


def retain(
    around: Surroundings,
    older_than: float | None,
    *,
    flows: bool = False,
    worktrees: bool = False,
    dry_run: bool = False,
) -> Removed:
    """Removes what flows left that have been over for *older_than* seconds; with *flows*, themselves too.

    What clients left besides goes as well when it is as old; with *worktrees*, those whatever their age.
    """
    repo = around.repository()
    config = read_config(repo.root)
    limit = now() - (age(config.retention) if older_than is None else older_than)
    # Before their states: what moved since then is not what was looked at.
    tips = read_refs(repo, FLOWS)
    listing = list_flows(repo)
    old = [header.flow for header in listing.headers if header.status in OVER and header.updated <= limit]
    yard = _yard(repo, folders_of(around, repo, config), tips)
    removed = Removed()
    for flow in (flow for flow in old if flow in yard.busy):
        removed.kept[f"flow {flow}"] = _why_busy(repo, FlowId(flow))
    names = [flow for flow in old if flow not in yard.busy]
    with RefSession(repo, "stratum-git: gc", durable=True) as session:
        for start in range(0, len(names), AT_ONCE):
            _collect(yard, session, names[start : start + AT_ONCE], removed, flows=flows, dry_run=dry_run)
    _orphans(yard, limit, removed)
    if not dry_run:
        sweep_temporary()
        _discard(yard.folders, removed)
        if flows and names:
            forget_words(str(repo.common_dir))
        # What is in them and on no ref any more, git deletes; in packs that are kept it would not.
        let_go(repo)
    lender = Lender(repo, yard.folders, config.slots_keep, config.slots_rung)
    clients = retire(lender, limit, now() if worktrees else limit, dry_run=dry_run)
    removed.refs |= clients.refs
    removed.paths += clients.paths
    removed.kept |= clients.kept
    return removed


def _why_busy(repo: Repository, flow: FlowId) -> str:
    with suppress(StratumError):
        who = next(iter(open_resolutions(load(repo, flow)[0].state)), None)
        if who is not None:
            verb = f"`stratum-git resolve {flow} {who[1]}`"
            return f"{who[2].by} resolves the conflict of {who[1]} in a slot: {verb}"
    return "somebody is at work on it, or its work lies in a slot"


def _yard(repo: Repository, folders: StateFolders, tips: Mapping[RefName, Oid]) -> _Yard:
    by_flow: dict[str, dict[RefName, Oid]] = {}
    for prefix in (*LEFT, BRANCHES):
        for ref, oid in read_refs(repo, prefix).items():
            by_flow.setdefault(ref.removeprefix(prefix).partition("/")[0], {})[ref] = oid
    busy = {*_tenants(folders), *_leaseholders(read_leases(repo).values())}
    in_use = frozenset({*checked_out(repo).values(), *_being_rebased(repo)})
    return _Yard(repo, folders, by_flow, in_use, frozenset(busy), tips)


def _tenants(folders: StateFolders) -> Iterator[str]:
    place = folders.root / "slots"
    for path in place.glob("*.json") if place.is_dir() else ():
        record = read_record(path.with_suffix(""))
        if isinstance(record, Occupied):
            yield record.occupant.flow
        elif isinstance(record, Unreadable):
            # Whose work it is, nobody knows; nothing of it lies where this looks.
            continue


def _leaseholders(leases: Iterable[HeldLease]) -> Iterator[str]:
    for held in leases:
        if held.lease is not None and is_live(held.lease, now=now(), uptime=uptime()):
            yield held.lease.flow


def _being_rebased(repo: Repository) -> Iterator[RefName]:
    """Yields the branches that somebody is in the middle of rebasing: no HEAD is on them meanwhile."""
    for folder in (repo.common_dir, *(repo.common_dir / "worktrees").glob("*")):
        for name in ("rebase-merge/head-name", "rebase-apply/head-name"):
            if (folder / name).is_file():
                text = (folder / name).read_text(encoding="utf-8", errors="surrogateescape")
                yield RefName(text.strip())


def _collect(
    yard: _Yard, session: RefSession, names: Sequence[str], removed: Removed, *, flows: bool, dry_run: bool
) -> None:
    with ExitStack() as stack:
        locked = [name for name in names if _is_locked(yard.folders, name, stack, removed)]
        free = [name for name in locked if _is_as_it_was(yard, name, removed)]
        refs = {ref: oid for name in free for ref, oid in yard.refs.get(name, {}).items()}
        ours = _ours(yard, free, refs)
        for ref in [ref for ref in refs if ref.startswith(BRANCHES) and not _goes(yard, ref, ours, removed)]:
            del refs[ref]
        if flows:
            refs |= {RefName(FLOWS + name): yard.flows[RefName(FLOWS + name)] for name in free}
        gone = refs if dry_run else _deleted(session, refs, removed)
        removed.refs |= gone
        for name in free:
            paths = list(_paths(yard.folders, name))
            locks = list(_locks(yard, name))
            if paths or any(ref in gone for ref in yard.refs.get(name, {})) or flows:
                removed.flows.append(name)
            removed.paths += [*paths, *locks]
            for lock in () if dry_run else locks:
                lock.unlink(missing_ok=True)


def _is_locked(folders: StateFolders, name: str, stack: ExitStack, removed: Removed) -> bool:
    """Takes the locks of a flow, so that nobody begins anything with it; returns whether they were free."""
    for kind in ("flow", "call"):
        path = folders.root / "locks" / f"{kind}-{name}.lock"
        if not path.exists():
            continue
        try:
            stack.enter_context(FileLock(path, thread_local=False, mode=0o600).acquire(timeout=0))
        except Timeout:
            removed.kept[f"flow {name}"] = "somebody is at work on it"
            return False
    return True


def _is_as_it_was(yard: _Yard, name: str, removed: Removed) -> bool:
    """Returns whether a flow is where it was when it was looked at: a client may have taken it back."""
    ref = RefName(FLOWS + name)
    if ref in yard.flows and tip_nowait(yard.repo, ref) == yard.flows[ref]:
        return True
    removed.kept[f"flow {name}"] = "somebody has gone on with it meanwhile"
    return False


def _ours(yard: _Yard, names: Iterable[str], refs: Mapping[RefName, Oid]) -> frozenset[Oid]:
    """Returns the commits that branches were put at: results, and where attempts started."""
    tips = [yard.flows[RefName(FLOWS + name)] for name in names]
    stdin = "".join(f"{tip}\n" for tip in tips).encode()
    asked = ("log", "--first-parent", "--format=%P", "--stdin")
    out = yard.repo.git.run(*asked, stdin=stdin).stdout.decode("ascii") if tips else ""
    told = {Oid(parent) for line in out.splitlines() for parent in line.split()[1:]}
    told |= {oid for ref, oid in refs.items() if not ref.startswith(BRANCHES)}
    unknown = [oid for ref, oid in refs.items() if ref.startswith(BRANCHES) and oid not in told]
    return frozenset({*told, *(c.oid for c in commits_of(yard.repo, unknown).values() if _is_base(c))})


def _is_base(commit: Commit) -> bool:
    """Returns whether a commit is one that was made for tasks to start from."""
    return commit.author.name == "stratum-git" and commit.message.startswith("Base of ")


def _goes(yard: _Yard, ref: RefName, ours: frozenset[Oid], removed: Removed) -> bool:
    if ref in yard.in_use:
        removed.kept[ref] = "it is checked out"
        return False
    if yard.refs[_flow_of(ref)][ref] not in ours:
        removed.kept[ref] = "somebody has moved it on"
        return False
    if ref.endswith("/session") and not _is_elsewhere(yard, ref):
        removed.kept[ref] = "what a session made is on no other branch"
        return False
    return True


def _is_elsewhere(yard: _Yard, ref: RefName) -> bool:
    """Returns whether a branch that is not stratum-git's has what *ref* has."""
    asked = ("for-each-ref", "--format=%(refname)", "--contains", yard.refs[_flow_of(ref)][ref])
    found = yard.repo.git.run(*asked, "refs/heads", "refs/remotes", "refs/tags").stdout.split()
    return any(not name.startswith(BRANCHES.encode()) for name in found)


def _flow_of(ref: RefName) -> str:
    return ref.removeprefix(BRANCHES).partition("/")[0]


def _deleted(session: RefSession, refs: Mapping[RefName, Oid], removed: Removed) -> dict[RefName, Oid]:
    """Deletes refs, all in one transaction, but for those that moved meanwhile; returns the others."""
    left = dict(refs)
    while left:
        answer = session.transact([RefUpdate(ref, None, oid) for ref, oid in left.items()])
        if not isinstance(answer, LostRace):
            return left
        removed.kept[answer.ref] = "it moved meanwhile"
        removed.is_all = False
        if left.pop(answer.ref, None) is None:
            break
    return {}


def _paths(folders: StateFolders, name: str) -> Iterator[Path]:
    own = (folders.root / "attempts" / name, folders.root / "radar" / name)
    for path in (*own, folders.root / "runners" / f"{name}.log", *notes_of(folders.root, name)):
        if path.exists():
            yield path


def _locks(yard: _Yard, name: str) -> Iterator[Path]:
    """Yields the lock files of a flow, which are empty; not those that may be another flow's."""
    others = [ref.removeprefix(FLOWS) for ref in yard.flows if ref.startswith(f"{FLOWS}{name}-")]
    place = yard.folders.root / "locks"
    own = (path for path in (place / f"call-{name}.lock", place / f"flow-{name}.lock") if path.exists())
    for path in (*own, *sorted(place.glob(f"place-{name}-*.lock"))):
        if not any(path.name.startswith(f"place-{other}-") for other in others):
            yield path


def _orphans(yard: _Yard, limit: float, removed: Removed) -> None:
    """Adds the folders of flows that the repository has no more, of those that are older than *limit*."""
    for top in (yard.folders.root / name for name in ("attempts", "runners", "radar")):
        for path in sorted(top.iterdir()) if top.is_dir() else ():
            name = path.name.removesuffix(".log")
            is_gone = RefName(FLOWS + name) not in yard.flows and name not in yard.busy
            if is_gone and path not in removed.paths and path.stat().st_mtime <= limit:
                removed.paths.append(path)


def _discard(folders: StateFolders, removed: Removed, clock: Callable[[], float] = monotonic) -> None:
    for path in removed.paths:
        if path.exists():
            discard(path, folders.trash)
    if (folders.root / "trash").is_dir():
        removed.is_all &= trash.empty(folders.trash, limit=EMPTYING, clock=clock)
