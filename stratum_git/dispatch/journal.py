"""The one owner of a flow's state while it runs: decides, persists, then hands out the effects.

Other processes may append to the same flow (a gate approved in another terminal, a cancel). Whoever loses
the compare-and-swap folds in what the other wrote and decides again; an event that has become stale by then
is dropped, and nothing that was to move with it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stratum_git.core.engine import advance
from stratum_git.git.refs import RefUpdate, tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.model.effects import Effect
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.messages import Event
from stratum_git.model.state import FlowState
from stratum_git.store.flows import Entry, FlowLog, Stored, events_between
from stratum_git.store.listing import flow_ref

Extra = Callable[[FlowState, tuple[Effect, ...]], Sequence[RefUpdate]]
"""Given the state after an event and its effects, the refs that move with it."""

RACES = 100
"""Lost races in a row after which something is wrong. Each one means that somebody else made progress."""


@dataclass(frozen=True, slots=True)
class Written:
    """Events that are in the repository now, with their effects, in order. Some may be other people's."""

    entries: tuple[Entry, ...]
    tip: Oid


@dataclass(frozen=True, slots=True)
class Beaten:
    """Nothing was written: a ref that was to move with the event stood elsewhere."""

    ref: RefName
    entries: tuple[Entry, ...]


@dataclass
class Journal:
    """A flow, as its owner sees it. Not for several threads at once."""

    repo: Repository
    log: FlowLog
    stored: Stored

    @property
    def state(self) -> FlowState:
        """Returns the state after the last event."""
        return self.stored.state

    def record(self, events: Sequence[Event], extra: Extra) -> Written | Beaten:
        """Appends the events that still mean something, in one ref transaction.

        Without any event it only takes in what others appended.
        """
        foreign = () if events else self.catch_up()
        for _ in range(RACES):
            entries = self._decide(events)
            if not entries:
                return Written(foreign, self.stored.tip)
            effects = tuple(effect for entry in entries for effect in entry.effects)
            updates = extra(entries[-1].after, effects)
            answer = self.log.append(self.state.flow, self.stored.tip, entries, updates)
            if isinstance(answer, Stored):
                self.stored = answer
                return Written((*foreign, *entries), answer.tip)
            caught_up = self.catch_up()
            foreign = (*foreign, *caught_up)
            if not caught_up and answer.ref != flow_ref(self.state.flow):
                return Beaten(answer.ref, foreign)
        raise AssertionError(f"lost {RACES} races for {self.state.flow} in a row")

    def catch_up(self) -> tuple[Entry, ...]:
        """Folds in what others appended, and returns it."""
        tip = tip_nowait(self.repo, flow_ref(self.state.flow))
        if tip is None or tip == self.stored.tip:
            return ()
        state, entries = self.state, []
        for event in events_between(self.repo, self.stored.tip, tip):
            state, effects = advance(state, event)
            entries.append(Entry(event, state, effects))
        self.stored = Stored(tip, state)
        return tuple(entries)

    def _decide(self, events: Sequence[Event]) -> list[Entry]:
        state, entries = self.state, []
        for event in events:
            after, effects = advance(state, event)
            if after is not state:
                entries.append(Entry(event, after, effects))
                state = after
        return entries
