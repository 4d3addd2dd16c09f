import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from filelock import FileLock

from stratum_git.errors import BugError, HostError
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.refs import read_ref, read_refs
from stratum_git.git.registration import list_worktrees
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.snapshot import capture
from stratum_git.git.worktree import fetch_result, git_dir_of
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Kind, Vacant, read_record
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.registry import BranchInUse
from stratum_git.slots.slot import Slot, SlotFailed, occupied
from tests.slots.tenancy import branch_of, condition, git, take, tenants
from tests.support.repos import ScratchRepo

ME = Signature("A", "a@example.invalid", 1_700_000_000.0)


def registered(repo: Repository) -> list[Path]:
    return [listed.path for listed in list_worktrees(repo)][1:]


def test_a_slot_is_on_its_branch_at_its_base_and_clean(pool: SlotPool, base: Oid) -> None:
    slot = take(pool, base)
    assert condition(slot.path) == ("stratum/flow/t1", base, "")
    assert (slot.path / "dir/c.txt").read_text() == "c\n"
    assert slot.rung == "cold"
    assert read_record(slot.path) == occupied(slot)
    assert slot.path.is_relative_to(pool.folders.slots)


def test_threads_get_slots_of_their_own_out_of_a_cold_pool(pool: SlotPool, base: Oid) -> None:
    start = Barrier(8)

    def one(n: int) -> Slot:
        start.wait()
        return take(pool, base, f"t{n}")

    with ThreadPoolExecutor(8) as threads:
        slots = list(threads.map(one, range(8)))
    assert len({slot.path for slot in slots}) == 8
    assert [condition(slot.path) for slot in slots] == [(f"stratum/flow/t{n}", base, "") for n in range(8)]
    assert sorted(registered(pool.repo)) == sorted(slot.path for slot in slots)


def test_processes_get_slots_of_their_own_out_of_a_cold_pool(
    repo: Repository, state: Path, base: Oid
) -> None:
    with tenants(repo.root, state, "hold", processes=2, slots=2) as held:
        with tenants(repo.root, state, "release", processes=2, slots=2) as released:
            paths = [path for tenant in held for path in tenant.paths()]
            assert [len(tenant.paths()) for tenant in released] == [2, 2]
        assert len(set(paths)) == 4
        for path in paths:
            assert condition(path)[1:] == (base, "? work.txt")
            assert condition(path)[0].startswith("stratum/flow/hold-")


def test_a_released_slot_is_given_out_again(pool: SlotPool, base: Oid) -> None:
    first = take(pool, base)
    pool.release(first)
    second = take(pool, base, "t2")
    assert second.path == first.path
    assert condition(second.path) == ("stratum/flow/t2", base, "")
    assert read_record(second.path) == occupied(second)


def test_a_slot_of_the_same_base_is_preferred(pool: SlotPool, base: Oid, scratch: ScratchRepo) -> None:
    other = Oid(scratch.commit("second", {"new.txt": "new\n"}))
    slots = {commit: [take(pool, commit, f"{commit}{n}") for n in range(3)] for commit in (base, other)}
    for slot in (*slots[base], *slots[other]):
        pool.release(slot)
    for commit in (other, base):
        again = [take(pool, commit, f"again{n}") for n in range(3)]
        assert {slot.path for slot in again} == {slot.path for slot in slots[commit]}
        for slot in again:
            pool.release(slot)


def test_a_slot_moves_to_another_base(pool: SlotPool, base: Oid, scratch: ScratchRepo) -> None:
    pool.release(take(pool, base))
    other = Oid(scratch.commit("second", {"new.txt": "new\n", "a.txt": "changed\n"}))
    slot = take(pool, other, "t2")
    assert condition(slot.path) == ("stratum/flow/t2", other, "")
    pool.release(slot)
    slot = take(pool, base, "t3")
    assert condition(slot.path) == ("stratum/flow/t3", base, "")
    assert not (slot.path / "new.txt").exists()
    assert len(registered(pool.repo)) == 1


def test_a_free_branch_may_be_checked_out_and_deleted_after_release(
    pool: SlotPool, base: Oid, scratch: ScratchRepo
) -> None:
    slot = take(pool, base)
    pool.release(slot)
    assert condition(slot.path) == ("(detached)", base, "")
    scratch.git("checkout", "-q", "stratum/flow/t1")
    scratch.git("checkout", "-q", "main")
    scratch.git("branch", "-D", "stratum/flow/t1")


def test_idle_slots_beyond_keep_are_thrown_away(repo: Repository, folders: StateFolders, base: Oid) -> None:
    pool = SlotPool(repo, folders, keep=2)
    slots = [take(pool, base, f"t{n}") for n in range(5)]
    start = Barrier(5)

    def give(slot: Slot) -> None:
        start.wait()
        pool.release(slot)

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(give, slots))
    left = [slot.path for slot in slots if slot.path.exists()]
    assert len(left) == 2
    assert sorted(registered(repo)) == sorted(left)
    assert len(list(folders.trash.iterdir())) == 3
    assert pool.empty_trash(10, lambda: 0.0)
    assert list(folders.trash.iterdir()) == []


def test_the_last_of_a_batch_given_back_one_by_one_stay(
    repo: Repository, folders: StateFolders, base: Oid
) -> None:
    pool = SlotPool(repo, folders, keep=2)
    slots = [take(pool, base, f"t{n}") for n in range(4)]
    for slot in slots:
        pool.release(slot)
    assert [slot.path.exists() for slot in slots] == [True, True, False, False]


def test_a_slot_is_released_once(pool: SlotPool, base: Oid) -> None:
    slot = take(pool, base)
    pool.release(slot)
    with pytest.raises(BugError, match=slot.name):
        pool.release(slot)


def test_a_branch_that_the_user_is_on_is_refused(pool: SlotPool, base: Oid, scratch: ScratchRepo) -> None:
    scratch.git("checkout", "-q", "-b", "stratum/flow/t1")
    scratch.commit("the user's own")
    with pytest.raises(BranchInUse, match="is checked out in") as refused:
        take(pool, base)
    assert str(scratch.path) in refused.value.hint
    assert scratch.git("status", "--porcelain") == ""
    assert registered(pool.repo) == []


def test_a_branch_in_another_worktree_of_the_user_is_refused(
    pool: SlotPool, base: Oid, scratch: ScratchRepo, tmp_path: Path
) -> None:
    scratch.git("worktree", "add", "-q", "-b", "stratum/flow/t1", str(tmp_path / "mine"))
    with pytest.raises(BranchInUse, match="mine"):
        take(pool, base)


def test_a_new_attempt_takes_the_branch_and_leaves_the_former_its_work(
    pool: SlotPool, base: Oid, scratch: ScratchRepo
) -> None:
    former = take(pool, base)
    (former.path / "a.txt").write_text("former\n")
    git(former.path, "commit", "-qam", "former")
    (former.path / "b.txt").write_text("uncommitted\n")
    work = git(former.path, "rev-parse", "HEAD")
    later = take(pool, base)
    assert condition(former.path)[:2] == ("(detached)", work)
    assert git(former.path, "status", "--porcelain") == "M b.txt"
    assert condition(later.path) == ("stratum/flow/t1", base, "")
    git(former.path, "commit", "-qam", "more")
    assert read_ref(pool.repo, branch_of("t1")) == base
    pool.release(former)
    assert condition(later.path) == ("stratum/flow/t1", base, "")


def test_nothing_half_made_stays_when_a_slot_cannot_be_prepared(
    pool: SlotPool, base: Oid, scratch: ScratchRepo
) -> None:
    scratch.git("branch", "stratum")
    for _ in range(2):
        with pytest.raises(SlotFailed, match=f"could not be put on refs/heads/stratum/flow/t1 at {base}"):
            take(pool, base)
    with pytest.raises(SlotFailed):
        take(pool, Oid("f" * 40), isolation="branch")
    assert registered(pool.repo) == []
    assert list(pool.folders.slots.iterdir()) == []
    scratch.git("branch", "-D", "stratum")
    assert condition(take(pool, base).path)[2] == ""


def test_waiting_for_the_repository_is_bounded_and_the_lock_is_named(
    repo: Repository, folders: StateFolders, base: Oid
) -> None:
    pool = SlotPool(repo, folders, lock_timeout=0.05)
    with FileLock(folders.locks / "worktrees.lock"), pytest.raises(HostError) as late:
        take(pool, base)
    assert str(folders.locks / "worktrees.lock") in late.value.message
    assert "fuser" in late.value.hint
    pool.tidy()
    assert list(folders.slots.iterdir()) == []


def test_a_clone_keeps_its_refs_to_itself(pool: SlotPool, base: Oid, scratch: ScratchRepo) -> None:
    refs = read_refs(pool.repo, "refs/")
    slot = take(pool, base, isolation="branch")
    assert condition(slot.path) == ("stratum/flow/t1", base, "")
    (slot.path / "a.txt").write_text("from the clone\n")
    git(slot.path, "commit", "-qam", "in the clone")
    git(slot.path, "branch", "another")
    (slot.path / "new.txt").write_text("uncommitted\n")
    writer = ObjectWriter(open_repository(slot.path), durable=False)
    taken = capture(slot.path, base=base, writer=writer, message="rest", author=ME, committer=ME)
    assert scratch.git("cat-file", "-t", taken.result, check=False) == ""
    fetch_result(pool.repo, slot.path, taken.result)
    assert read_refs(pool.repo, "refs/") == refs
    assert scratch.show(f"{taken.result}:new.txt") == "uncommitted"
    assert scratch.show(f"{taken.result}:a.txt") == "from the clone"
    pool.release(slot)
    assert not slot.path.exists()
    assert scratch.git("fsck", "--connectivity-only", taken.result) == ""
    assert take(pool, base, isolation="branch").path != slot.path


def test_the_users_checkout_and_configuration_stay_as_they_are(
    pool: SlotPool, base: Oid, scratch: ScratchRepo
) -> None:
    scratch.write("untracked.txt", "mine\n")
    scratch.write("a.txt", "dirty\n")
    before = footprint(scratch.path)
    slots = [take(pool, base, "t1"), take(pool, base, "t2"), take(pool, base, "t3", "branch")]
    for slot in slots:
        pool.release(slot)
    pool.tidy()
    assert footprint(scratch.path) == before
    names = {name for name in read_refs(pool.repo, "refs/") if name != "refs/heads/main"}
    assert names == {branch_of("t1"), branch_of("t2")}


def footprint(path: Path) -> dict[str, bytes]:
    """Everything in a checkout, and what git keeps for it, but for objects, branches and worktrees."""
    skip = ("objects/", "stratum/", "refs/heads/stratum/", "logs/refs/heads/stratum/", "worktrees/")
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    named = ((file.relative_to(path).as_posix(), file) for file in files)
    return {
        name: file.read_bytes() for name, file in named if not name.removeprefix(".git/").startswith(skip)
    }


@pytest.mark.parametrize("isolation", ["worktree", "branch"])
def test_what_a_killed_git_left_half_made_is_not_in_the_way(
    pool: SlotPool, base: Oid, scratch: ScratchRepo, isolation: Kind
) -> None:
    scratch.git("worktree", "add", "-q", "--detach", "../theirs")
    (scratch.path / ".git/worktrees/theirs/commondir").write_text("")
    slot = take(pool, base, isolation=isolation)
    assert condition(slot.path) == ("stratum/flow/t1", base, "")
    later = Oid(scratch.commit("later"))
    pool.release(slot)
    again = take(pool, later, isolation=isolation)
    assert condition(again.path) == ("stratum/flow/t1", later, "")
    pool.release(again)
    pool.tidy()


def test_git_housekeeping_of_the_user_leaves_slots_alone(
    pool: SlotPool, base: Oid, scratch: ScratchRepo
) -> None:
    busy, idle = take(pool, base, "busy"), take(pool, base, "idle")
    git(busy.path, "checkout", "-q", "--detach")
    (busy.path / "a.txt").write_text("busy\n")
    git(busy.path, "commit", "-qam", "on no branch")
    work = git(busy.path, "rev-parse", "HEAD")
    pool.release(idle)
    scratch.git("worktree", "prune", "--expire=now")
    scratch.git("-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now")
    scratch.git("worktree", "prune", "--expire=now")
    assert condition(busy.path) == ("(detached)", work, "")
    assert take(pool, base, "t3").path == idle.path


@pytest.mark.parametrize("damage", ["directory", "entry", "both", "foreign repository", "empty .git", "link"])
def test_a_damaged_idle_slot_is_replaced(
    pool: SlotPool, base: Oid, scratch: ScratchRepo, tmp_path: Path, damage: str
) -> None:
    slot = take(pool, base)
    entry = git_dir_of(slot.path)
    pool.release(slot)
    aside = tmp_path / "aside"
    if damage in {"directory", "both", "link"}:
        slot.path.rename(aside)
    if damage in {"entry", "both"}:
        scratch.git("worktree", "unlock", slot.name)
        entry.rename(tmp_path / "entry")
    if damage == "link":
        slot.path.symlink_to(aside)
    if damage == "foreign repository":
        (slot.path / ".git").unlink()
        git(slot.path, "init", "-q")
    if damage == "empty .git":
        (slot.path / ".git").unlink()
        (slot.path / ".git").mkdir()
    again = take(pool, base)
    assert again.path != slot.path
    assert condition(again.path) == ("stratum/flow/t1", base, "")
    assert registered(pool.repo) == [again.path]
    assert read_record(slot.path) is None


def test_a_slot_that_does_not_know_its_repository_never_reaches_one_above_it(
    tmp_path: Path, base: Oid, repo: Repository, state: Path
) -> None:
    around = ScratchRepo.make(state)
    head = around.commit("the user's dotfiles", {"dotfile": "precious\n"})
    around.write("untracked", "precious too\n")
    pool = SlotPool(repo, StateFolders(state / "pool"))
    slot = take(pool, base)
    (slot.path / ".git").unlink()
    pool.release(slot)
    assert around.head() == head
    assert (state / "untracked").read_text() == "precious too\n"
    assert not slot.path.exists()


def test_a_pool_whose_folder_was_deleted_starts_anew(
    pool: SlotPool, base: Oid, folders: StateFolders, tmp_path: Path
) -> None:
    idle, busy = take(pool, base, "idle"), take(pool, base, "busy")
    pool.release(idle)
    folders.slots.rename(tmp_path / "gone")
    pool.release(busy)
    slot = take(pool, base)
    assert condition(slot.path) == ("stratum/flow/t1", base, "")
    pool.tidy()
    assert registered(pool.repo) == [slot.path]


def test_tidying_spares_commits_that_only_a_lost_slot_was_at(
    pool: SlotPool, base: Oid, folders: StateFolders, tmp_path: Path, scratch: ScratchRepo
) -> None:
    slot = take(pool, base)
    git(slot.path, "checkout", "-q", "--detach")
    (slot.path / "a.txt").write_text("only here\n")
    git(slot.path, "commit", "-qam", "on no branch")
    work = RefName(git(slot.path, "rev-parse", "HEAD"))
    slot.lock.release()
    folders.slots.rename(tmp_path / "gone")
    pool.tidy()
    assert registered(pool.repo) == [slot.path]
    scratch.git("branch", "saved", work)
    pool.tidy()
    assert registered(pool.repo) == []


def test_tidying_throws_away_what_a_killed_process_was_still_preparing(
    pool: SlotPool, base: Oid, folders: StateFolders
) -> None:
    held, idle = take(pool, base, "held"), take(pool, base, "idle")
    pool.release(idle)
    half = take(pool, base, "half")
    assert half.path == idle.path
    # As the process would leave it that is killed between the first record and the second.
    (folders.slots / f"{half.name}.json").write_text(
        f'{{"kind": "worktree", "base": "{base}", "ready": false, "kept": []}}'
    )
    half.lock.release()
    assert read_record(half.path) == Vacant("worktree", base, ready=False)
    pool.tidy()
    assert registered(pool.repo) == [held.path]
    assert read_record(held.path) == occupied(held)


def test_tidying_forgets_what_a_killed_process_had_no_record_of_yet(
    pool: SlotPool, base: Oid, folders: StateFolders
) -> None:
    held, spare = take(pool, base, "held"), take(pool, base, "spare")
    # A lock that was taken for a name; a record that was being written; a spare entry for a damaged slot.
    (folders.slots / "slot-00000001.lock").touch()
    (folders.slots / "slot-00000002.new").write_text('{"ki')
    (folders.slots / f"{spare.name}.json").unlink()
    for entry in spare.path.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    spare.lock.release()
    made = FileLock(folders.slots / "slot-00000003.lock", thread_local=False)
    with made.acquire(timeout=0):
        pool.tidy()
    names = {path.name.partition(".")[0] for path in folders.slots.iterdir()}
    assert names == {held.name, "slot-00000003"}, "whoever is making a slot has no record of it yet"
    assert registered(pool.repo) == [held.path]


def test_tidying_spares_files_that_no_record_tells_of(
    pool: SlotPool, base: Oid, folders: StateFolders
) -> None:
    slot = take(pool, base)
    (folders.slots / f"{slot.name}.json").unlink()
    slot.lock.release()
    pool.tidy()
    assert (slot.path / "a.txt").exists()


def test_a_slot_with_a_record_of_a_later_version_is_left_alone(
    pool: SlotPool, base: Oid, folders: StateFolders
) -> None:
    slot = take(pool, base)
    slot.lock.release()
    record = folders.slots / f"{slot.name}.json"
    record.write_text('{"version": 9}')
    other = take(pool, base)
    assert other.path != slot.path
    pool.tidy()
    assert pool.recover() == ()
    assert record.read_text() == '{"version": 9}'
    assert slot.path.is_dir()
