"""The order in which the results of a step land, worked out from what they are now."""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress

from stratum_git.core import fanout
from stratum_git.core.landing_order import propose
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.sights import Matrix, Sight, doubtful, kin_of, sights_of
from stratum_git.git.scratch import make_scratch
from stratum_git.git.worktree import discard
from stratum_git.model.ids import FlowId
from stratum_git.model.spec import Dispatch, Step
from stratum_git.model.state import FannedOut, Verified


def landing_sequence(context: Context, flow: FlowId, step: Step, fan: FannedOut) -> tuple[int, ...]:
    """Returns the indices of the results to land: what is needed first, then so that few are set aside.

    Only results that touch the same places are merged to find that out, up to a number of pairs; what would
    take more is left in the order of the graph. Writes no object into the repository.
    """
    indices = fanout.candidates(fan)
    work = step.work
    if not isinstance(work, Dispatch) or work.land_order == "graph" or work.merge == "manual":
        return indices
    tasks = ((index, fan.tasks[index]) for index in indices)
    results = [(index, done) for index, done in tasks if isinstance(done, Verified)]
    sights = sights_of(context.merger.trees, results)
    kin = kin_of(fan.graph)
    if not doubtful(sights, kin):
        return indices
    return propose(fan.graph, indices, _collisions(context, flow, sights, kin))


def _collisions(
    context: Context, flow: FlowId, sights: Sequence[Sight], kin: Container[tuple[int, int]]
) -> list[tuple[int, int]]:
    folder = context.folders.radar(flow)
    try:
        return list(Matrix(make_scratch(context.repo, folder), context.merger).look(sights, kin))
    finally:
        discard(folder, context.folders.trash)
        with suppress(OSError):
            folder.parent.rmdir()
