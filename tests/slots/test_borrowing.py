"""A slot that is borrowed is at a commit, on no branch, and nobody's: a crash leaves no work in it."""

from __future__ import annotations

from pathlib import Path

from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Occupant, Vacant, read_record
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.slot import Slot
from tests.slots.tenancy import git
from tests.support.repos import ScratchRepo

WHO = Occupant("flow", "step", "-landing", 1)


def borrowed(pool: SlotPool, base: Oid) -> Slot:
    return pool.borrow(base=base, occupant=WHO)


def test_a_borrowed_slot_is_at_its_commit_and_on_no_branch(pool: SlotPool, base: Oid) -> None:
    slot = borrowed(pool, base)
    assert git(slot.path, "rev-parse", "HEAD") == base
    assert git(slot.path, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert pool.occupants() == frozenset()
    assert pool.recover() == ()
    pool.release(slot)


def test_it_is_clean_for_the_next_whatever_was_done_in_it(
    pool: SlotPool, base: Oid, scratch: ScratchRepo
) -> None:
    first = borrowed(pool, base)
    (first.path / "a.txt").write_text("spoilt\n")
    (first.path / "more.txt").write_text("x\n")
    git(first.path, "add", "-A")
    git(first.path, "commit", "-qm", "spoilt")
    pool.release(first)
    after = Oid(scratch.commit("next", {"next.txt": "x\n"}))

    second = borrowed(pool, after)
    assert second.path == first.path
    assert git(second.path, "rev-parse", "HEAD") == after
    assert git(second.path, "status", "--porcelain", "--ignored") == ""
    pool.release(second)


def test_while_it_is_borrowed_nobody_else_gets_it(pool: SlotPool, base: Oid) -> None:
    first, second = borrowed(pool, base), borrowed(pool, base)
    pool.tidy()
    assert first.path != second.path
    assert first.path.is_dir()
    assert second.path.is_dir()
    for slot in (first, second):
        pool.release(slot)


def test_what_a_dead_process_had_borrowed_is_thrown_away(
    pool: SlotPool, repo: Repository, folders: StateFolders, base: Oid
) -> None:
    slot = borrowed(pool, base)
    (slot.path / "more.txt").write_text("x\n")
    slot.lock.release()

    record = read_record(slot.path)
    assert isinstance(record, Vacant)
    assert not record.ready
    other = SlotPool(repo, folders).borrow(base=base, occupant=WHO)
    assert other.path != slot.path
    assert not slot.path.exists()
    pool.release(other)
    pool.tidy()
    assert [Path(p).name for p in folders.slots.glob("slot-????????")] == [other.name]
