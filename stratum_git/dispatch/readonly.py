"""Whether an agent that was only to look has changed anything, whatever it is and says.

Seen are files that git does not ignore, what was staged, commits, branches of its own, an unfinished merge,
the stash. What it made is on a ref by then; none of it lands.
"""

from __future__ import annotations

from stratum_git.agents.base import Agent, AgentSpec, Profile
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.judge import Finding
from stratum_git.git.refs import read_refs
from stratum_git.git.snapshot import Captured
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.state import FlowState

SHOWN = 20


def intrusion(
    context: Context, base: Oid, captured: Captured, before: dict[RefName, Oid], state: FlowState
) -> Finding | None:
    """Returns what a run with the profile ``verification`` changed; *before* are its refs as they were."""
    found = [*_files(base, captured), *_beside(captured), *_refs(before, own_refs(context, state))]
    if not found:
        return None
    said = "the profile is verification, which may only look, and this was changed"
    return Finding("readonly", (said, *found))


def profile_of(agent: Agent, said: Profile | None) -> Profile | None:
    """Returns the profile of an attempt: what the step or call says, else the agent's own."""
    spec = getattr(agent, "spec", None)
    return said or (spec.profile if isinstance(spec, AgentSpec) else None)


def own_refs(context: Context, state: FlowState) -> dict[RefName, Oid]:
    """Returns the branches of a session that only looks: nobody but its agent moves them meanwhile."""
    if state.book.session is None:
        return {}
    return read_refs(context.repo, f"refs/heads/stratum/{state.flow}/")


def _files(base: Oid, captured: Captured) -> list[str]:
    paths = list(dict.fromkeys((*captured.paths, *captured.embedded, *captured.unsaved)))
    more = [f"{len(paths) - SHOWN} more files"] if len(paths) > SHOWN else []
    made = ["a commit was made"] if captured.head != base else []
    return [*(f"file {path}" for path in paths[:SHOWN]), *more, *made]


def _beside(captured: Captured) -> list[str]:
    found = [] if captured.unfinished is None else [f"a {captured.unfinished} was begun"]
    found += ["the worktree itself was taken apart"] if captured.mended else []
    return [*found, *(["something was staged or stashed"] if captured.rest is not None else [])]


def _refs(before: dict[RefName, Oid], after: dict[RefName, Oid]) -> list[str]:
    moved = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [f"the branch {name.removeprefix('refs/heads/')} was moved" for name in moved]
