"""Puts results on top of each other in memory: for a landing, and for the base of a task with needs.

A result is a change from its own base. It is merged with exactly that base, so a result that was built on
another one is not taken for its author.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stratum_git.dispatch.ladder import Ladder
from stratum_git.errors import BugError
from stratum_git.git.commits import Commit
from stratum_git.git.merge import Conflicted, Merged, merge
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Oid, TaskId
from stratum_git.model.state import FannedOut, Verified
from stratum_git.model.state import Merged as OnTarget


@dataclass(frozen=True, slots=True)
class Change:
    """What a task did: the commit it started from, and the one it ended with."""

    task: TaskId | None
    attempt: int
    base: Oid
    result: Oid


def apply(
    repo: Repository,
    merger: TreeMerger,
    commits: Mapping[Oid, Commit],
    ours: Oid,
    change: Change,
    ladder: Ladder | None = None,
) -> Merged | Conflicted:
    """Returns the tree *ours* with *change* made to it, or where that conflicts even on *ladder*."""
    base, theirs = commits[change.base].tree, commits[change.result].tree
    if ladder is not None:
        return ladder.merge(base, ours, theirs)
    return merge(repo, merger.writer, base=base, ours=ours, theirs=theirs, merger=merger)


def needed_changes(fan: FannedOut, index: int) -> tuple[Change, ...]:
    """Returns the changes that task *index* is to be built on, in the order in which they apply.

    Those that have landed are in the commit that it all begins with.
    """
    wanted = _ancestors(fan.graph, index)
    if fan.tip is not None:
        wanted = {i for i in wanted if not isinstance(fan.tasks[i], OnTarget)}
    return tuple(_change(fan, i) for i in fan.graph.order if i in wanted)


def shortcut(fan: FannedOut, index: int) -> Oid | None:
    """Returns the base of task *index* when nothing has to be merged for it."""
    needs = fan.graph.needs[index]
    if not needs or (fan.tip and all(isinstance(fan.tasks[need], OnTarget) for need in needs)):
        return fan.tip or fan.base
    results = {_change(fan, need).result for need in needs}
    # With one need its result is the base: it was itself built on whatever it needs.
    return results.pop() if len(needs) == 1 else None


def changed(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Returns the changes that change something."""
    return tuple(c for c in changes if c.base != c.result)


def _ancestors(graph: TaskGraph, index: int) -> set[int]:
    found: set[int] = set()
    todo = list(graph.needs[index])
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            todo += graph.needs[at]
    return found


def _change(fan: FannedOut, index: int) -> Change:
    now = fan.tasks[index]
    if not isinstance(now, Verified | OnTarget):
        raise BugError(f"{fan.graph.tasks[index].id} is needed and not verified")
    return Change(fan.graph.tasks[index].id, now.attempt, now.base, now.result)
