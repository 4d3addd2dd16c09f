"""What a kill leaves of a flow that has come to its end: whoever starts next gives it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from filelock import FileLock

from stratum_git.app import running
from stratum_git.app.recovery import clear_locks, give_back
from stratum_git.app.running import FlowOverError, RunRequest
from stratum_git.app.workshop import make_context
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.names import branch_ref
from stratum_git.model.ids import FlowId, StepId, TaskId
from stratum_git.model.state import FlowState
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.slot import Slot
from tests.support.flows import Stage, dispatch_spec, writes

TASK = TaskId("x")


@contextmanager
def working(stage: Stage) -> Iterator[Context]:
    context = make_context(stage.around, stage.around.repository(), ())
    try:
        yield context
    finally:
        context.close()


async def ended(stage: Stage) -> FlowState:
    """Plays a flow to its end."""
    return await stage.play(dispatch_spec(), lambda _: writes("x.txt"), [{"id": TASK}])


def left(context: Context, state: FlowState) -> Slot:
    """Puts a slot back as it is when its process is killed after the last report, before the release."""
    step = StepId("build")
    slot = context.pool.acquire(
        base=state.base,
        branch=branch_ref(state.flow, step, TASK),
        occupant=Occupant(state.flow, step, TASK, 1),
        isolation="worktree",
    )
    context.pool.leave(slot)
    return slot


async def test_resuming_a_flow_that_is_over_gives_back_what_it_left(stage: Stage) -> None:
    state = await ended(stage)
    with working(stage) as context:
        slot = left(context, state)
        (slot.path / "more.txt").write_text("of nobody's report\n")
        (context.folders.trash / "thrown away").mkdir()
        with pytest.raises(FlowOverError, match="nothing to resume"):
            await running.resume(stage.around, state.flow, (), stage.notices.append, stage.handle)
        assert context.pool.occupants() == frozenset()
        assert list(context.folders.trash.iterdir()) == []
    # What no report speaks of is kept all the same.
    kept = f"refs/stratum/attempts/{state.flow}/build/{TASK}/1"
    assert stage.scratch.show(f"{kept}:more.txt") == "of nobody's report"


async def test_locks_of_killed_gits_on_the_refs_of_a_flow_go_with_it(stage: Stage) -> None:
    state = await ended(stage)
    refs = stage.scratch.path / ".git/refs"
    locks = [refs / f"stratum/flows/{state.flow}.lock", refs / f"heads/stratum/{state.flow}/x.lock"]
    for lock in locks:
        lock.touch()
    theirs = refs / "heads/theirs.lock"
    theirs.touch()
    with working(stage) as context:
        clear_locks(context, state.flow)
    assert ([lock.exists() for lock in locks], theirs.exists()) == ([False, False], True)


async def test_a_checkout_that_did_not_follow_to_the_end_does_so_on_resuming(stage: Stage) -> None:
    state = await ended(stage)
    # As it is when the run is killed between the last landing and the move of the checkout.
    flow = f"refs/stratum/flows/{state.flow}"
    stage.scratch.git("update-ref", flow, f"{flow}~1")
    stage.scratch.git("read-tree", "-m", "-u", "HEAD", "HEAD~1")
    assert stage.scratch.git("status", "--porcelain") == "D  x.txt"
    done = await running.resume(stage.around, state.flow, (), stage.notices.append, stage.handle)
    assert (done.status, done.unsynced) == ("complete", ())
    assert stage.scratch.git("status", "--porcelain") == ""


async def test_whatever_starts_next_gives_it_back(stage: Stage) -> None:
    state = await ended(stage)
    with working(stage) as context:
        left(context, state)
        spec = dispatch_spec()
        request = RunRequest(spec, inputs={"tasks": [{"id": "y"}]}, agents=("default=true",))
        await running.run(stage.around, request, stage.notices.append, stage.handle)
        assert context.pool.occupants() == frozenset()
    assert stage.scratch.git("for-each-ref", "refs/stratum/attempts") == ""


@pytest.mark.parametrize("why", ["held", "unknown", "under way"])
async def test_what_is_not_over_or_is_held_is_left_alone(stage: Stage, why: str) -> None:
    state = await ended(stage)
    with working(stage) as context:
        slot = left(context, state)
        forget: dict[str, Callable[[], object]] = {
            "unknown": lambda: stage.scratch.git("update-ref", "-d", f"refs/stratum/flows/{state.flow}"),
            "under way": lambda: stage.scratch.git(
                "update-ref", f"refs/stratum/flows/{state.flow}", f"refs/stratum/flows/{state.flow}~3"
            ),
        }
        forget.get(why, lambda: None)()
        held = FileLock(context.folders.locks / f"flow-{state.flow}.lock", thread_local=False)
        if why == "held":
            held.acquire(timeout=0)
        give_back(context)
        held.release()
        assert context.pool.occupants() == {slot.occupant}
        assert FlowId(slot.occupant.flow) == state.flow
