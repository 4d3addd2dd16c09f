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
from stratum_git.dispatch.notices import Remark, Watcher
from stratum_git.dispatch.pace import Pace
from stratum_git.dispatch.sights import Matrix, Sight, kin_of, sight_of
from stratum_git.dispatch.workplace import SlotPlace
from stratum_git.errors import StratumError
from stratum_git.git.peek import Peeker
from stratum_git.git.scratch import Scratch, make_scratch
from stratum_git.git.tree_edit import edited
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import discard
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import FlowId, StepId, TaskId
from stratum_git.model.messages import Event
from stratum_git.model.sightings import Sighted
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.state import FannedOut, FlowState, Running, Verified

T = TypeVar("T")

Key = tuple[StepId, TaskId | None, int]
FAILURES = 3
"""Looks in a row that fail before it is given up."""
HOARD = 20_000
"""Files read after which the scratch store is thrown away and another one begun."""


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
    _desk: _Desk | None = None
    _kin: tuple[TaskGraph | None, frozenset[tuple[int, int]]] = (None, frozenset())

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
        desk = self._ready(self.journal.state.flow)
        await self._peek(desk, *at)
        # Who has reported meanwhile is known by his result: his slot may be somebody else's by now.
        at = _watched_at(self.journal.state)
        if at is None:
            return None
        step, fan = at
        desk.keep(dict(self._places(step, fan)))
        found = await self._found(desk, fan)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Gits of others are among them: the rest may be longer than it had to be.
        self.cost += ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime
        collisions, more = collisions_from(found, fan.collisions, now())
        return None if collisions == fan.collisions else Sighted(now(), "stratum-git", step, collisions, more)

    def _ready(self, flow: FlowId) -> _Desk:
        if self._desk is None or self._desk.read > HOARD:
            self._renew()
            scratch = make_scratch(self.context.repo, self.context.folders.radar(flow))
            self._desk = _Desk(scratch, self._trees)
        return self._desk

    async def _peek(self, desk: _Desk, step: StepId, fan: FannedOut) -> None:
        """Looks into every slot in which a task of the step is being done."""
        places = dict(self._places(step, fan))
        desk.keep(places)
        async with trio.open_nursery() as nursery:
            for index, place in places.items():
                nursery.start_soon(self._run, partial(desk.peek, index, place, self.context))

    async def _found(
        self, desk: _Desk, fan: FannedOut
    ) -> dict[Pair, tuple[tuple[int, int], tuple[str, ...]]]:
        if self._kin[0] is not fan.graph:
            self._kin = (fan.graph, kin_of(fan.graph))
        sights = await self._run(partial(desk.sights, fan))
        pairs = await self._run(partial(desk.matrix.look, sights, self._kin[1]))
        attempts = {sight.index: sight.attempt for sight in sights}
        tasks = fan.graph.tasks
        return {
            (tasks[a].id, tasks[b].id): ((attempts[a], attempts[b]), paths) for (a, b), paths in pairs.items()
        }

    def _places(self, step: StepId, fan: FannedOut) -> Iterator[tuple[int, SlotPlace]]:
        for (at, task, number), attempt in tuple(self.attempts.items()):
            index = None if task is None or at != step else fan.graph.index.get(task)
            if index is None:
                continue
            running, place = fan.tasks[index], attempt.workplace
            if isinstance(running, Running) and running.attempt == number and isinstance(place, SlotPlace):
                yield index, place

    async def _run(self, work: Callable[[], T]) -> T:
        def timed() -> tuple[T, float]:
            before = thread_time()
            return work(), thread_time() - before

        answer, spent = await trio.to_thread.run_sync(timed, limiter=self._limit)
        self.cost += spent
        return answer

    def _renew(self) -> None:
        if self._desk is not None:
            folder = self._desk.scratch.folder
            discard(folder, self.context.folders.trash)
            with suppress(OSError):
                folder.parent.rmdir()
        self._desk = None


@dataclass
class _Desk:
    """What was seen, and the store in which it lies."""

    scratch: Scratch
    trees: TreeReader
    matrix: Matrix = field(init=False)
    _peekers: dict[int, tuple[SlotPlace, Peeker, Sight | None]] = field(default_factory=dict)
    _results: dict[int, Sight] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins with nothing known."""
        self.matrix = Matrix(self.scratch)

    @property
    def read(self) -> int:
        """Returns how many files were read."""
        return sum(peeker.read for _, peeker, _ in self._peekers.values()) + self.matrix.merged

    def keep(self, places: Mapping[int, SlotPlace]) -> None:
        """Forgets the slots that are not those of *places* any more."""
        self._peekers = {i: row for i, row in self._peekers.items() if places.get(i) is row[0]}

    def peek(self, index: int, place: SlotPlace, context: Context) -> None:
        """Looks into one slot. When that fails, what was seen last is what is known."""
        known = self._peekers.get(index)
        if known is None:
            slot = place.slot
            peeker = Peeker(
                slot.path,
                place.base,
                self.scratch,
                self.trees,
                self.scratch.folder / f"index-{slot.name}-{slot.occupant.attempt}",
                clone=slot.kind == "branch",
                is_secret=context.secrets.are_in if context.secrets else None,
            )
            known = (place, peeker, None)
        place, peeker, sight = known
        try:
            changes = peeker.look()
            if sight is None or sight.changes is not changes:
                base = self.trees.root(place.base)
                edits = {c.path: (c.new_mode, c.new) if c.status != "D" else None for c in changes.values()}
                tree = edited(self.trees, self.scratch.writer, base, edits)
                sight = Sight(index, place.slot.occupant.attempt, base, tree, changes, peeker.stores)
        except (StratumError, OSError):
            pass
        self._peekers[index] = (place, peeker, sight)

    def sights(self, fan: FannedOut) -> list[Sight]:
        """Returns what is known of every task whose work may land, in the order of their indices."""
        found = {index: sight for index, (_, _, sight) in self._peekers.items() if sight is not None}
        for index in range(len(fan.tasks)):
            done = fan.tasks[index]
            if isinstance(done, Verified):
                found[index] = self._result(index, done)
        return [found[index] for index in sorted(found) if found[index].changes]

    def _result(self, index: int, done: Verified) -> Sight:
        base, tree = self.trees.root(done.base), self.trees.root(done.result)
        known = self._results.get(index)
        if known is None or (known.attempt, known.base, known.tree) != (done.attempt, base, tree):
            known = self._results[index] = sight_of(self.trees, index, done)
        return known


def _sweep(context: Context, flow: FlowId) -> None:
    """Throws away what a run that was killed has left. Nobody else runs the flow."""
    for path in context.folders.radar_of(flow):
        discard(path, context.folders.trash)


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
