"""From verified results to one history: each on top of the last, in memory, conflicts set aside.

Nothing is moved here. The plan says which commit the target is to point at and what becomes of each
result; the driver moves the target in the same transaction that records the landing. The user's checkout
is looked at first: where it is in the way, nothing lands and the reason is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stratum_git.dispatch.ladder import Ladder
from stratum_git.dispatch.parking import message_of, notes_of
from stratum_git.dispatch.stack import Change, apply
from stratum_git.dispatch.strategies import Prefix, Strategy, Words
from stratum_git.git.checkout import Refused, checkouts_left, checkouts_of, obstacle, rebased_in, sync
from stratum_git.git.commits import Commit
from stratum_git.git.merge import Conflicted
from stratum_git.git.objects import Signature
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader, changes_of, fetch_differences
from stratum_git.model.ids import FlowId, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import DroppedResult, LandedResult, LandingEntry, Mend, ParkedResult
from stratum_git.model.spec import Merge


@dataclass(frozen=True, slots=True)
class Item:
    """A result to land, the message for its commit, and the tasks of the queue that it was built on.

    ``mends`` says who resolved which conflicts in it, ``candidate`` which one of how many it is.
    """

    change: Change
    title: str
    needs: tuple[TaskId, ...] = ()
    mends: tuple[Mend, ...] = ()
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class LandingPlan:
    """What a landing would do: move the target from ``old`` to ``new``."""

    old: Oid
    new: Oid
    entries: tuple[LandingEntry, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A result in its place: the target with it on top, and what became of it."""

    prefix: Prefix
    entry: LandingEntry


@dataclass(frozen=True, slots=True)
class Lander:
    """Plans the landing of one step."""

    repo: Repository
    merger: TreeMerger
    committer: Signature
    flow: FlowId
    step: StepId
    merge: Merge = "sequential_apply"
    ladder: Ladder | None = None

    def plan(self, old: Oid, items: Sequence[Item]) -> LandingPlan:
        """Returns what landing *items* in order on commit *old* would do. Writes objects, moves nothing."""
        return Queue(self, old, items).plan({})

    def deferring(self) -> Lander:
        """Returns one whose objects go to the disk together, when its writer is told so."""
        merger = self.merger.deferring()
        ladder = None if self.ladder is None else replace(self.ladder, merger=merger)
        return replace(self, merger=merger, ladder=ladder)

    def extend(self, on: Prefix, item: Item, commits: Mapping[Oid, Commit]) -> Placed:
        """Returns *on* with a result on top of it, or what keeps the result from it."""
        change = item.change
        merged = apply(self.repo, self.merger, commits, on.tree, change, self.ladder)
        if isinstance(merged, Conflicted):
            return Placed(on, self._park(on.commit, item, merged))
        if merged.tree == on.tree:
            return Placed(on, LandedResult(change.task, change.result, None, item.mends))
        mends = (*item.mends, *merged.mends)
        notes = tuple(f"{key}: {value}" for key, value in notes_of(mends))
        strategy = Strategy(self.repo, self.merger, self.committer, self.merge)
        words = Words(item.title, (*self._trailers(item), *notes))
        commit, note = strategy.land(on, merged.tree, change.base, change.result, words)
        landed = LandedResult(change.task, change.result, commit, mends, note)
        return Placed(Prefix(commit, merged.tree), landed)

    def _park(self, ours: Oid, item: Item, conflict: Conflicted) -> ParkedResult:
        trailers = "".join(f"{line}\n" for line in self._trailers(item))
        subject = item.title.strip().partition("\n")[0]
        message = message_of(subject, conflict, trailers)
        parents = (ours, item.change.result)
        oid = self.merger.writer.commit(conflict.tree, parents, message, self.committer, self.committer)
        return ParkedResult(item.change.task, item.change.result, oid, conflict.paths)

    def _trailers(self, item: Item) -> tuple[str, ...]:
        change = item.change
        task = () if change.task is None else (("Task", str(change.task)),)
        rows = (("Flow", self.flow), ("Step", self.step), *task, ("Attempt", str(change.attempt)))
        rows = (*rows, *(() if item.candidate is None else (("Candidate", item.candidate),)))
        return tuple(f"Stratum-{k}: {v}" for k, v in (*rows, ("Result", change.result)))


@dataclass
class Queue:
    """Results in their order on one commit, with or without some of them. Each merge is made once.

    What it writes nobody sees before :meth:`settle`: to flush each object by itself would take longer than to
    merge.
    """

    lander: Lander
    old: Oid
    items: Sequence[Item]
    _commits: Mapping[Oid, Commit] = field(default_factory=dict, repr=False)
    _late: Lander = field(init=False, repr=False)
    _known: dict[tuple[Oid, int], Placed] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._late = self.lander.deferring()
        if self._commits:
            return
        oids = (self.old, *(o for i in self.items for o in (i.change.base, i.change.result)))
        trees = self.lander.merger.trees
        trees.fetch_commits(oids)
        self._commits = {oid: trees.commit(oid) for oid in dict.fromkeys(oids)}
        sides = ((item.change.base, item.change.result) for item in self.items)
        fetch_differences(trees, {(self._commits[a].tree, self._commits[b].tree) for a, b in sides})

    def under(self, lander: Lander) -> Queue:
        """Returns the same results as another lander lands them; what was read of them is not read again."""
        return Queue(lander, self.old, self.items, self._commits)

    @property
    def start(self) -> Prefix:
        """Returns the target as it is before."""
        return Prefix(self.old, self._commits[self.old].tree)

    def walk(self, dropped: Mapping[int, tuple[str, ...]]) -> Iterator[tuple[int, Placed]]:
        """Yields each item in its place, with findings for those that are *dropped*."""
        at, missing = self.start, dict[TaskId | None, str]()
        for index, item in enumerate(self.items):
            placed = self._placed(at, index, dropped, missing)
            if not isinstance(placed.entry, LandedResult):
                missing[item.change.task] = str(item.change.task)
            at = placed.prefix
            yield index, placed

    def plan(self, dropped: Mapping[int, tuple[str, ...]]) -> LandingPlan:
        """Returns what it comes to without the items that are *dropped*."""
        placed = [place for _, place in self.walk(dropped)]
        self.settle()
        last = placed[-1].prefix if placed else self.start
        return LandingPlan(self.old, last.commit, tuple(place.entry for place in placed))

    def settle(self) -> None:
        """Puts on the disk what was written so far, and lets others see it."""
        self._late.merger.settle()

    def _placed(
        self,
        at: Prefix,
        index: int,
        dropped: Mapping[int, tuple[str, ...]],
        missing: Mapping[TaskId | None, str],
    ) -> Placed:
        change = self.items[index].change
        if self._commits[change.base].tree == self._commits[change.result].tree:
            return Placed(at, LandedResult(change.task, change.result, None))
        if index in dropped:
            return Placed(at, DroppedResult(change.task, change.result, "land_verify", dropped[index]))
        lacking = [need for need in self.items[index].needs if need in missing]
        if lacking:
            findings = (f"it builds on {', '.join(lacking)}, which did not land",)
            return Placed(at, DroppedResult(change.task, change.result, "needs", findings))
        known = self._known.get((at.commit, index))
        if known is None:
            known = self._late.extend(at, self.items[index], self._commits)
            self._known[at.commit, index] = known
        return known


def in_the_way(
    repo: Repository, target: RefName, old: Oid, new: Oid, trees: TreeReader | None = None
) -> Refused | None:
    """Returns what keeps the checkouts of *target* from following it, if anything does.

    With *trees*, no git is started to tell how the commits differ.
    """
    if old == new:
        return None
    places = (*checkouts_of(repo, target), *rebased_in(repo, target))
    changes = changes_of(trees, old, new) if places and trees is not None else None
    for path in places:
        refused = obstacle(repo, path, old, new, changes)
        if refused is not None:
            return refused
    return None


def follow(
    repo: Repository,
    target: RefName,
    old: Oid,
    new: Oid,
    held: frozenset[Path] = frozenset(),
    trees: TreeReader | None = None,
) -> tuple[str, ...]:
    """Lets every checkout of *target* follow it from *old* to *new*; returns what could not, in words.

    *held* are those whose index the caller holds. *trees* are as for :func:`in_the_way`.
    """
    notes = []
    places = checkouts_left(repo, target, old, new)
    changes = changes_of(trees, old, new) if places and trees is not None else None
    for path in places:
        answer = sync(path, old, new, held=path in held, changes=changes)
        if isinstance(answer, Refused):
            notes.append(f"{path}: {answer.reason} {', '.join(answer.paths)}".strip())
    return tuple(notes)
