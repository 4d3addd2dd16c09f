"""From verified results to one history: each on top of the last, in memory, conflicts set aside.

Nothing is moved here. The plan says which commit the target is to point at and what becomes of each
result; the driver moves the target in the same transaction that records the landing. The user's checkout
is looked at first: where it is in the way, nothing lands and the reason is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum_git.dispatch.stack import Change, apply
from stratum_git.git.checkout import Refused, checkouts_left, checkouts_of, obstacle, sync
from stratum_git.git.commits import commits_of
from stratum_git.git.merge import Conflicted
from stratum_git.git.objects import Signature
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.model.ids import FlowId, Oid, RefName, StepId
from stratum_git.model.messages import LandedResult, LandingEntry, ParkedResult


@dataclass(frozen=True, slots=True)
class Item:
    """A result to land, with the words for its commit."""

    change: Change
    title: str


@dataclass(frozen=True, slots=True)
class LandingPlan:
    """What a landing would do: move the target from ``old`` to ``new``."""

    old: Oid
    new: Oid
    entries: tuple[LandingEntry, ...]


@dataclass(frozen=True, slots=True)
class Lander:
    """Plans the landing of one step."""

    repo: Repository
    merger: TreeMerger
    committer: Signature
    flow: FlowId
    step: StepId

    def plan(self, old: Oid, items: Sequence[Item]) -> LandingPlan:
        """Returns what landing *items* in order on commit *old* would do. Writes objects, moves nothing."""
        commits = commits_of(self.repo, (old, *(o for i in items for o in (i.change.base, i.change.result))))
        at, tree = old, commits[old].tree
        entries: list[LandingEntry] = []
        for item in items:
            merged = apply(self.repo, self.merger, commits, tree, item.change)
            if isinstance(merged, Conflicted):
                entries.append(self._park(at, item, merged))
            elif merged.tree == tree:
                entries.append(LandedResult(item.change.task, item.change.result, None))
            else:
                at, tree = (
                    self._commit(at, item, merged.tree, commits[item.change.result].author),
                    merged.tree,
                )
                entries.append(LandedResult(item.change.task, item.change.result, at))
        return LandingPlan(old, at, tuple(entries))

    def _commit(self, parent: Oid, item: Item, tree: Oid, author: Signature) -> Oid:
        message = f"{item.title}\n\n{self._trailers(item)}"
        return self.merger.writer.commit(tree, (parent,), message, author, self.committer)

    def _park(self, ours: Oid, item: Item, conflict: Conflicted) -> ParkedResult:
        stages = "\n".join(f"{s.mode} {s.oid} {s.stage}\t{s.path}" for s in conflict.stages)
        message = (
            f"Conflict: {item.title}\n\n{conflict.messages.strip()}\n\n{stages}\n\n{self._trailers(item)}"
        )
        parents = (ours, item.change.result)
        oid = self.merger.writer.commit(conflict.tree, parents, message, self.committer, self.committer)
        return ParkedResult(item.change.task, item.change.result, oid, conflict.paths)

    def _trailers(self, item: Item) -> str:
        change = item.change
        task = () if change.task is None else (("Task", str(change.task)),)
        rows = (("Flow", self.flow), ("Step", self.step), *task, ("Attempt", str(change.attempt)))
        return "".join(f"Stratum-{k}: {v}\n" for k, v in (*rows, ("Result", change.result)))


def in_the_way(repo: Repository, target: RefName, old: Oid, new: Oid) -> Refused | None:
    """Returns what keeps the checkouts of *target* from following it, if anything does."""
    if old == new:
        return None
    for path in checkouts_of(repo, target):
        refused = obstacle(repo, path, old, new)
        if refused is not None:
            return refused
    return None


def follow(
    repo: Repository, target: RefName, old: Oid, new: Oid, held: frozenset[Path] = frozenset()
) -> tuple[str, ...]:
    """Lets every checkout of *target* follow it from *old* to *new*; returns what could not, in words.

    *held* are those whose index the caller holds.
    """
    notes = []
    for path in checkouts_left(repo, target, new):
        answer = sync(path, old, new, held=path in held)
        if isinstance(answer, Refused):
            notes.append(f"{path}: {answer.reason} {', '.join(answer.paths)}".strip())
    return tuple(notes)
