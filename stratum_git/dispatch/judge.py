"""Whether an attempt did what was asked, from git's facts and not from the agent's word.

The checks go from cheap to dear and stop at the first that finds something: the base is kept, the paths are
owned, a promised change is there, the output fits its contract, postconditions hold, verify commands pass.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stratum_git.agents.output import plain, plain_text
from stratum_git.agents.secrets import NONE, Secrets
from stratum_git.agents.supervise import Exited, Signalled, TimedOut, Unstartable, supervise
from stratum_git.core.certificate import missing
from stratum_git.core.contracts import breaches
from stratum_git.core.expr import judge
from stratum_git.core.paths import covers
from stratum_git.core.references import Unresolved, resolve
from stratum_git.core.taskgraph import read_graph
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.diff import changed_paths, is_ancestor
from stratum_git.git.repository import Repository, UnknownRevision
from stratum_git.git.repository import resolve as resolve_commit
from stratum_git.git.snapshot import Captured
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, Oid, StepId
from stratum_git.model.messages import RejectionKind
from stratum_git.model.spec import Command, Contract

TEXT_LIMIT = 10 * 1024 * 1024
VERIFY_TIMEOUT = 1800.0
SHOWN = 10
"""Paths and lines named in a finding; more would only bury the first."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a result has to keep to."""

    owned: tuple[str, ...] = ()
    also: frozenset[str] = frozenset()
    """Paths that may be changed besides."""
    changes: str = "optional"
    contract: Contract | None = None
    schema: Mapping[str, Json] | None = None
    ensure: tuple[str, ...] = ()
    verify: tuple[Command, ...] = ()
    names: Mapping[str, Json] | None = None
    guardrails: tuple[str, ...] = ()
    certificate: Mapping[str, Json] | None = None
    graphs: tuple[tuple[StepId, str], ...] = ()
    """Where later steps look for a task graph in the output: its planner hears at once what is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a result is not complete."""

    kind: RejectionKind
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TreeFiles:
    """The files of a commit, for expressions: asked of the immutable result, not of a disk that moves."""

    repo: Repository
    commit: Oid

    def exists(self, path: str) -> bool:
        """Returns whether *path* is a file of the commit."""
        name = self._name(path)
        asked = ("cat-file", "-t", "" if name is None else name)
        return name is not None and self.repo.git.run(*asked, ok=(0, 128)).stdout == b"blob\n"

    def text(self, path: str) -> str | None:
        """Returns the text of a file; ``None`` when it is missing, too large or not UTF-8."""
        name = self._name(path)
        found = None if name is None else read_small_objects(self.repo, [name], TEXT_LIMIT)[0]
        try:
            return None if found is None or found.type != "blob" else found.data.decode()
        except UnicodeDecodeError:
            return None

    def changed(self, base: str) -> tuple[str, ...]:
        """Returns the files that differ from the commit called *base*; none where there is no such commit."""
        try:
            since = resolve_commit(self.repo, base)
            return tuple(change.path for change in changed_paths(self.repo, since, self.commit))
        except UnknownRevision:
            return ()

    def _name(self, path: str) -> str | None:
        return None if "\n" in path else f"{self.commit}:{PurePosixPath(path)}"


def judge_tree(repo: Repository, base: Oid, captured: Captured, wants: Expectations) -> Finding | None:
    """Returns what git's facts say against a result, if anything."""
    if captured.secrets:
        return Finding("secret", captured.secrets)
    if captured.embedded:
        made = _few(captured.embedded)
        what = f"git repositories were made or changed in the slot; their files are not seen: {made}"
        return Finding("scope", (what,))
    if captured.unsaved:
        return Finding("scope", (f"git could not record {_few(captured.unsaved)}",))
    if captured.unfinished is not None:
        return Finding("history", (f"a {captured.unfinished} is not finished",))
    if captured.result == base:
        return Finding("no_change", ("no file was changed",)) if wants.changes == "required" else None
    if captured.head != base and not is_ancestor(repo, base, captured.head):
        return Finding("history", (f"the commits do not build on the base {base}",))
    paths = captured.paths
    if not paths and wants.changes == "required":
        return Finding("no_change", ("the commits change no file",))
    if paths and wants.changes == "none":
        return Finding("scope", (f"nothing was to be changed: {_few(paths)}",))
    foreign = _foreign([path for path in paths if path not in wants.also], wants.owned)
    if foreign:
        owned = ", ".join(wants.owned)
        return Finding("scope", (f"changed outside of files_owned ({owned}): {_few(foreign)}",))
    return None


def judge_output(repo: Repository, result: Oid, output: Json, wants: Expectations) -> Finding | None:
    """Returns what contract, schema and postconditions say against an output, if anything."""
    if wants.contract is not None:
        broken = breaches(wants.contract, output)
        if broken:
            return Finding("contract", broken)
    if wants.schema is not None:
        # Loading it takes a tenth of every run's start, and few specs have a schema.
        from stratum_git.core.schema import schema_breaches

        broken = schema_breaches(wants.schema, output)
        if broken:
            return Finding("contract", broken)
    found = _unsaid(output, wants)
    if found is not None:
        return found
    flawed = tuple(line for step, source in wants.graphs for line in _flaws(step, source, output))
    if flawed:
        return Finding("contract", flawed)
    names: dict[str, Json] = {"result": output, **(wants.names or {})}
    violations = judge(wants.ensure, names, TreeFiles(repo, result))
    return Finding("ensure", violations) if violations else None


def _unsaid(output: Json, wants: Expectations) -> Finding | None:
    """Returns what the output has and must not have, or must have and has not."""
    if wants.guardrails:
        from stratum_git.core.guardrails import hits

        found = hits(wants.guardrails, output)
        if found:
            return Finding("guardrail", found)
    lacks = missing(wants.certificate, output) if wants.certificate is not None else ()
    return Finding("certificate", lacks) if lacks else None


async def run_commands(
    environment: Mapping[str, str],
    commands: Sequence[Command],
    slot: Path,
    folder: Path,
    kind: RejectionKind,
    hide: Secrets = NONE,
) -> Finding | None:
    """Runs commands one after another in the slot; returns what the first one that fails says."""
    for number, command in enumerate(commands, 1):
        log = folder / f"{kind}-{number}.log"
        ended = await supervise(
            command,
            cwd=slot,
            env=environment,
            stdin=None,
            log=log,
            timeout=VERIFY_TIMEOUT,
            hide=hide,
        )
        said = _said(ended)
        if said is not None:
            return Finding(kind, (f"`{shown(command)}` {said}",))
    return None


def _flaws(step: StepId, source: str, output: Json) -> tuple[str, ...]:
    found = resolve(source, {}, {step: output})
    if isinstance(found, Unresolved):
        return (found.reason,)
    graph = read_graph(found.value)
    if isinstance(graph, TaskGraph):
        return ()
    return tuple(f"{p.path}: {p.message} {p.hint}".strip(": ") for p in graph[:SHOWN])


def _said(ended: Exited | Signalled | TimedOut | Unstartable) -> str | None:
    match ended:
        case Exited(code=0):
            return None
        case Exited(code=code, tail=tail):
            return f"exited with {code}: {_last_lines(tail)}".rstrip(": ")
        case Signalled(signal=number):
            return f"was ended by signal {number}"
        case TimedOut(after=after):
            return f"took more than {after:g} s"
        case Unstartable(reason=reason):
            return f"could not be started: {reason}"


def _last_lines(tail: bytes) -> str:
    lines = [line.strip() for line in plain_text(tail).splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-500:]


def shown(command: Command) -> str:
    """Returns a command as its author wrote it."""
    return command[2] if command[:2] == ("sh", "-c") else " ".join(command)


def _foreign(paths: Sequence[str], owned: Sequence[str]) -> tuple[str, ...]:
    if not owned:
        return ()
    return tuple(p for p in paths if not any(covers(pattern, PurePosixPath(p)) for pattern in owned))


def _few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(plain(os.fsencode(path)) for path in paths[:SHOWN]) + more
