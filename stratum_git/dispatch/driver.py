"""The shell around the engine: one task owns the flow's state; attempts only send it events.

An event is persisted before its effects are performed, so a crash may repeat an effect and never forget
one. Ends when nothing is under way: the flow is over, waits for somebody, or was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar, assert_never

import trio

from stratum_git.dispatch.attempt import Attempt
from stratum_git.dispatch.choosing import choose
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.journal import Beaten, Journal
from stratum_git.dispatch.landing import follow
from stratum_git.dispatch.leasing import Leases
from stratum_git.dispatch.limits import Limits
from stratum_git.dispatch.notices import Line, Recorded, Remark, Watcher
from stratum_git.dispatch.opening import consider, open_step
from stratum_git.dispatch.proving import Prover
from stratum_git.dispatch.publishing import result_updates
from stratum_git.dispatch.radar import keep_watch
from stratum_git.dispatch.resolving import remember_landed
from stratum_git.dispatch.spending import Meter, Treasury
from stratum_git.dispatch.turn import hold, own_turn
from stratum_git.git.refs import RefUpdate, tip_nowait
from stratum_git.model.effects import (
    Ask,
    AwaitGate,
    Choose,
    Consider,
    Effect,
    Finish,
    Land,
    Launch,
    Open,
    Stop,
    Summon,
    Sync,
)
from stratum_git.model.ids import StepId, TaskId
from stratum_git.model.messages import (
    Event,
    Landed,
    Lost,
    Outcome,
    Rejected,
    StepReported,
    Suspended,
    Synced,
    TaskReported,
)
from stratum_git.model.spec import Dispatch
from stratum_git.model.state import FlowState, Landing
from stratum_git.store.listing import flow_ref

T = TypeVar("T")

POLL = 0.5
"""Seconds between looks at the flow's ref, for what other processes append."""

BEREFT = 3
"""Times in a row that the holder of a task's agent is killed before that counts as a failure."""

Key = tuple[StepId, TaskId | None, int]


@dataclass
class Delivery:
    """An event on its way to the owner, with who waits for it to be in the repository."""

    event: Event | None
    done: trio.Event = field(default_factory=trio.Event)
    beaten: bool = False
    wakes: bool = False
    """Whether it only wakes the owner, since somebody is done."""


@dataclass
class Driver:
    """Runs one flow. ``interrupt`` may be called from any task of the same trio run."""

    context: Context
    journal: Journal
    leases: Leases
    watch: Watcher
    interrupted: bool = False
    attempts: dict[Key, Attempt] = field(default_factory=dict)
    places: dict[tuple[StepId, TaskId | None], trio.Event] = field(default_factory=dict)
    bereft: dict[tuple[StepId, TaskId | None], int] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    treasury: Treasury = field(init=False)
    slots: trio.CapacityLimiter = field(init=False)
    active: int = 0
    updates: list[RefUpdate] = field(default_factory=list)
    followed: trio.Event = field(default_factory=trio.Event)
    held: frozenset[Path] = frozenset()
    proving: trio.CancelScope | None = None
    inbox: trio.MemorySendChannel[Delivery] = field(init=False)
    nursery: trio.Nursery = field(init=False)

    async def drive(self, first: Sequence[Effect]) -> FlowState:
        """Performs *first* and everything that follows from it; returns the state at the end."""
        self.inbox, outbox = trio.open_memory_channel[Delivery](math.inf)
        self.slots = trio.CapacityLimiter(_places(self.journal.state))
        self.treasury = Treasury(lambda: self.journal.state, self.attempts)
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self.followed.set()
            nursery.start_soon(self._poll)
            nursery.start_soon(
                keep_watch, self.context, self.journal, self.attempts, self._deliver, self.watch
            )
            nursery.start_soon(self.treasury.keep_count, self._deliver)
            self._perform(first)
            while self.active or outbox.statistics().current_buffer_used:
                await self._take(outbox)
            nursery.cancel_scope.cancel()
        return self.journal.state

    async def catch_up(self, events: Sequence[Event]) -> tuple[Effect, ...]:
        """Records *events* before the run begins, and returns what they call for."""
        written = await self.context.record(
            partial(self.journal.record, events, partial(self._extra, events))
        )
        self.leases.note(self.updates)
        for entry in written.entries:
            self.watch(Recorded(entry.event, entry.after, entry.effects, self.journal.stored.tip))
        return tuple(effect for entry in written.entries for effect in entry.effects)

    def interrupt(self, by: str) -> None:
        """Ends every attempt, keeping its work, and starts nothing new. The flow can be resumed."""
        if not self.interrupted:
            self.interrupted = True
            self.inbox.send_nowait(Delivery(Suspended(now(), by)))

    async def _take(self, outbox: trio.MemoryReceiveChannel[Delivery]) -> None:
        deliveries = [await outbox.receive()]
        while outbox.statistics().current_buffer_used:
            deliveries.append(outbox.receive_nowait())
        if self.active:
            # Whoever is done last has it looked what others appended; while some are at it, the poll does.
            deliveries = [d for d in deliveries if not d.wakes]
        landings = [d for d in deliveries if isinstance(d.event, Landed)]
        plain = [d for d in deliveries if not isinstance(d.event, Landed)]
        # A landing may lose its race for the target without anybody else being at fault.
        for group in (plain, *([landing] for landing in landings)):
            if group:
                await self._record(group)
        if self.interrupted:
            for attempt in self.attempts.values():
                attempt.interrupt()
        if self.proving is not None and (self.interrupted or not self._is_landing()):
            self.proving.cancel()

    def _is_landing(self) -> bool:
        state = self.journal.state
        return state.cursor is not None and isinstance(state.step(state.cursor), Landing)

    async def _record(self, deliveries: Sequence[Delivery]) -> None:
        events = [d.event for d in deliveries if d.event is not None]
        written = await self.context.record(
            partial(self.journal.record, events, partial(self._extra, events))
        )
        entries = written.entries
        if not isinstance(written, Beaten):
            self.leases.note(self.updates)
        else:
            self.watch(Remark(f"{written.ref} moved meanwhile; trying again"))
        for entry in entries:
            self.watch(Recorded(entry.event, entry.after, entry.effects, self.journal.stored.tip))
        for delivery in deliveries:
            delivery.beaten = isinstance(written, Beaten)
            delivery.done.set()
        for entry in entries:
            self._perform(entry.effects)

    def _extra(self, events: Sequence[Event], after: FlowState, effects: Sequence[Effect]) -> list[RefUpdate]:
        """Returns the refs that move together with *events*. Called in a thread, once per race."""
        del after
        leases = self.leases.updates(events, effects)
        results = result_updates(self.context.repo, self.journal.state.flow, events)
        self.updates = [*leases, *results]
        return self.updates

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self._perform_one(effect)

    def _perform_one(self, effect: Effect) -> None:
        match effect:
            case Launch():
                self._spawn(self._attempt, effect)
            case Stop(step, task, attempt, why):
                running = self.attempts.get((step, task, attempt))
                if running is not None:
                    running.halt(why)
            case Open(step):
                self._spawn(self._open, step)
            case Choose():
                self._spawn(self._choose, effect)
            case Land(step):
                self._spawn(self._land, step)
            case Sync():
                self.followed = trio.Event()
                self._spawn(self._sync, effect)
            case Consider(step):
                self._spawn(self._consider, step)
            case AwaitGate() | Finish() | Ask() | Summon():
                pass
            case _ as never:
                assert_never(never)

    def _spawn(self, work: Callable[[T], Awaitable[None]], argument: T) -> None:
        """Starts a task that the run waits for."""
        self.active += 1
        self.nursery.start_soon(self._guarded, partial(work, argument))

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            self.active -= 1
            # Wakes the owner, who may have nothing else to wait for.
            self.inbox.send_nowait(Delivery(None, wakes=True))

    async def _deliver(self, event: Event) -> Delivery:
        delivery = Delivery(event)
        self.inbox.send_nowait(delivery)
        await delivery.done.wait()
        return delivery

    async def _attempt(self, launch: Launch) -> None:
        """Does one attempt, when the attempt before it has left and a place is free.

        The engine counts a task as over when it reports, which is before its slot is clean again. Waiting
        here keeps the number of slots at the number of tasks at work, instead of making cold ones.
        """
        before, gone = self.places.get((launch.step, launch.task)), trio.Event()
        self.places[launch.step, launch.task] = gone
        attempt = Attempt(
            self.context,
            self.journal.state,
            launch,
            partial(self._line, launch),
            meter=Meter(self.treasury.ring),
            funds=partial(self.treasury.funds, launch.step),
            limits=self.limits,
            tell=lambda text: self.watch(Remark(text)),
        )
        key = (launch.step, launch.task, launch.attempt)
        self.attempts[key] = attempt
        try:
            if before is not None:
                await before.wait()
            async with self.slots:
                await self._attempt_in_place(launch, attempt)
                if not attempt.is_parting():
                    await attempt.release()
            if attempt.is_parting():
                # Nobody gets this slot, so nobody has to wait for it.
                await attempt.release()
        finally:
            gone.set()
            del self.attempts[key]

    async def _attempt_in_place(self, launch: Launch, attempt: Attempt) -> None:
        outcome = self._bounded(launch, attempt, await attempt.run())
        if attempt.starved is not None and not self.journal.state.paused:
            # It has not failed, and to begin it again at once would be to wait without end.
            await self._deliver(Suspended(now(), "stratum-git", attempt.starved))
        at, by, step, number = now(), attempt.by, launch.step, launch.attempt
        if launch.task is None:
            event: Event = StepReported(at, by, step, number, outcome)
        else:
            event = TaskReported(at, by, step, launch.task, number, outcome)
        await self._deliver(event)

    def _bounded(self, launch: Launch, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Returns the outcome of an attempt, which is its agent's own fault when its holder is always killed.

        A lost attempt costs no retry, and a machine without memory would go on so for ever.
        """
        key = (launch.step, launch.task)
        self.bereft[key] = self.bereft.get(key, 0) + 1 if attempt.bereft else 0
        if not isinstance(outcome, Lost) or attempt.bereft is None or self.bereft[key] < BEREFT:
            return outcome
        base = None if attempt.workplace is None else attempt.workplace.base
        why = f"{attempt.bereft}, {BEREFT} times in a row"
        return Rejected("agent", (why,), base, outcome.result, outcome.usage)

    def _line(self, launch: Launch, text: str) -> None:
        self.watch(Line(launch.step, launch.task, launch.attempt, text))

    def _is_paused(self) -> bool:
        return self.interrupted or self.journal.state.paused

    async def _consider(self, step: StepId) -> None:
        if not self._is_paused():
            await self._deliver(
                await self.context.git(partial(consider, self.context, self.journal.state, step))
            )

    async def _open(self, step: StepId) -> None:
        if not self._is_paused():
            await self._deliver(
                await self.context.git(partial(open_step, self.context, self.journal.state, step))
            )

    async def _choose(self, effect: Choose) -> None:
        if not self.interrupted:
            work = partial(choose, self.context, self.journal.state, effect.step, effect.task)
            event = await self.context.git(work)
            if event is not None:
                await self._deliver(event)

    async def _land(self, step: StepId) -> None:
        prover = Prover(self.context, self.journal.state, step, tell=lambda text: self.watch(Remark(text)))
        while not self.interrupted:
            # Nobody else is kept from landing meanwhile: it may take minutes.
            with trio.CancelScope() as self.proving:
                await prover.prove()
            if self.proving.cancelled_caught or await self._touch_down(prover):
                return

    async def _touch_down(self, prover: Prover) -> bool:
        """Lands what is proven; returns whether that is over. The target may have moved since."""
        async with own_turn(self.context):
            while not self.interrupted:
                event = await self.context.git(partial(prover.event, self.journal.state))
                if event is None:
                    return False
                with ExitStack() as stack:
                    holding = hold(self.context, event)
                    held = await self.context.git(partial(stack.enter_context, holding))
                    if held is None:
                        continue
                    self.held = held
                    stack.callback(setattr, self, "held", frozenset())
                    before = self.journal.state
                    if not (await self._deliver(event)).beaten:
                        if isinstance(event, Landed):
                            await self.context.git(partial(remember_landed, self.context, before, event))
                        # Whoever lands next looks at the checkouts as they are then.
                        await self.followed.wait()
                        return True
        return True

    async def _sync(self, effect: Sync) -> None:
        notes = await self.context.git(
            partial(
                follow,
                self.context.repo,
                effect.target,
                effect.old,
                effect.new,
                self.held,
                self.context.merger.trees,
            )
        )
        self.followed.set()
        for note in notes:
            self.watch(Remark(note))
        await self._deliver(Synced(now(), "stratum-git", effect.target, notes))

    async def _poll(self) -> None:
        ref = flow_ref(self.journal.state.flow)
        while True:
            await trio.sleep(POLL)
            tip = await self.context.git(partial(tip_nowait, self.context.repo, ref))
            if tip is not None and tip != self.journal.stored.tip:
                self.inbox.send_nowait(Delivery(None))


def _places(state: FlowState) -> int:
    works = (step.work for step in state.program.flow.steps)
    return max((work.max_concurrent for work in works if isinstance(work, Dispatch)), default=1)
