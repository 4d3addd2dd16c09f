from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.snapshot import capture
from stratum_git.git.worktree import fetch_result, git_dir_of
from stratum_git.model.ids import Oid
from stratum_git.slots.occupancy import Occupant, read_record
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.slot import Slot
from tests.slots.tenancy import branch_of, condition, git, take, tenants
from tests.support.repos import ScratchRepo

ME = Signature("A", "a@example.invalid", 1_700_000_000.0)


def abandon(slot: Slot) -> None:
    """As the kernel does it when the process of a slot dies."""
    slot.lock.release()


def test_the_slot_of_a_killed_process_is_recovered_with_its_work_and_only_then_used_again(
    pool: SlotPool, repo: Repository, state: Path, base: Oid, scratch: ScratchRepo
) -> None:
    with tenants(repo.root, state, "hold") as (tenant,):
        (path,) = tenant.paths()
        assert pool.recover() == ()
        tenant.kill()
    mine = take(pool, base)
    assert mine.path != path
    pool.release(mine)
    pool.tidy()
    assert (path / "work.txt").read_text() == "unsaved work\n"
    second = take(pool, base, "t2")
    assert second.path == mine.path

    (found,) = pool.recover("flow")
    assert found.path == path
    assert found.base == base
    assert found.occupant == Occupant("flow", "step", found.occupant.task, 1)
    assert found.branch == branch_of(str(found.occupant.task))
    assert pool.recover("flow") == ()
    writer = ObjectWriter(repo, durable=False)
    taken = capture(path, base=base, writer=writer, message="saved", author=ME, committer=ME)
    assert scratch.show(f"{taken.result}:work.txt") == "unsaved work"
    pool.release(found)
    assert pool.recover() == ()
    again = take(pool, base, "t3")
    assert (again.path, second.lock.is_locked) == (path, True)
    assert condition(path) == ("stratum/flow/t3", base, "")


def test_of_several_that_recover_each_gets_other_slots(
    pool: SlotPool, repo: Repository, state: Path, base: Oid
) -> None:
    slots = [take(pool, base, f"t{n}") for n in range(4)]
    for slot in slots:
        abandon(slot)
    start = Barrier(2)

    def recover(_: int) -> tuple[Slot, ...]:
        start.wait()
        return pool.recover("flow")

    with tenants(repo.root, state, "recover", processes=2) as others, ThreadPoolExecutor(2) as threads:
        assert [other.line() for other in others] == ["ready", "ready"]
        for other in others:
            other.stdin.write("go\n")
            other.stdin.flush()
        # Kept: a lock that nobody has any more is free, and the slot abandoned again.
        held = list(threads.map(recover, range(2)))
        mine = [slot.path for found in held for slot in found]
        theirs = [path for other in others for path in other.paths()]
        assert sorted(mine + theirs) == sorted(slot.path for slot in slots)


def test_a_recoverer_that_comes_late_does_not_get_the_next_tenants_slot(pool: SlotPool, base: Oid) -> None:
    abandon(take(pool, base))
    (found,) = pool.recover()
    pool.release(found)
    next_one = take(pool, base, "t2")
    assert next_one.path == found.path
    assert pool.recover() == ()
    assert read_record(next_one.path) is not None


def test_only_the_slots_of_the_flow_are_recovered(pool: SlotPool, base: Oid) -> None:
    for flow in ("one", "two"):
        who = Occupant(flow, "step", "t", 3)
        slot = pool.acquire(base=base, branch=branch_of(flow), occupant=who, isolation="worktree")
        abandon(slot)
    first = pool.recover("one")
    assert [slot.occupant for slot in first] == [Occupant("one", "step", "t", 3)]
    assert pool.recover("one") == ()
    rest = pool.recover()
    assert [slot.occupant.flow for slot in rest] == ["two"]


def test_a_slot_dropped_without_a_word_counts_as_abandoned(pool: SlotPool, base: Oid) -> None:
    path = take(pool, base).path
    (found,) = pool.recover()
    assert found.path == path


def test_an_abandoned_clone_is_recovered_with_its_commits(
    pool: SlotPool, base: Oid, scratch: ScratchRepo
) -> None:
    slot = take(pool, base, isolation="branch")
    (slot.path / "a.txt").write_text("work\n")
    git(slot.path, "commit", "-qam", "work")
    abandon(slot)
    (found,) = pool.recover()
    assert (found.path, found.kind, found.branch) == (slot.path, "branch", slot.branch)
    writer = ObjectWriter(open_repository(found.path), durable=False)
    taken = capture(found.path, base=base, writer=writer, message="saved", author=ME, committer=ME)
    fetch_result(pool.repo, found.path, taken.result)
    assert scratch.show(f"{taken.result}:a.txt") == "work"
    pool.release(found)
    assert not found.path.exists()


def test_a_clone_that_is_no_repository_any_more_is_in_nobodys_way(pool: SlotPool, base: Oid) -> None:
    good, bad = take(pool, base, "good"), take(pool, base, "bad", "branch")
    (bad.path / ".git").rename(bad.path / "elsewhere")
    abandon(good)
    abandon(bad)
    # Whoever recovers them keeps what lies there as it is.
    assert {slot.path for slot in pool.recover()} == {good.path, bad.path}
    assert (bad.path / "a.txt").exists()


@pytest.mark.parametrize("damage", ["entry deleted", "replaced by a repository", "marker deleted"])
def test_work_in_a_slot_that_lost_its_repository_is_saved(
    pool: SlotPool, repo: Repository, base: Oid, scratch: ScratchRepo, tmp_path: Path, damage: str
) -> None:
    slot = take(pool, base)
    (slot.path / "a.txt").write_text("committed\n")
    git(slot.path, "commit", "-qam", "a commit of the agent")
    (slot.path / "new.txt").write_text("uncommitted\n")
    (slot.path / "b.txt").unlink()
    commit = git(slot.path, "rev-parse", "HEAD")
    if damage == "entry deleted":
        git_dir_of(slot.path).rename(tmp_path / "entry")
    else:
        (slot.path / ".git").unlink()
    if damage == "replaced by a repository":
        git(slot.path, "init", "-q")
    abandon(slot)
    (found,) = pool.recover()
    assert found.path == slot.path
    assert git(found.path, "rev-parse", "HEAD") == commit
    writer = ObjectWriter(repo, durable=False)
    taken = capture(found.path, base=base, writer=writer, message="saved", author=ME, committer=ME)
    changed = scratch.git("diff", "--name-status", "--no-renames", commit, taken.result).splitlines()
    assert [row for row in changed if "replaced.git" not in row] == ["D\tb.txt", "A\tnew.txt"]
    pool.release(found)
    assert condition(take(pool, base, "t2").path) == ("stratum/flow/t2", base, "")
    names = {p.name.partition(".")[0] for p in pool.folders.slots.iterdir()}
    assert len(names) == 1, "the spare slot is gone"


def test_commits_of_a_slot_whose_directory_was_deleted_are_saved(
    pool: SlotPool, repo: Repository, base: Oid, tmp_path: Path
) -> None:
    slot = take(pool, base)
    git(slot.path, "checkout", "-q", "--detach")
    (slot.path / "a.txt").write_text("work\n")
    git(slot.path, "commit", "-qam", "on no branch")
    commit = git(slot.path, "rev-parse", "HEAD")
    slot.path.rename(tmp_path / "gone")
    abandon(slot)
    (found,) = pool.recover()
    assert condition(found.path) == ("(detached)", commit, "")
    pool.release(found)


def test_a_slot_of_which_nothing_is_left_is_forgotten(
    pool: SlotPool, repo: Repository, base: Oid, tmp_path: Path
) -> None:
    worktree, clone = take(pool, base), take(pool, base, "t2", "branch")
    git_dir_of(worktree.path).rename(tmp_path / "entry")
    worktree.path.rename(tmp_path / "gone")
    clone.path.rename(tmp_path / "gone too")
    abandon(worktree)
    abandon(clone)
    assert pool.recover() == ()
    assert list(pool.folders.slots.iterdir()) == []
