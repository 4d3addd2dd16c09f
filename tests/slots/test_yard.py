"""Idle slots: given back without a look at a file, cleaned when nobody waits, the nearest one taken."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.git.process import processes_started
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from stratum_git.slots.cleaner import Cleaner
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Vacant, read_record, write_record
from stratum_git.slots.pool import SlotPool
from tests.slots.tenancy import condition, git, take
from tests.support.repos import ScratchRepo


def vacant(place: Path) -> Vacant:
    record = read_record(place)
    assert isinstance(record, Vacant)
    return record


@pytest.fixture
def cleaned(repo: Repository, folders: StateFolders) -> Iterator[SlotPool]:
    """A pool with a thread that cleans."""
    with TreeReader(repo) as trees:
        pool = SlotPool(repo, folders, trees=trees, background=True)
        yield pool
        pool.close()


def until_clean(place: Path) -> None:
    for _ in range(500):
        if vacant(place).ready:
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody cleaned it")


def test_giving_a_slot_back_starts_no_git_and_touches_no_file(pool: SlotPool, base: Oid) -> None:
    slot = take(pool, base)
    (slot.path / "a.txt").write_text("changed\n")
    (slot.path / "new").write_text("new\n")
    before = processes_started()
    pool.release(slot)
    assert processes_started() == before
    assert ((slot.path / "a.txt").read_text(), (slot.path / "new").read_text()) == ("changed\n", "new\n")
    record = Vacant("worktree", base, ready=False, rung="cold", left=True, settings=slot.settings)
    assert vacant(slot.path) == record
    assert condition(slot.path)[0] == "(detached)"
    again = take(pool, base, "t2")
    assert again.path == slot.path
    assert condition(again.path) == ("stratum/flow/t2", base, "")


def test_a_clean_slot_at_the_same_commit_is_taken_without_a_git(cleaned: SlotPool, base: Oid) -> None:
    slot = take(cleaned, base)
    (slot.path / "new").write_text("new\n")
    cleaned.release(slot)
    until_clean(slot.path)
    assert not (slot.path / "new").exists()
    git(cleaned.repo.root, "branch", "stratum/flow/t2", base)
    before = processes_started()
    again = take(cleaned, base, "t2")
    assert (again.path, processes_started()) == (slot.path, before)
    assert condition(again.path) == ("stratum/flow/t2", base, "")


def test_a_slot_whose_files_had_other_attributes_is_not_taken(
    cleaned: SlotPool, scratch: ScratchRepo, base: Oid
) -> None:
    plain = Oid(scratch.commit("more", {"more.txt": "1\n"}))
    ends = Oid(scratch.commit("line ends", {".gitattributes": "*.txt eol=crlf\n"}))
    slot = take(cleaned, ends)
    assert (slot.path / "more.txt").read_bytes() == b"1\r\n"
    cleaned.release(slot)
    until_clean(slot.path)
    other = take(cleaned, plain, "t2")
    assert (other.path / "more.txt").read_bytes() == b"1\n"
    cleaned.release(other)
    assert take(cleaned, base, "t3").path == other.path


def test_who_comes_while_a_slot_is_cleaned_waits_for_it(cleaned: SlotPool, base: Oid) -> None:
    slots = [take(cleaned, base, f"t{number}") for number in range(4)]
    for slot in slots:
        (slot.path / "new").write_text("new\n")
        cleaned.release(slot)
    again = [take(cleaned, base, f"u{number}") for number in range(4)]
    assert {slot.path for slot in again} == {slot.path for slot in slots}
    assert [condition(slot.path)[1:] for slot in again] == [(base, "")] * 4


def test_a_slot_whose_cleaning_was_cut_off_is_thrown_away(pool: SlotPool, base: Oid) -> None:
    slot = take(pool, base)
    pool.release(slot)
    # As whoever cleans it writes before the first git: that one may be at work still.
    write_record(slot.path, replace(vacant(slot.path), left=False))
    fresh = take(pool, base, "t2")
    assert fresh.path != slot.path
    assert not slot.path.exists()
    pool.release(fresh)
    write_record(fresh.path, replace(vacant(fresh.path), left=False))
    pool.tidy()
    assert not fresh.path.exists()


def test_tidying_leaves_slots_that_wait_to_be_cleaned(pool: SlotPool, base: Oid) -> None:
    slot = take(pool, base)
    (slot.path / "new").write_text("new\n")
    pool.release(slot)
    pool.tidy()
    assert vacant(slot.path).left
    assert take(pool, base, "t2").path == slot.path


def test_the_nearest_of_idle_slots_is_taken(pool: SlotPool, base: Oid, scratch: ScratchRepo) -> None:
    files = {f"many/{number}.txt": "x\n" for number in range(30)}
    far = Oid(scratch.commit("far", files))
    near = Oid(scratch.commit("near", {"one.txt": "x\n"}))
    slots = {commit: take(pool, commit, f"at-{commit[:7]}") for commit in (base, far)}
    for slot in slots.values():
        pool.release(slot)
    with TreeReader(pool.repo) as trees:
        looking = SlotPool(pool.repo, pool.folders, trees=trees)
        taken = take(looking, near, "t")
    assert taken.path == slots[far].path
    assert condition(taken.path) == ("stratum/flow/t", near, "")


def test_a_slot_at_a_commit_that_nobody_wants_makes_room(
    repo: Repository, folders: StateFolders, base: Oid, scratch: ScratchRepo
) -> None:
    pool = SlotPool(repo, folders, keep=1)
    old = take(pool, base, "old")
    new = Oid(scratch.commit("new", {"new.txt": "x\n"}))
    other = take(pool, new, "new")
    pool.release(old)
    pool.release(other)
    assert not old.path.exists()
    assert take(pool, new, "again").path == other.path


def test_a_cleaner_that_is_closed_begins_with_nothing_more() -> None:
    begun, go, seen = threading.Event(), threading.Event(), list[Path]()

    def work(place: Path) -> None:
        seen.append(place)
        begun.set()
        go.wait(5)

    cleaner = Cleaner(work)
    for name in ("one", "two"):
        cleaner.add(Path(name))
    assert begun.wait(5)
    closing = threading.Thread(target=cleaner.close)
    closing.start()
    go.set()
    closing.join(5)
    assert seen == [Path("one")]
    cleaner.add(Path("three"))
    cleaner.close()
    assert not cleaner.waited()
