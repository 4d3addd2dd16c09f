"""What attempts cost while they are at work: as their agents tell it, and by the clock.

The engine knows what was reported. Here what attempts at work have cost so far is added to that, and when
both together use a budget up, the engine is told, and ends it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import trio

from stratum_git.core import budgets
from stratum_git.core.questions import is_in_flight
from stratum_git.core.usage import Usage, added, usage_of
from stratum_git.dispatch.clock import now
from stratum_git.model.ids import Json, StepId, TaskId
from stratum_git.model.spending import BudgetSpent, Spent
from stratum_git.model.state import FlowState

Key = tuple[StepId, TaskId | None, int]
REST = 0.1
"""Seconds at least between two looks: agents may tell their costs with every word."""


@dataclass
class Meter:
    """What one attempt has cost. Its agent may be called several times; waiting costs nothing.

    *changed* is called whenever its agent told more of it, or began or ended a call.
    """

    changed: Callable[[], None] = lambda: None
    before: dict[str, Json] = field(default_factory=dict)
    live: dict[str, Json] = field(default_factory=dict)
    seconds: float = 0.0
    since: float | None = None
    waited: float = 0.0

    def tell(self, usage: Usage) -> None:
        """Takes what the present call has cost so far."""
        self.live = {**self.live, **usage_of(usage)}
        self.changed()

    def begin(self) -> None:
        """Notes that the agent is at work from now on."""
        self.since, self.live = trio.current_time(), {}
        self.changed()

    def end(self, usage: Usage) -> None:
        """Notes that the agent has ended, and what it told of the whole call."""
        self.seconds, self.since = self.at_work(), None
        self.before, self.live = added(self.before, {**self.live, **usage_of(usage)}), {}
        self.changed()

    def drop(self) -> None:
        """Notes that the agent was never at work in this call."""
        self.since = None

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Counts the time within as time that was waited."""
        begun = trio.current_time()
        try:
            yield
        finally:
            self.waited += trio.current_time() - begun

    def at_work(self) -> float:
        """Returns for how many seconds the agent has been at work in all."""
        return self.seconds + (0.0 if self.since is None else trio.current_time() - self.since)

    def usage(self) -> dict[str, Json]:
        """Returns what the attempt has cost by now; nothing, if its agent was never started."""
        if self.since is None and not self.seconds and not self.before:
            return {}
        told = added(self.before, self.live)
        told.pop("ms", None)
        waited: dict[str, Json] = {"waited_ms": round(self.waited * 1000)} if self.waited >= 1 else {}
        return {**told, "ms": math.ceil(self.at_work() * 1000), **waited}


class Metered(Protocol):
    """An attempt, as far as its costs go."""

    @property
    def meter(self) -> Meter:
        """Returns what it costs."""


@dataclass(frozen=True, slots=True)
class Funds:
    """What an attempt may cost at most; ``None`` is without limit."""

    usd: float | None = None
    tokens: int | None = None
    seconds: float | None = None

    @property
    def is_empty(self) -> bool:
        """Returns whether of something nothing is left."""
        return any(left is not None and left <= 0 for left in (self.usd, self.tokens, self.seconds))


@dataclass
class Treasury:
    """Adds up what the attempts of a run cost while they are at work."""

    state: Callable[[], FlowState]
    attempts: Mapping[Key, Metered]
    rung: trio.Event = field(default_factory=trio.Event)

    def ring(self) -> None:
        """Has the sum looked at."""
        self.rung.set()

    def funds(self, step: StepId) -> Funds:
        """Returns what another attempt at a step may cost."""
        state = self.state()
        spec = state.program.steps[step]
        if not any(budgets.purses(state, spec)):
            return Funds()
        live = self.live()
        ms = budgets.ms_left(state, spec, live)
        return Funds(
            budgets.usd_left(state, spec, live),
            budgets.tokens_left(state, spec, live),
            None if ms is None else ms / 1000,
        )

    def live(self) -> Spent:
        """Returns what attempts have cost that are under way: what was reported, the state has."""
        total, state = Spent(), self.state()
        for key, attempt in self.attempts.items():
            if is_in_flight(state, *key):
                total = budgets.plus(total, budgets.spent_by(attempt.meter.usage()))
        return total

    async def keep_count(self, deliver: Callable[[BudgetSpent], Awaitable[object]]) -> None:
        """Looks until it is cancelled, and delivers an event when a budget is used up."""
        steps = self.state().program.steps.values()
        if not any(any(budgets.purses(self.state(), step)) for step in steps):
            return
        while True:
            self.rung = trio.Event()
            for event in self._used_up():
                await deliver(event)
            with trio.move_on_after(self._pause()):
                await self.rung.wait()
            await trio.sleep(REST)

    def _used_up(self) -> list[BudgetSpent]:
        state = self.state()
        if state.cursor is None:
            return []
        live = self.live()
        told: dict[str, Json] = {"usd": live.usd, "tokens": live.tokens, "ms": live.ms}
        return [
            BudgetSpent(now(), "stratum-git", state.cursor, purse.scope, told)
            for purse in budgets.purses(state, state.program.steps[state.cursor])
            if live != Spent() and purse.key not in state.spent.over and budgets.is_used_up(purse, live)
        ]

    def _pause(self) -> float:
        """Returns the seconds until those at work will have used up the time that there is."""
        state = self.state()
        if state.cursor is None:
            return math.inf
        left = budgets.ms_left(state, state.program.steps[state.cursor], self.live())
        working = sum(attempt.meter.since is not None for attempt in self.attempts.values())
        return math.inf if left is None or not working else max(0.0, left / 1000 / working)
