"""The commit that a task starts from: the step's base with the work of everything that the task needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stratum_git.dispatch.ladder import Ladder
from stratum_git.dispatch.parking import notes_of
from stratum_git.dispatch.stack import apply, changed, needed_changes, shortcut
from stratum_git.git.merge import Conflicted
from stratum_git.git.objects import Signature
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.model.ids import Oid, TaskId
from stratum_git.model.state import FannedOut


@dataclass(frozen=True, slots=True)
class Clash:
    """The results that a task needs do not go together."""

    task: TaskId | None
    paths: tuple[str, ...]


def base_of(
    repo: Repository,
    merger: TreeMerger,
    author: Signature,
    fan: FannedOut,
    index: int,
    ladder: Ladder | None = None,
) -> Oid | Clash:
    """Returns the commit that task *index* starts from, made in memory where it takes a merge.

    Of *ladder* no driver is used: nothing is verified before the task begins.
    """
    ready = shortcut(fan, index)
    if ready is not None:
        return ready
    changes = changed(needed_changes(fan, index))
    root = fan.tip or fan.base
    # What is made here is nobody's before it is whole: it goes to the disk together.
    late = merger.deferring()
    steady = None if ladder is None else replace(ladder.steady(), merger=late)
    oids = (root, *(oid for c in changes for oid in (c.base, c.result)))
    late.trees.fetch_commits(oids)
    commits = {oid: late.trees.commit(oid) for oid in oids}
    at, tree = root, commits[root].tree
    for change in changes:
        merged = apply(repo, late, commits, tree, change, steady)
        if isinstance(merged, Conflicted):
            late.settle()
            return Clash(change.task, merged.paths)
        tree = merged.tree
        message = f"Base of {fan.graph.tasks[index].id}: with {change.task}\n"
        notes = "".join(f"{key}: {value}\n" for key, value in notes_of(merged.mends))
        message += f"\n{notes}" if notes else ""
        # Each step has the result as a parent: the agent's own commits are in the history it sees.
        at = late.writer.commit(tree, (at, change.result), message, author, author)
    late.settle()
    return at
