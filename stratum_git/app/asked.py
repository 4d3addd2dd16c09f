"""Calls about a flow: what each of them asks for, and what several that are recorded together come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stratum_git.app.refused import Refused
from stratum_git.errors import BugError
from stratum_git.git.refs import RefUpdate
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.messages import Event
from stratum_git.model.state import FlowState
from stratum_git.store.flows import Entry, Lost

Decide = Callable[[FlowState], Sequence[Event]]
"""What a call comes to on the present state: events, or none when there is nothing to record. May refuse."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The lease on which a report rests: what is recorded counts only while the ref is still there."""

    ref: RefName
    token: Oid


@dataclass
class Asked:
    """A call about a flow: what it comes to is its own, whoever else is recorded with it."""

    decide: Decide
    fences: Sequence[Fence] = ()
    state: FlowState | None = None
    """The state after it, once it is recorded."""
    error: Exception | None = None

    def outcome(self) -> FlowState:
        """Returns the state after it; raises what went wrong."""
        if self.error is not None:
            raise self.error
        if self.state is None:
            raise BugError("a call was not decided")
        return self.state


@dataclass
class Together:
    """What the calls that are recorded together come to: each the state after it, or what went wrong."""

    outcomes: list[FlowState | Exception] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    moves: list[RefUpdate] = field(default_factory=list)
    changing: list[int] = field(default_factory=list)
    """Those that change anything, by their number."""

    def moves_any(self, others: Sequence[RefUpdate]) -> bool:
        """Returns whether one of *others* is about a ref that moves already."""
        return not {move.ref for move in self.moves}.isdisjoint(other.ref for other in others)

    def add(self, entries: Sequence[Entry], moves: Sequence[RefUpdate]) -> None:
        """Takes in a call that changes something."""
        self.changing.append(len(self.outcomes))
        self.outcomes.append(entries[-1].after)
        self.entries += entries
        self.moves += moves

    def blames(self, failed: Lost | Exception, asked: Sequence[Asked]) -> bool:
        """Returns whether that is about one call alone, which then comes to it."""
        if len(self.changing) > 1:
            return False
        number = self.changing[0]
        if isinstance(failed, Exception):
            self.outcomes[number] = failed
            return True
        if any(failed.ref == fence.ref for fence in asked[number].fences):
            self.outcomes[number] = Refused("lease_lost", "the task was given to somebody else meanwhile")
            return True
        return False

    def tell(self, asked: Sequence[Asked]) -> int:
        """Tells the calls what they came to; returns how many they are."""
        for one, outcome in zip(asked, self.outcomes, strict=False):
            if isinstance(outcome, Exception):
                one.error = outcome
            else:
                one.state = outcome
        return len(self.outcomes)
