"""What an attempt left is in memory alone until its event: one pack then, and nothing is lost before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from stratum_git.app.workshop import make_context
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.names import branch_ref
from stratum_git.dispatch.workplace import SlotPlace
from stratum_git.git.pack_writer import MARK, PackWriter, RunWriter
from stratum_git.git.process import processes_started
from stratum_git.git.snapshot import Captured
from stratum_git.model.ids import FlowId, Oid, StepId, TaskId
from stratum_git.slots.occupancy import Occupant
from tests.support.flows import Stage, dispatch_spec, writes

FLOW, STEP, TASK = FlowId("20300101-000000-aaaa"), StepId("build"), TaskId("x")
KEPT = f"refs/stratum/attempts/{FLOW}/{STEP}/{TASK}/1"


@contextmanager
def place(stage: Stage) -> Iterator[tuple[Context, SlotPlace]]:
    """Gives a slot in which somebody has written a file."""
    context = make_context(stage.around, stage.around.repository(), ())
    try:
        base = Oid(stage.scratch.head())
        slot = context.pool.acquire(
            base=base,
            branch=branch_ref(FLOW, STEP, TASK),
            occupant=Occupant(FLOW, STEP, TASK, 1),
            isolation="worktree",
        )
        (slot.path / "new.txt").write_text("work\n")
        yield context, SlotPlace(context, slot, context.folders.attempt(FLOW, STEP, TASK, 1), base)
    finally:
        context.close()


def packs(context: Context) -> list[Path]:
    return sorted((context.repo.common_dir / "objects/pack").glob(f"pack-{MARK}*.idx"))


def captured(context: Context, at: SlotPlace) -> Captured:
    return at.capture(at.base, "m\n", context.identity, held=True)


async def test_a_task_makes_no_pack_but_that_of_its_event(stage: Stage) -> None:
    packs = stage.scratch.path / ".git/objects/pack"
    before: list[int] = []

    def play(_: object) -> object:
        before.append(len(list(packs.glob(f"pack-{MARK}*.idx"))))
        return writes(f"{len(before)}.txt")

    await stage.play(dispatch_spec(max_concurrent=1), play, [{"id": f"t{n}"} for n in range(4)])  # type: ignore[arg-type]
    assert [later - one for one, later in pairwise(before)] == [1, 1, 1]


def test_what_is_held_is_there_with_the_event(stage: Stage) -> None:
    with place(stage) as (context, at):
        taken = captured(context, at)
        assert packs(context) == []
        run = context.writer
        assert isinstance(run, RunWriter)
        event = PackWriter(context.repo, durable=True, late=True)
        event.blob(b"of the event\n")
        event.take(run.give([taken.result]))
        event.sync()
        assert len(packs(context)) == 1
        stage.scratch.git("update-ref", at.slot.branch, taken.result)
        started = processes_started()
        at.close()
        # All of it is in a pack that is kept: nobody has to be asked.
        assert processes_started() == started
        assert stage.scratch.show(f"{at.slot.branch}:new.txt") == "work"


def test_whoever_reads_it_before_has_it_written(stage: Stage) -> None:
    with place(stage) as (context, at):
        taken = captured(context, at)
        (change,) = taken.paths
        blob = context.merger.trees.entries(context.merger.trees.root(taken.result))[change][1]
        assert packs(context) == []
        assert context.merger.trees.data(blob) == b"work\n"
        assert len(packs(context)) == 1
        assert isinstance(context.writer, RunWriter)
        assert context.writer.give([taken.result]) == []
        at.abandon()


def test_what_no_event_speaks_of_is_kept_when_its_slot_goes(stage: Stage) -> None:
    with place(stage) as (context, at):
        taken = captured(context, at)
        at.close()
        assert stage.scratch.git("rev-parse", KEPT) == taken.result
        stage.scratch.git("gc", "-q", "--prune=now")
    assert stage.scratch.show(f"{KEPT}:new.txt") == "work"


def test_where_somebody_lost_it_the_slot_still_has_it(stage: Stage) -> None:
    with place(stage) as (context, at):
        taken = captured(context, at)
        run = context.writer
        assert isinstance(run, RunWriter)
        # Whoever was given it could not write it.
        run.give([taken.result])
        at.close()
    assert stage.scratch.show(f"{KEPT}:new.txt") == "work"
