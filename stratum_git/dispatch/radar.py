"""Looks at attempts while they are at work: whose changes conflict with whose, as they lie there now.

It only looks. No lock is taken that anybody else wants, no attempt waits for it, and a slot that goes away
under it is no error. It knows what a look has cost, and rests so long that all of it stays below a share of
one core. What changed becomes an event; when a look fails nothing is known, and the next one tells.
"""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from stratum_git.core.collisions import Pair, collisions_from
from stratum_git.dispatch.attempt import Attempt
from stratum_git.dispatch.clock import monotonic, now, thread_time
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.journal import Journal
from stratum_git.dispatch.lookout import Lookout, Spot
from stratum_git.dispatch.notices import Remark, Watcher
from stratum_git.dispatch.pace import Pace
from stratum_git.dispatch.sights import Kin, kin_of
from stratum_git.dispatch.workplace import SlotPlace
from stratum_git.errors import StratumError
from stratum_git.git.scratch import make_scratch
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import discard
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import FlowId, StepId, TaskId
from stratum_git.model.messages import Event
from stratum_git.model.sightings import Sighted
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.state import FannedOut, FlowState, Running

T = TypeVar("T")

Key = tuple[StepId, TaskId | None, int]
FAILURES = 3
"""Looks in a row that fail before it is given up."""
HOARD = 20_000
"""Files written after which the scratch store is thrown away and another one begun."""


async def keep_watch(
    context: Context,
    journal: Journal,
    attempts: Mapping[Key, Attempt],
    deliver: Callable[[Event], Awaitable[object]],
    watch: Watcher,
) -> None:
    """Looks until it is cancelled, and delivers an event whenever who collides with whom has changed."""
    pace = context.radar
    if pace is None or not any(map(_is_watched, journal.state.program.steps.values())):
        return
    _sweep(context, journal.state.flow)
    radar, failures, rest = Radar(context, journal, attempts, pace), 0, pace.first
    try:
        while failures < FAILURES:
            await trio.sleep(rest)
            started = monotonic()
            try:
                event, failures = await radar.look(), 0
            except (StratumError, OSError) as error:
                event, failures = None, failures + 1
                if failures == FAILURES:
                    watch(Remark(f"collisions are not looked for any more: {error}"))
            if event is not None:
                await deliver(event)
            spent = monotonic() - started
            rest = max(pace.least, min(radar.cost, 2 * pace.width * spent) / pace.share - spent)
    finally:
        radar.close()


@dataclass
class Radar:
    """The looks of one run. ``cost`` is what the last one took, in seconds of the CPU, or somewhat more."""

    context: Context
    journal: Journal
    attempts: Mapping[Key, Attempt]
    pace: Pace
    cost: float = 0.0
    _limit: trio.CapacityLimiter = field(init=False)
    _trees: TreeReader = field(init=False)
    _lookout: Lookout | None = None
    _kin: tuple[TaskGraph | None, Kin] = (None, Kin())

    def __post_init__(self) -> None:
        """Begins with nothing."""
        self._limit = trio.CapacityLimiter(self.pace.width)
        # One of its own: whoever runs the flow does not wait for it.
        self._trees = TreeReader(self.context.repo, self.context.writer.heal)

    def close(self) -> None:
        """Throws away what was read."""
        self._trees.close()
        self._renew()

    async def look(self) -> Sighted | None:
        """Returns the event that says what has changed since the last one, if anything has."""
        begun, self.cost = resource.getrusage(resource.RUSAGE_CHILDREN), 0.0
        at = _watched_at(self.journal.state)
        if at is None or (at[1].running + at[1].verified < 2 and not at[1].collisions):
            return None
        lookout = self._ready(self.journal.state.flow)
        await self._peek(lookout, *at)
        # Who has reported meanwhile is known by his result: his slot may be somebody else's by now.
        at = _watched_at(self.journal.state)
        if at is None:
            return None
        step, fan = at
        lookout.keep(dict(self._spots(step, fan)))
        found = await self._found(lookout, fan)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Gits of others are among them: the rest may be longer than it had to be.
        self.cost += ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime
        collisions, more = collisions_from(found, fan.collisions, now())
        return None if collisions == fan.collisions else Sighted(now(), "stratum-git", step, collisions, more)

    def _ready(self, flow: FlowId) -> Lookout:
        if self._lookout is None or self._lookout.written > HOARD:
            self._renew()
            scratch = make_scratch(self.context.repo, self.context.folders.radar(flow))
            self._lookout = Lookout(scratch, self._trees, self.context.secrets)
        return self._lookout

    async def _peek(self, lookout: Lookout, step: StepId, fan: FannedOut) -> None:
        """Looks into every slot in which a task of the step is being done."""
        spots = dict(self._spots(step, fan))
        lookout.keep(spots)
        async with trio.open_nursery() as nursery:
            for index, spot in spots.items():
                nursery.start_soon(self._run, partial(lookout.peek, index, spot))

    async def _found(
        self, lookout: Lookout, fan: FannedOut
    ) -> dict[Pair, tuple[tuple[int, int], tuple[str, ...]]]:
        if self._kin[0] is not fan.graph:
            self._kin = (fan.graph, kin_of(fan.graph))
        sights = await self._run(partial(lookout.sights, fan))
        pairs = await self._run(partial(lookout.matrix.look, sights, self._kin[1]))
        attempts = {sight.index: sight.attempt for sight in sights}
        tasks = fan.graph.tasks
        return {
            (tasks[a].id, tasks[b].id): ((attempts[a], attempts[b]), paths) for (a, b), paths in pairs.items()
        }

    def _spots(self, step: StepId, fan: FannedOut) -> Iterator[tuple[int, Spot]]:
        for (at, task, number), attempt in tuple(self.attempts.items()):
            index = None if task is None or at != step else fan.graph.index.get(task)
            if index is None:
                continue
            running, place = fan.tasks[index], attempt.workplace
            if isinstance(running, Running) and running.attempt == number and isinstance(place, SlotPlace):
                is_clone = place.slot.kind == "branch"
                yield index, Spot(place.path, place.base, number, is_clone, place.slot.layer)

    async def _run(self, work: Callable[[], T]) -> T:
        def timed() -> tuple[T, float]:
            before = thread_time()
            return work(), thread_time() - before

        answer, spent = await trio.to_thread.run_sync(timed, limiter=self._limit)
        self.cost += spent
        return answer

    def _renew(self) -> None:
        if self._lookout is not None:
            folder = self._lookout.scratch.folder
            discard(folder, self.context.folders.trash)
            with suppress(OSError):
                folder.parent.rmdir()
        self._lookout = None


def _sweep(context: Context, flow: FlowId) -> None:
    """Throws away what a run that was killed has left. Nobody else runs the flow."""
    for path in context.folders.radar_of(flow):
        discard(path, context.folders.trash)
        with suppress(OSError):
            path.parent.rmdir()


def _watched_at(state: FlowState) -> tuple[StepId, FannedOut] | None:
    """Returns the step that the flow is at, and its tasks, if they could get in each other's way."""
    step = state.cursor
    fan = None if step is None else state.step(step)
    if step is None or not isinstance(fan, FannedOut) or not _is_watched(state.program.steps[step]):
        return None
    return step, fan


def _is_watched(step: Step) -> bool:
    """Returns whether the tasks of a step could get in each other's way."""
    work = step.work
    return isinstance(work, Dispatch) and work.max_concurrent > 1 and work.isolation != "none"
