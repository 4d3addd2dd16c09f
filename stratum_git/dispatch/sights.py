"""What attempts have changed so far, and which of them conflict: asked by pairs, and of git only in doubt.

Two attempts collide when what one changed, as a landing would put it on top of what the other changed, is a
conflict. Where their paths do not meet that cannot be, and nothing is merged. Git's merge decides, without
what may resolve a conflict later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.git.diff import Change
from stratum_git.git.merge_many import Answer, Trees, merge_many
from stratum_git.git.scratch import Scratch
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader, differences, fetch_differences
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Oid
from stratum_git.model.state import Verified

GONE = "000000"
MOST = 1000
"""Pairs that are merged in one look; those that are left come next time."""
CROWD = 200
"""Tasks with a path in common all of whose pairs are looked at. Of more, about as many pairs are looked at,
or one for each: those that are next to each other in the graph."""
PAIRS = 100_000
"""Pairs after which no more are looked for."""


@dataclass(frozen=True, eq=False)
class Sight:
    """An attempt's work as it was seen: the trees of its base and of what it holds, and how they differ.

    ``index`` is the task's in the graph. ``stores`` have objects that are in no other place.
    """

    index: int
    attempt: int
    base: Oid
    tree: Oid
    changes: Mapping[str, Change]
    stores: tuple[Path, ...] = ()
    moves: bool = field(init=False)
    """Whether something was deleted and something added, so that git could find a rename."""
    above: frozenset[str] = field(init=False)
    """Folders that have something which this attempt wrote."""
    left: frozenset[str] = field(init=False)
    """Folders from which something was deleted while something was added: they may have been renamed."""
    entered: frozenset[str] = field(init=False)
    """Folders, at any height, into which something was added."""

    def __post_init__(self) -> None:
        """Works out the folders."""
        there = [c.path for c in self.changes.values() if c.new_mode != GONE]
        added = [c.path for c in self.changes.values() if c.status == "A"]
        deleted = [c.path for c in self.changes.values() if c.status == "D"]
        left = {folder for path in deleted for folder in _folders(path)} if added else set()
        object.__setattr__(self, "moves", bool(added and deleted))
        object.__setattr__(self, "above", frozenset(f for path in there for f in _folders(path)))
        object.__setattr__(self, "left", frozenset(left))
        object.__setattr__(self, "entered", frozenset(f for path in added for f in _folders(path)))


@dataclass
class Matrix:
    """Who conflicts with whom, remembered: a pair of which neither side changed is not merged again.

    *merger* spares git the pairs that are plain, where all objects are in the repository.
    """

    scratch: Scratch
    merger: TreeMerger | None = None
    merged: int = 0
    """Pairs merged so far."""
    _known: dict[tuple[int, int], tuple[Sight, Sight, tuple[str, ...]]] = field(default_factory=dict)

    def look(
        self, sights: Sequence[Sight], kin: Container[tuple[int, int]], most: int = MOST
    ) -> dict[tuple[int, int], tuple[str, ...]]:
        """Returns the paths in which each pair conflicts, of pairs that do, in order of their indices.

        Pairs of *kin* are left out: one builds on the other. Of pairs that were never merged and are too many
        for this look nothing is told. Raises GitFailed where an object is missing.
        """
        pairs = doubtful(sights, kin)
        new = [(a, b) for a, b in pairs if not self._is_known(a, b)]
        for (a, b), paths in zip(new, self._merged(new[:most]), strict=False):
            self._known[a.index, b.index] = (a, b, paths)
        wanted = {(a.index, b.index) for a, b in pairs}
        self._known = {pair: row for pair, row in self._known.items() if pair in wanted}
        return {pair: self._known[pair][2] for pair in sorted(self._known) if self._known[pair][2]}

    def _is_known(self, a: Sight, b: Sight) -> bool:
        known = self._known.get((a.index, b.index))
        return known is not None and known[0] is a and known[1] is b

    def _merged(self, pairs: Sequence[tuple[Sight, Sight]]) -> list[tuple[str, ...]]:
        """Returns in which paths each pair conflicts."""
        stores = tuple(dict.fromkeys(s for pair in pairs for one in pair for s in one.stores))
        doubted = [pair for pair in pairs if not self._is_plain(*pair)]
        ready = self._on_one_base(doubted, stores)
        merges = [trees for trees in ready if trees is not None]
        asked = [pair for pair, trees in zip(doubted, ready, strict=True) if trees is not None]
        answers = zip(asked, self._asked(merges, stores), strict=True)
        found = {(a.index, b.index): answer.paths for (a, b), answer in answers}
        self.merged += len(pairs)
        return [found.get((a.index, b.index), ()) for a, b in pairs]

    def _is_plain(self, a: Sight, b: Sight) -> bool:
        if self.merger is None or a.base != b.base or a.stores or b.stores:
            return False
        return self.merger.is_sure(a.base, a.tree, b.tree)

    def _on_one_base(
        self, pairs: Sequence[tuple[Sight, Sight]], stores: tuple[Path, ...]
    ) -> list[Trees | None]:
        """Returns the merges to ask for: where bases differ, one change is first put on the other's base.

        ``None`` where neither goes there: it conflicts with what the other one was built on.
        """
        found: list[Trees | None] = [
            Trees(a.base, a.tree, b.tree) if a.base == b.base else None for a, b in pairs
        ]
        for way in (1, -1):
            left = [place for place, trees in enumerate(found) if trees is None]
            sides = [pairs[place][::way] for place in left]
            moved = self._asked([Trees(a.base, b.base, a.tree) for a, b in sides], stores)
            for place, (_, b), answer in zip(left, sides, moved, strict=True):
                found[place] = None if answer.paths else Trees(b.base, answer.tree, b.tree)
        return found

    def _asked(self, merges: list[Trees], stores: tuple[Path, ...]) -> list[Answer]:
        return merge_many(self.scratch, merges, stores)


def sights_of(trees: TreeReader, results: Sequence[tuple[int, Verified]]) -> list[Sight]:
    """Returns what verified results change, each with its index in the graph."""
    trees.fetch_commits(oid for _, done in results for oid in (done.base, done.result))
    fetch_differences(trees, {(trees.root(done.base), trees.root(done.result)) for _, done in results})
    return [sight_of(trees, index, done) for index, done in results]


def sight_of(trees: TreeReader, index: int, done: Verified) -> Sight:
    """Returns what a verified result changes."""
    base, tree = trees.root(done.base), trees.root(done.result)
    changes = {c.path: c for c in differences(trees, base, tree) if not c.is_folder}
    return Sight(index, done.attempt, base, tree, changes)


@dataclass(frozen=True, slots=True)
class Kin:
    """The pairs of tasks that cannot meet at a landing: for each task those before it, a bit for each.

    One builds on the other, at any depth, or both are candidates of one. A chain of ten thousand tasks has
    fifty million such pairs, so they are not listed.
    """

    above: Sequence[int] = ()

    def __contains__(self, pair: object) -> bool:
        if not isinstance(pair, tuple) or not self.above:
            return False
        one, other = pair
        return bool(self.above[one] >> other & 1 or self.above[other] >> one & 1)


def kin_of(graph: TaskGraph) -> Kin:
    """Returns which pairs cannot meet at a landing."""
    above = [0] * len(graph.needs)
    for index in graph.order:
        for need in graph.needs[index]:
            above[index] |= above[need] | 1 << need
    for head, them in graph.contests.items():
        # Of the candidates of a task one alone will land.
        for one in (head, *them):
            above[one] |= sum(1 << other for other in (head, *them) if other != one)
    return Kin(above)


def doubtful(sights: Sequence[Sight], kin: Container[tuple[int, int]]) -> list[tuple[Sight, Sight]]:
    """Returns the pairs that may conflict, by their indices; those of *kin* are left out.

    Where very many have the same path, each is paired with those next to it alone, see :data:`CROWD`.
    """
    by_index = {sight.index: sight for sight in sights}
    pairs = ((by_index[a], by_index[b]) for a, b in sorted(_candidates(sights)) if (a, b) not in kin)
    return [(a, b) for a, b in pairs if meet(a, b)]


def meet(a: Sight, b: Sight) -> bool:
    """Returns whether two changes may conflict at all."""
    shared = a.changes.keys() & b.changes.keys()
    if any(_differ(a.changes[path], b.changes[path], moves=a.moves or b.moves) for path in shared):
        return True
    # A file where the other one has a folder; or something new in a folder that the other one may have moved.
    return not (
        _is_apart(a, b) and _is_apart(b, a) and a.left.isdisjoint(b.entered) and b.left.isdisjoint(a.entered)
    )


def _is_apart(a: Sight, b: Sight) -> bool:
    return not any(change.new_mode != GONE and path in b.above for path, change in a.changes.items())


def _differ(one: Change, other: Change, *, moves: bool) -> bool:
    same = (one.new_mode, one.new) == (other.new_mode, other.new)
    # What both deleted, each may have moved to another place.
    return not same or (moves and one.new_mode == GONE)


def _candidates(sights: Sequence[Sight]) -> set[tuple[int, int]]:
    """Returns the pairs that have a path or a folder in common, without looking at all pairs."""
    paths: dict[str, list[int]] = {}
    left: dict[str, list[int]] = {}
    sights = sorted(sights, key=lambda sight: sight.index)
    for sight in sights:
        for path in sight.changes:
            paths.setdefault(path, []).append(sight.index)
        for folder in sight.left:
            left.setdefault(folder, []).append(sight.index)
    found: set[tuple[int, int]] = set()
    for sight in sights:
        near = [paths.get(name, []) for name in (*sight.changes, *sight.above)]
        near += [left.get(folder, []) for folder in sight.entered]
        for others in near:
            close = _next_to(sight.index, others)
            found |= {_pair(sight.index, other) for other in close if other != sight.index}
        if len(found) > PAIRS:
            break
    return found


def _next_to(index: int, others: list[int]) -> list[int]:
    """Returns those of *others*, which are ascending, that a task is to be paired with."""
    if len(others) <= CROWD:
        return others
    reach, place = max(1, CROWD * CROWD // (2 * len(others))), bisect_left(others, index)
    return others[max(0, place - reach) : place + reach + 1]


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _folders(path: str) -> Iterator[str]:
    at = path.rfind("/")
    while at > 0:
        yield path[:at]
        at = path.rfind("/", 0, at)
