"""Whether everything is as it has to be: this machine, the repository, the settings, what was left behind.

It changes nothing. Each finding says what to do.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from filelock import FileLock, Timeout

from stratum_git import __version__
from stratum_git.agents.base import AgentSpec
from stratum_git.agents.command import which_problem
from stratum_git.agents.kinds import agent_of
from stratum_git.app.client_worktrees import FLOW as CLIENT_WORKTREES
from stratum_git.app.config import read_config
from stratum_git.app.drivers import driver_specs
from stratum_git.app.places import folders_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.resolving import open_resolutions
from stratum_git.dispatch.clock import now, uptime
from stratum_git.errors import StratumError
from stratum_git.git.process import git_version, require_git
from stratum_git.git.repository import Repository, head_of, identity
from stratum_git.git.stale_locks import locks_in
from stratum_git.model.ids import FlowId, Json
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.leases import is_live, read_leases
from stratum_git.slots.occupancy import Occupant, Occupied, Unreadable, read_record, try_lock
from stratum_git.store.flows import load
from stratum_git.store.listing import list_flows

Verdict: TypeAlias = Literal["ok", "warn", "fail"]
SPACE = 1024**3
"""Bytes that should be free where slots lie; each one is a checkout."""

PASSING = 10.0
"""Seconds that a lock of git's may be there without anything being wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    check: str
    verdict: Verdict
    detail: str
    hint: str = ""

    def row(self) -> dict[str, Json]:
        """Returns it as JSON."""
        return {"check": self.check, "verdict": self.verdict, "detail": self.detail, "hint": self.hint}


def examine(around: Surroundings) -> tuple[Finding, ...]:
    """Returns what every check came to; those that need a repository are left out where there is none."""
    found = [*_guarded("program", _program), *_guarded("git", _git)]
    repos: list[Repository] = []

    def repository() -> Iterator[Finding]:
        repos.append(around.repository())
        yield Finding("repository", "ok", str(repos[0].root))

    found += _guarded("repository", repository)
    for repo in repos:
        found += _guarded("head", lambda repo=repo: _head(repo))  # type: ignore[misc]
        found += _guarded("settings", lambda repo=repo: _settings(around, repo))  # type: ignore[misc]
        found += _guarded("leftovers", lambda repo=repo: _leftovers(around, repo))  # type: ignore[misc]
    return tuple(found)


def _guarded(check: str, work: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(work())
    except StratumError as error:
        return [Finding(check, "fail", error.message, error.hint)]
    except OSError as error:
        return [Finding(check, "fail", str(error))]


def _program() -> Iterator[Finding]:
    yield Finding("program", "ok", f"stratum-git {__version__}, Python {platform.python_version()}")


def _git() -> Iterator[Finding]:
    require_git()
    yield Finding("git", "ok", f"git {'.'.join(map(str, git_version()))}")


def _head(repo: Repository) -> Iterator[Finding]:
    head = head_of(repo)
    if head.branch is None:
        hint = "check a branch out: results land on it"
        yield Finding("head", "warn", f"HEAD is detached at {head.oid}", hint)
    else:
        yield Finding("head", "ok", f"{head.branch} at {head.oid}")
    who = identity(repo)
    if who.email == "stratum-git@localhost":
        hint = "git config user.name NAME; git config user.email ADDRESS"
        yield Finding("identity", "warn", "nobody is set to commit as", hint)
    else:
        yield Finding("identity", "ok", f"{who.name} <{who.email}>")


def _settings(around: Surroundings, repo: Repository) -> Iterator[Finding]:
    config = read_config(repo.root)
    for name, spec in config.agents.items():
        problem = agent_of(spec, around.environment).problem()
        verdict: Verdict = "ok" if problem is None else "fail"
        yield Finding(f"agent {name}", verdict, problem or " ".join(spec.command) or spec.kind)
        yield from _secrets(spec, around.environment)
        if not spec.fence:
            detail = "its git may move any branch, the stash, tags, settings, and push"
            hint = f"remove `fence: off` of agents.{name}, or give its steps `isolation: branch`"
            yield Finding(f"fence of {name}", "warn", detail, hint)
    for driver in driver_specs(around, repo, config):
        missing = which_problem(driver.command, around.environment.get("PATH", os.defpath))
        known = ", ".join(driver.files) or "the files it knows"
        detail = f"{driver.command[0]}, for {known}" if missing is None else f"it wants to run {missing}"
        yield Finding(f"merge driver {driver.name}", "ok" if missing is None else "warn", detail)
    folders = folders_of(around, repo, config)
    # It is made by whoever needs it first; this only looks.
    above = next(place for place in (folders.root, *folders.root.parents) if place.is_dir())
    free = shutil.disk_usage(above).free
    detail = f"{folders.root}, {free // 1024**2} MiB free"
    if not os.access(above, os.W_OK):
        yield Finding("state folder", "fail", f"{folders.root} cannot be written to")
    elif free < SPACE:
        yield Finding("state folder", "warn", detail, "slots are checkouts and need room")
    else:
        yield Finding("state folder", "ok", detail)


def _secrets(spec: AgentSpec, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not spec.secrets:
        return
    given = {**environment, **spec.env}
    unset = [name for name in spec.secrets if not given.get(name)]
    detail = ", ".join(spec.secrets) + (f"; not set: {', '.join(unset)}" if unset else "")
    yield Finding(f"secrets of {spec.name}", "ok", detail)


def _leftovers(around: Surroundings, repo: Repository) -> Iterator[Finding]:
    folders = folders_of(around, repo, read_config(repo.root))
    yield from _flows(repo, folders)
    yield from _slots(repo, folders)
    yield from _locks(repo)


def _flows(repo: Repository, folders: StateFolders) -> Iterator[Finding]:
    listing = list_flows(repo)
    yield Finding("flows", "ok", f"{len(listing.headers)} flows")
    for remark in listing.remarks:
        yield Finding("flows", "fail", remark)
    for row in listing.headers:
        flow = row.flow
        if row.status == "blocked":
            yield Finding(f"flow {flow}", "warn", "its landing is blocked", f"stratum-git resume {flow}")
        elif row.status == "running" and row.driver == "runner" and not _is_held(folders, flow):
            yield Finding(f"flow {flow}", "warn", "nobody runs it", f"stratum-git resume {flow}")


def _is_held(folders: StateFolders, flow: str) -> bool:
    path = folders.root / "locks" / f"flow-{flow}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, thread_local=False, mode=0o600).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _locks(repo: Repository) -> Iterator[Finding]:
    for lock, is_ours in locks_in(repo.common_dir).items():
        age = now() - lock.stat().st_mtime
        if age < PASSING:
            continue
        hint = "when no git is at work in the repository, delete it"
        if is_ours:
            hint = "it is ours: the next run that needs it deletes it, if its git is dead"
        yield Finding("lock", "warn", f"{lock} is {age:.0f} s old", hint)


def _slots(repo: Repository, folders: StateFolders) -> Iterator[Finding]:
    leases = {
        (held.lease.flow, held.lease.step, held.lease.task, held.lease.attempt): held.lease
        for held in read_leases(repo).values()
        if held.lease is not None
    }
    paths = sorted(p.with_suffix("") for p in (folders.root / "slots").glob("*.json"))
    people = _people(repo, paths)
    yield Finding("slots", "ok", f"{len(paths)} slots, {len(leases)} leases")
    for path in paths:
        record = read_record(path)
        if isinstance(record, Unreadable):
            hint = "save what you need of it, then delete its .json file"
            yield Finding(f"slot {path.name}", "fail", f"the record of {path} cannot be read", hint)
        elif isinstance(record, Occupied) and record.occupant.flow != CLIENT_WORKTREES:
            who = record.occupant
            lease = leases.get((who.flow, who.step, who.task, who.attempt))
            lock = try_lock(path)
            if lock is None:
                continue
            lock.release()
            by = people.get(who)
            if by is not None:
                yield Finding(
                    f"slot {path.name}", "ok", f"{by} resolves the conflict of {who.task} in {path}"
                )
            elif lease is None or not is_live(lease, now=now(), uptime=uptime()):
                detail = f"work of {who.flow}/{who.step}/{who.task} lies in {path}, and nobody is at it"
                hint = f"stratum-git resume {who.flow}, or stratum_resume, keeps it"
                yield Finding(f"slot {path.name}", "warn", detail, hint)


def _people(repo: Repository, slots: Iterable[Path]) -> dict[Occupant, str]:
    """Returns who resolves conflicts in slots, by whose slots these are."""
    records = (read_record(path) for path in slots)
    flows = {FlowId(record.occupant.flow) for record in records if isinstance(record, Occupied)}
    found: dict[Occupant, str] = {}
    for flow in flows:
        with suppress(StratumError):
            for step, task, who in open_resolutions(load(repo, flow)[0].state):
                found[Occupant(flow, step, task, who.attempt)] = who.by
    return found
