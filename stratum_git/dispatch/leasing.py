"""The leases of a run: made in the transaction that launches an attempt, ended in the one that reports it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from stratum_git.agents.identity import ProcessIdentity
from stratum_git.dispatch.clock import now
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import RefUpdate
from stratum_git.model.effects import Effect, Launch
from stratum_git.model.ids import FlowId, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import Event, StepReported, TaskReported
from stratum_git.slots.leases import Lease, lease_ref, write_lease

Key = tuple[StepId, TaskId | None]

GRACE = 600.0
"""Seconds that a lease outlasts the deadline of its attempt: capture, judging and verify come after it."""


@dataclass
class Leases:
    """Which leases this run holds, by step and task."""

    writer: ObjectWriter
    flow: FlowId
    holder: str
    identity: ProcessIdentity
    lifetime: float
    held: dict[Key, Oid] = field(default_factory=dict)

    def updates(self, events: Iterable[Event], effects: Iterable[Effect]) -> tuple[RefUpdate, ...]:
        """Returns the updates that end the leases of reported attempts and make those of launched ones."""
        wanted: dict[Key, Oid | None] = {}
        for event in events:
            if isinstance(event, StepReported):
                wanted[event.step, None] = None
            elif isinstance(event, TaskReported):
                wanted[event.step, event.task] = None
        for effect in effects:
            if isinstance(effect, Launch):
                wanted[effect.step, effect.task] = self._lease(effect)
        self._asked = {self._ref(key): key for key in wanted}
        changes = ((ref, self.held.get(key), wanted[key]) for ref, key in self._asked.items())
        return tuple(RefUpdate(ref, new, old) for ref, old, new in changes if old != new)

    def note(self, updates: Iterable[RefUpdate]) -> None:
        """Takes in that *updates* were made, of those that were asked for last."""
        for update in updates:
            key = self._asked.get(update.ref)
            if key is None:
                continue
            if update.new is None:
                self.held.pop(key, None)
            else:
                self.held[key] = update.new

    _asked: dict[RefName, Key] = field(default_factory=dict)
    """What the last updates are of, by ref: to look through all tasks would make a run quadratic."""

    def _lease(self, launch: Launch) -> Oid:
        lease = Lease(
            flow=self.flow,
            step=launch.step,
            task=launch.task,
            attempt=launch.attempt,
            holder=self.holder,
            identity=self.identity,
            nonce=secrets.token_hex(8),
            expires=now() + self.lifetime + GRACE,
        )
        return write_lease(self.writer, lease)

    def _ref(self, key: Key) -> RefName:
        return lease_ref(self.flow, key[0], key[1])
