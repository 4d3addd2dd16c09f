"""Looks, when it is asked, which tasks of clients and workers get in each other's way."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from stratum_git.app.overlaps import told
from stratum_git.core.collisions import Pair, collisions_from
from stratum_git.dispatch.clock import monotonic, now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.lookout import Lookout, Spot
from stratum_git.dispatch.sights import kin_of
from stratum_git.git.scratch import make_scratch
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import discard
from stratum_git.model.ids import Json
from stratum_git.model.spec import Dispatch
from stratum_git.model.state import FannedOut, FlowState, Running
from stratum_git.slots.occupancy import Occupant

PATIENCE = 5.0
"""Seconds after which no further slot is looked into; what was seen by then is told."""


def collisions_now(context: Context, state: FlowState) -> dict[str, Json]:
    """Returns the same of a flow whose tasks clients and workers do: nobody watches these, so it looks now.

    Besides, which tasks it did not come to look at (``not_seen``), for want of time.
    """
    fan = None if state.cursor is None else state.step(state.cursor)
    if not isinstance(fan, FannedOut) or state.cursor is None or not _is_watched(context, state):
        return {}
    folder = context.folders.radar(state.flow)
    try:
        with TreeReader(context.repo, context.writer.heal) as trees:
            lookout = Lookout(make_scratch(context.repo, folder), trees, context.secrets)
            missed = list(_look(context, lookout, state, fan))
            sights = lookout.sights(fan)
            found = lookout.matrix.look(sights, kin_of(fan.graph))
    finally:
        discard(folder, context.folders.trash)
        with suppress(OSError):
            folder.parent.rmdir()
    tasks, attempts = fan.graph.tasks, {sight.index: sight.attempt for sight in sights}
    pairs: dict[Pair, tuple[tuple[int, int], tuple[str, ...]]] = {
        (tasks[a].id, tasks[b].id): ((attempts[a], attempts[b]), paths) for (a, b), paths in found.items()
    }
    row = told(fan, collisions_from(pairs, (), now())[0])
    return row | ({"not_seen": [tasks[index].id for index in missed]} if missed else {})


def _look(context: Context, lookout: Lookout, state: FlowState, fan: FannedOut) -> Iterable[int]:
    """Looks into the slots of a step, and yields the tasks for which no time was left."""
    end = monotonic() + PATIENCE
    for index, at in enumerate(fan.tasks):
        if not isinstance(at, Running) or state.cursor is None:
            continue
        who = Occupant(state.flow, state.cursor, fan.graph.tasks[index].id, at.attempt)
        place = context.pool.find(who)
        if place is None:
            continue
        if monotonic() >= end:
            yield index
        else:
            lookout.peek(index, Spot(*place, at.attempt, clone=place[0].name.startswith("clone-")))


def _is_watched(context: Context, state: FlowState) -> bool:
    work = None if state.cursor is None else state.program.steps[state.cursor].work
    return context.radar is not None and isinstance(work, Dispatch) and work.isolation != "none"
