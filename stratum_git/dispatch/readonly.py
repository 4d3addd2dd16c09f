"""Whether an agent that was only to look has changed anything, whatever it is and says.

Seen are files that git does not ignore, what was staged, commits, branches of its own, an unfinished merge,
the stash. What it made is on a ref by then; none of it lands.
"""

from __future__ import annotations

from stratum_git.agents.base import Profile
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.judge import Finding
from stratum_git.git.refs import read_refs
from stratum_git.git.snapshot import Captured
from stratum_git.model.ids import FlowId, Oid, RefName

SHOWN = 20


def intrusion(
    context: Context,
    profile: Profile | None,
    base: Oid,
    captured: Captured,
    before: dict[RefName, Oid],
    flow: FlowId,
) -> Finding | None:
    """Returns what a run with the profile ``verification`` changed; *before* are its refs as they were."""
    if profile != "verification":
        return None
    found = [*_files(base, captured), *_beside(captured), *_refs(before, own_refs(context, flow))]
    if not found:
        return None
    said = "the profile is verification, which may only look, and this was changed"
    return Finding("readonly", (said, *found))


def own_refs(context: Context, flow: FlowId) -> dict[RefName, Oid]:
    """Returns the branches of a flow: those that its agents' git may move."""
    return read_refs(context.repo, f"refs/heads/stratum/{flow}/")


def _files(base: Oid, captured: Captured) -> list[str]:
    paths = list(dict.fromkeys((*captured.paths, *captured.embedded, *captured.unsaved)))
    more = [f"{len(paths) - SHOWN} more files"] if len(paths) > SHOWN else []
    made = ["a commit was made"] if captured.head != base else []
    return [*(f"file {path}" for path in paths[:SHOWN]), *more, *made]


def _beside(captured: Captured) -> list[str]:
    found = [] if captured.unfinished is None else [f"a {captured.unfinished} was begun"]
    return [*found, *(["something was staged or stashed"] if captured.rest is not None else [])]


def _refs(before: dict[RefName, Oid], after: dict[RefName, Oid]) -> list[str]:
    moved = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [f"the branch {name.removeprefix('refs/heads/')} was moved" for name in moved]
