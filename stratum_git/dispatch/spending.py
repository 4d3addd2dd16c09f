"""What attempts cost while they are at work: as their agents tell it, and by the clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from stratum_git.core.usage import Usage, added, usage_of
from stratum_git.model.ids import Json


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

    def at_work(self) -> float:
        """Returns for how many seconds the agent has been at work in all."""
        return self.seconds + (0.0 if self.since is None else trio.current_time() - self.since)

    def usage(self) -> dict[str, Json]:
        """Returns what the attempt has cost by now; nothing, if its agent was never started."""
        if self.since is None and not self.seconds and not self.before:
            return {}
        told = added(self.before, self.live)
        told.pop("ms", None)
        return {**told, "ms": math.ceil(self.at_work() * 1000)}
