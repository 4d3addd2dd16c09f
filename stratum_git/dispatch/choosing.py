"""Chooses among a task's candidates: gathers what git says of each, and lets ``core/ranking.py`` decide.

Nothing is moved here, and nothing written but trees of merges that are only looked at. The same facts give
the same choice, so after a crash it is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stratum_git.core import contest
from stratum_git.core.ranking import ranked
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.stack import Change, apply
from stratum_git.git.commits import Commit, commits_of
from stratum_git.git.diff import extent
from stratum_git.git.merge import Conflicted
from stratum_git.git.tree_reader import differences
from stratum_git.model.choosing import Chosen, Ranked
from stratum_git.model.ids import Oid, StepId, TaskId
from stratum_git.model.state import Exhausted, FannedOut, FlowState, Merged, Standing, Stopped, Verified


@dataclass(frozen=True, slots=True)
class Reach:
    """What a change touches: files, the folders around them; whether a rename may be found in it."""

    files: frozenset[str]
    folders: frozenset[str]
    moves: bool


def choose(context: Context, state: FlowState, step: StepId, task: TaskId) -> Chosen | None:
    """Returns which candidate of *task* is to be taken, and why; ``None`` when it is not time to choose."""
    fan = state.step(step)
    head = fan.graph.index.get(task) if isinstance(fan, FannedOut) else None
    if not isinstance(fan, FannedOut) or head is None or not contest.is_due(fan, head):
        return None
    others = _others(fan, head)
    changes = {i: _change(fan, i) for i in fan.graph.contests[head]}
    wanted = [c for c in (*changes.values(), *others) if c is not None]
    commits = commits_of(context.repo, [oid for change in wanted for oid in (change.base, change.result)])
    near = [(other, _reach(context, commits, other)) for other in others]
    facts = [_facts(context, fan, i, commits, near) for i in fan.graph.contests[head]]
    ranking = ranked(facts)
    return Chosen(now(), "stratum-git", step, task, ranking[0].task, ranking)


def _others(fan: FannedOut, head: int) -> tuple[Change, ...]:
    """Returns the other results of the step that changed something, but for what *head* is built on."""
    below, todo = set(), [head]
    while todo:
        at = todo.pop()
        if at not in below:
            below.add(at)
            todo += fan.graph.needs[at]
    counted = (i for i in fan.graph.order if i not in below and not contest.is_candidate(fan.graph, i))
    found = (_change(fan, i) for i in counted)
    return tuple(change for change in found if change is not None and change.base != change.result)


def _change(fan: FannedOut, index: int) -> Change | None:
    """Returns what a task or candidate did that has a good result."""
    at = fan.tasks[index]
    if not isinstance(at, Standing | Verified | Merged):
        return None
    return Change(fan.graph.tasks[index].id, at.attempt, at.base, at.result)


def _facts(
    context: Context,
    fan: FannedOut,
    index: int,
    commits: dict[Oid, Commit],
    others: Sequence[tuple[Change, Reach]],
) -> Ranked:
    task, at = fan.graph.tasks[index].id, fan.tasks[index]
    match at:
        case Standing(attempt, base, result, _, usage):
            files, lines = extent(context.repo, base, result)
            mine = Change(task, attempt, base, result)
            reach = _reach(context, commits, mine)
            close = [other for other, its in others if not _are_apart(reach, its)]
            found = (other.task for other in close if _collide(context, commits, mine, other))
            collisions = tuple(name for name in found if name is not None)
            tree = commits[result].tree
            return Ranked(task, "verified", attempt, result, tree, collisions, files, lines, usage)
        case Exhausted(attempt=attempt, result=left):
            return Ranked(task, "failed", attempt, left, reason=contest.reason_of(at))
        case Stopped(attempt=attempt, result=left):
            return Ranked(task, "stopped", attempt, left, reason=contest.reason_of(at))
        case _:
            return Ranked(task, "stopped", reason=contest.reason_of(at))


def _reach(context: Context, commits: dict[Oid, Commit], change: Change) -> Reach:
    found = list(differences(context.merger.trees, commits[change.base].tree, commits[change.result].tree))
    folders = frozenset(one.path for one in found if one.is_folder)
    files = [one for one in found if not one.is_folder]
    moves = {"A", "D"} <= {one.status for one in files}
    return Reach(frozenset(one.path for one in files), folders, moves)


def _are_apart(mine: Reach, other: Reach) -> bool:
    """Returns whether two changes cannot conflict: no file is in both, none where a folder is, no renames."""
    touch = mine.files & other.files or mine.files & other.folders or mine.folders & other.files
    return not touch and not mine.moves and not other.moves


def _collide(context: Context, commits: dict[Oid, Commit], mine: Change, other: Change) -> bool:
    """Returns whether two results conflict with each other.

    With another base, the other is first put on the base of the candidate; where that conflicts already, it
    is no fault of the candidate's.
    """
    ours = commits[other.result].tree
    if commits[other.base].tree != commits[mine.base].tree:
        moved = apply(context.repo, context.merger, commits, commits[mine.base].tree, other)
        if isinstance(moved, Conflicted):
            return False
        ours = moved.tree
    return isinstance(apply(context.repo, context.merger, commits, ours, mine), Conflicted)
