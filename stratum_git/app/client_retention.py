"""What clients left besides flows: worktrees of sessions that are over, and their work on refs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.app.client_records import PREFIX, ClientWorktree, client_worktrees
from stratum_git.app.client_worktrees import (
    End,
    Lender,
    Removed,
    Returned,
    Stays,
)
from stratum_git.app.clients import FOLDER, TOLD
from stratum_git.errors import StratumError
from stratum_git.git.refs import LostRace, RefUpdate, transact
from stratum_git.git.worktree import discard
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.folders import StateFolders

FORMAT = "--format=%(objectname) %(committerdate:unix) %(refname)"


@dataclass
class Ended:
    """What was removed: paths of worktrees, refs with what they were at; and what stays, with the reason."""

    paths: list[Path] = field(default_factory=list)
    refs: dict[RefName, Oid] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


def retire(lender: Lender, limit: float, worktrees: float, *, dry_run: bool) -> Ended:
    """Ends worktrees of sessions that are over, and drops what was kept of others before *limit*.

    Worktrees are ended that were made before *worktrees*; both are seconds since the epoch.
    What was done in a worktree is on its branch, which stays, or on a ref that is kept for as long again.
    """
    ended = Ended()
    refs = dict(_old_refs(lender, limit))
    for lent in client_worktrees(lender.folders):
        refs.pop(lent.kept, None)
        # Of which client it is may be unknown: then age alone decides.
        if lent.made > (limit if lent.owner is None else worktrees) or not (lent.is_over() or not lent.owner):
            continue
        if not dry_run:
            match _retired(lender, lent):
                case Stays(why):
                    ended.kept[lent.path or lent.key] = why
                    continue
                case Removed(ref):
                    ended.kept[ref] = f"it has what was in {lent.path}"
                case Returned():
                    pass
        ended.paths += [Path(lent.path)] if lent.path else []
    _forget_sessions(lender.folders, limit, ended, dry_run=dry_run)
    for ref, oid in refs.items():
        if not dry_run:
            moved = transact(
                lender.repo, [RefUpdate(ref, None, oid)], message="stratum-git: gc", durable=True
            )
            if isinstance(moved, LostRace):
                ended.kept[ref] = "it moved meanwhile"
                continue
        ended.refs[ref] = oid
    return ended


def _retired(lender: Lender, lent: ClientWorktree) -> End:
    try:
        return lender.retire(lent)
    except (StratumError, OSError) as error:
        return Stays(str(error))


def _forget_sessions(folders: StateFolders, limit: float, ended: Ended, *, dry_run: bool) -> None:
    """Drops what is noted of sessions whose flows are gone."""
    for place in sorted((folders.root / FOLDER).glob("*")):
        if place.stat().st_mtime <= limit and {path.name for path in place.iterdir()} <= {TOLD}:
            if not dry_run:
                discard(place, folders.trash)
            ended.paths.append(place)


def _old_refs(lender: Lender, limit: float) -> Iterator[tuple[RefName, Oid]]:
    said = lender.repo.git.run("for-each-ref", FORMAT, PREFIX).stdout.decode("utf-8", "surrogateescape")
    for line in said.splitlines():
        oid, at, ref = line.split(" ", 2)
        with suppress(ValueError):
            if int(at) <= limit:
                yield RefName(ref), Oid(oid)
