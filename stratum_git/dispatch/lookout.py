"""What is seen of the tasks of a step: in the slots where they are being done, and of results that wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.agents.secrets import Secrets
from stratum_git.dispatch.sights import Matrix, Sight, sight_of
from stratum_git.errors import StratumError
from stratum_git.git.layers import Layer
from stratum_git.git.peek import Peeker
from stratum_git.git.scratch import Scratch
from stratum_git.git.tree_edit import edited
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from stratum_git.model.state import FannedOut, Verified


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an attempt is under way: a slot, the commit it started from, whether it is a private clone."""

    path: Path
    base: Oid
    attempt: int
    clone: bool = False
    layer: Layer | None = None
    """Where its changes lie by themselves, if they do."""


@dataclass
class Lookout:
    """Sees again and again what tasks, by their indices, have changed. ``matrix`` says who conflicts.

    Different spots may be looked at by several threads at once.
    """

    scratch: Scratch
    trees: TreeReader
    secrets: Secrets
    matrix: Matrix = field(init=False)
    _slots: dict[int, tuple[Spot, Peeker, Sight | None]] = field(default_factory=dict)
    _results: dict[int, tuple[Verified, Sight]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins with nothing known."""
        self.matrix = Matrix(self.scratch)

    @property
    def written(self) -> int:
        """Returns how much was written into the scratch store, in files or about as much."""
        return sum(peeker.read for _, peeker, _ in self._slots.values()) + 3 * self.matrix.merged

    def keep(self, spots: Mapping[int, Spot]) -> None:
        """Forgets the slots that are not in *spots* any more."""
        self._slots = {i: row for i, row in self._slots.items() if spots.get(i) == row[0]}

    def peek(self, index: int, spot: Spot) -> None:
        """Looks into one slot. When that fails, what was seen last is what is known."""
        _, peeker, sight = self._slots.get(index) or (spot, self._peeker(index, spot), None)
        try:
            changes = peeker.look()
            if sight is None or sight.changes is not changes:
                base = self.trees.root(spot.base)
                edits = {c.path: (c.new_mode, c.new) if c.status != "D" else None for c in changes.values()}
                tree = edited(self.trees, self.scratch.writer, base, edits)
                sight = Sight(index, spot.attempt, base, tree, changes, peeker.stores)
        except (StratumError, OSError):
            # The slot is being made, or has gone, or a file of git's is half written.
            pass
        self._slots[index] = (spot, peeker, sight)

    def sights(self, fan: FannedOut) -> list[Sight]:
        """Returns what is known of every task whose work may land, in the order of their indices."""
        found = {index: sight for index, (_, _, sight) in self._slots.items() if sight is not None}
        for index, done in enumerate(fan.tasks):
            if isinstance(done, Verified):
                found[index] = self._result(index, done)
        return [found[index] for index in sorted(found) if found[index].changes]

    def _peeker(self, index: int, spot: Spot) -> Peeker:
        is_secret = self.secrets.are_in if self.secrets else None
        own = self.scratch.folder / f"index-{index}-{spot.attempt}"
        return Peeker(spot.path, spot.base, self.scratch, self.trees, own, spot.clone, is_secret, spot.layer)

    def _result(self, index: int, done: Verified) -> Sight:
        known = self._results.get(index)
        if known is None or known[0] is not done:
            known = self._results[index] = (done, sight_of(self.trees, index, done))
        return known[1]
