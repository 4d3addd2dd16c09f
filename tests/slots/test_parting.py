"""Slots that are given up: at once nobody finds them, and a thread throws them away."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratum_git.errors import BugError
from stratum_git.git.deregistration import sweep
from stratum_git.git.registration import WORKSHOP, add_apart
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid
from stratum_git.slots import trials
from stratum_git.slots.cleaner import Cleaner
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.locking import SlotLock
from stratum_git.slots.mounts import detach, mounted_in
from stratum_git.slots.occupancy import Occupied, Vacant, read_record, try_lock, write_record
from stratum_git.slots.parting import Parting
from stratum_git.slots.rungs.overlay import AT_ONCE
from stratum_git.slots.spares import Spares
from tests.slots.laid import Ground
from tests.slots.tenancy import condition, git, take
from tests.support.repos import ScratchRepo


@pytest.fixture
def ground(repo: Repository, folders: StateFolders, tmp_path: Path) -> Iterator[Ground]:
    """A pool with a thread that throws away."""
    place = tmp_path / "trial"
    place.mkdir()
    why = trials.overlay(place, by_user=False)
    if why:
        pytest.skip(why)
    ground = Ground(repo, folders, background=True)
    yield ground
    ground.pool.close()
    ground.trees.close()
    detach(folders.root)


def left(ground: Ground, place: Path) -> list[str]:
    """What there still is of a slot."""
    folders = ground.folders
    entries = [path.name for path in (ground.repo.common_dir / "worktrees").glob("*/gitdir")]
    beside = [path.name for path in folders.slots.iterdir() if path.name.startswith(place.name)]
    layers = [path.name for path in folders.layers.iterdir()]
    return [*entries, *beside, *layers, *map(str, mounted_in(folders.root))]


def test_nobody_finds_a_slot_that_was_given_back(ground: Ground, base: Oid) -> None:
    slot = take(ground.pool, base)
    (slot.path / "new").write_text("new\n")
    ground.rung.go.clear()
    ground.pool.release(slot)
    # Before the thread has thrown anything away; who asks for it is told that it is nobody's.
    assert ground.pool.find(slot.occupant) is None
    assert isinstance(read_record(slot.path), Vacant)
    assert "slot-" not in git(ground.repo.root, "worktree", "list")
    assert ground.pool.recover() == ()
    assert try_lock(slot.path) is None
    git(ground.repo.root, "branch", "-f", "stratum/flow/t1", base)
    again = take(ground.pool, base)
    assert condition(again.path) == ("stratum/flow/t1", base, "")
    with pytest.raises(BugError):
        ground.pool.release(slot)
    assert mounted_in(slot.path) == (slot.path,)
    ground.rung.go.set()
    ground.pool.release(again)
    ground.pool.close()
    assert left(ground, slot.path) == []


def test_what_is_given_back_and_cut_off_is_thrown_away_by_who_tidies(
    ground: Ground, base: Oid, repo: Repository, folders: StateFolders
) -> None:
    slot = take(ground.pool, base)
    (slot.path / "new").write_text("new\n")
    # As far as it is done at once; then the process is killed.
    write_record(slot.path, Vacant("worktree", base, ready=False, rung="overlay"))
    assert ground.rung.registry.give_up(slot.path)
    slot.lock.release()
    assert mounted_in(folders.root) == (slot.path,)
    other = Ground(repo, folders)
    other.pool.tidy()
    other.trees.close()
    assert left(other, slot.path) == []


def test_only_so_many_wait_to_be_thrown_away(ground: Ground, base: Oid) -> None:
    parting = Parting(ground.rung.registry, lambda _: ground.rung, most=1)
    slots = [take(ground.pool, base, task) for task in ("t1", "t2", "t3")]
    for slot in slots:
        (slot.path / "new").write_text("new\n")
    ground.rung.go.clear()
    # One is at hand, one waits.
    assert parting.begin(slots[0])
    while parting.waiting:
        time.sleep(0)
    assert parting.begin(slots[1])
    assert not parting.begin(slots[2])
    # What waits is still as its tenant had it, unless somebody wants to know.
    assert isinstance(read_record(slots[1].path), Occupied)
    parting.settle(slots[2].branch)
    assert isinstance(read_record(slots[1].path), Occupied)
    parting.settle(slots[1].branch)
    assert isinstance(read_record(slots[1].path), Vacant)
    assert slots[1].name not in git(ground.repo.root, "worktree", "list")
    assert try_lock(slots[1].path) is None
    assert slots[2].lock.is_locked
    assert condition(slots[2].path)[2] == "? new"
    ground.rung.go.set()
    parting.wait()
    for _ in range(AT_ONCE):
        # As if that many were deleted now.
        ground.rung.deleting.acquire()
    ground.rung.discard(slots[2].path)
    assert list(ground.folders.trash.iterdir()) == []
    for _ in range(AT_ONCE):
        ground.rung.deleting.release()
    ground.pool.release(slots[2])
    ground.pool.close()
    assert left(ground, slots[2].path) == []


def test_a_branch_is_free_for_the_next_one_while_slots_wait_to_be_thrown_away(
    ground: Ground, base: Oid
) -> None:
    slots = [take(ground.pool, base, task) for task in ("t1", "t2")]
    ground.rung.go.clear()
    for slot in slots:
        ground.pool.release(slot)
    again = take(ground.pool, base, "t2")
    assert condition(again.path) == ("stratum/flow/t2", base, "")
    assert ground.pool.occupants() == {again.occupant}
    ground.rung.go.set()
    ground.pool.release(again)
    ground.pool.close()
    assert left(ground, again.path) == []


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_process_that_ends_throws_away_what_waits(
    scratch: ScratchRepo, folders: StateFolders, ground: Ground, is_closed: bool
) -> None:
    code = f"""
import sys
from pathlib import Path
from stratum_git.git.repository import open_repository
from stratum_git.slots.folders import StateFolders
from tests.slots.laid import Ground
from tests.slots.tenancy import take
repo = open_repository(Path(sys.argv[1]))
ground = Ground(repo, StateFolders(Path(sys.argv[2])), background=True)
for slot in [take(ground.pool, repo.git.line("rev-parse", "HEAD"), task) for task in ("t1", "t2")]:
    ground.pool.release(slot)
if {is_closed}:
    ground.pool.close()
"""
    words = [sys.executable, "-c", code, str(scratch.path), str(folders.root)]
    subprocess.run(words, check=True, cwd=Path(__file__).parents[2], timeout=20)
    assert left(ground, folders.slots / "slot-") == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_thread_that_has_failed(tmp_path: Path) -> None:
    done, threads = list[Path](), list[threading.Thread]()
    begun, go, over = threading.Event(), threading.Event(), threading.Event()

    def work(place: Path) -> None:
        if place.name == "bad":
            threads.append(threading.current_thread())
            begun.set()
            assert go.wait(5)
            raise BugError("work that raises")
        done.append(place)
        over.set()

    cleaner = Cleaner(work)
    assert cleaner.add(tmp_path / "bad")
    assert begun.wait(5)
    waiting = threading.Thread(target=cleaner.close, daemon=True)
    waiting.start()
    go.set()
    waiting.join(5)
    assert not waiting.is_alive()
    threads[0].join()
    assert cleaner.add(tmp_path / "good")
    assert over.wait(5)
    assert done == [tmp_path / "good"]


def test_a_slot_with_another_name_in_the_repository_is_forgotten_all_the_same(
    ground: Ground, base: Oid
) -> None:
    slot = take(ground.pool, base)
    entries = ground.repo.common_dir / "worktrees"
    (entries / slot.name).rename(entries / "another")
    (slot.path / ".git").write_text(f"gitdir: {entries / 'another'}\n")
    ground.pool.release(slot)
    ground.pool.close()
    assert left(ground, slot.path) == []


def test_a_lock_is_held_by_one_and_passed_on(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = SlotLock.taken(path)
    assert first is not None
    assert SlotLock.taken(path) is None
    second = first.passed_on()
    first.release()
    assert (first.is_locked, second.is_locked, SlotLock.taken(path)) == (False, True, None)
    second.release()
    third = SlotLock.taken(path)
    assert third is not None
    assert third.is_locked
    child = os.fork()
    if child == 0:
        # What is forked forgets what it has of it, and its starter still holds it.
        third.release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert SlotLock.taken(path) is None
    third.release()
    assert SlotLock.taken(path) is not None


def spares(ground: Ground) -> list[Path]:
    return sorted((ground.repo.common_dir / WORKSHOP).glob("index-*"))


def settle(ground: Ground, base: Oid) -> None:
    """Makes a base look as if it had been made a while ago."""
    made = ground.bases.ensure(base)
    os.utime(made.index, (made.finished + 2, made.finished + 2))


def test_an_index_is_copied_ahead_for_slots_at_the_same_commit(ground: Ground, base: Oid) -> None:
    settle(ground, base)
    for task in ("t1", "t2"):
        ground.pool.release(take(ground.pool, base, task))
        ground.pool.tidy()
    (ahead,) = spares(ground)
    number = ahead.stat().st_ino
    slot = take(ground.pool, base)
    assert spares(ground) == []
    index = git_dir_of(slot.path) / "index"
    assert (index.stat().st_ino, index.read_bytes()) == (number, ground.bases.ensure(base).index.read_bytes())
    assert condition(slot.path) == ("stratum/flow/t1", base, "")
    ground.pool.release(slot)
    ground.pool.tidy()
    assert len(spares(ground)) == 1
    # It is held: nobody who deletes what dead processes left takes it.
    sweep(ground.repo)
    (held,) = spares(ground)
    ground.pool.close()
    assert spares(ground) == []
    # Of who was killed it is deleted.
    held.write_bytes(b"DIRC")
    sweep(ground.repo)
    assert spares(ground) == []


def test_a_copy_of_another_index_is_not_taken(ground: Ground, base: Oid, tmp_path: Path) -> None:
    index, other = tmp_path / "index", tmp_path / "other"
    index.write_bytes(b"one")
    (ground.repo.common_dir / WORKSHOP).mkdir(parents=True)
    held = Spares()
    for _ in range(2):
        assert held.take(index) is None
    held.fill(ground.repo)
    assert len(spares(ground)) == 1
    other.write_bytes(b"two")
    other.replace(index)
    assert held.take(index) is None
    assert spares(ground) == []
    held.take(index)
    held.fill(ground.repo)
    (gone,) = spares(ground)
    gone.unlink()
    add_apart(ground.repo, tmp_path / "p", tmp_path, base=base, reason="x", index=index, ahead=gone)
    assert (ground.repo.common_dir / "worktrees/p/index").read_bytes() == b"two"
    held.close()


def test_a_copy_is_as_old_as_one_that_is_made_when_it_is_taken(ground: Ground, tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.write_bytes(b"one")
    (ground.repo.common_dir / WORKSHOP).mkdir(parents=True)
    held = Spares()
    for _ in range(2):
        held.take(index)
    held.fill(ground.repo)
    (copy,) = spares(ground)
    # Of the second in which the files were written: git would read all of them.
    os.utime(copy, (1, 1))
    assert held.take(index) == copy
    assert copy.stat().st_mtime >= index.stat().st_mtime
    held.close()
