"""What holds for a slot on every rung, whatever its files came from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stratum_git.git.repository import open_repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.building import Possible, ladder_of
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import ORDER
from stratum_git.slots.mounts import detach
from stratum_git.slots.occupancy import Occupant, Vacant, read_record, write_record
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.slot import Slot
from tests.slots.many_kinds import World, look, make_world, said
from tests.support import btrfs_disk

MADE: dict[Path, World] = {}


@dataclass(frozen=True)
class Ground:
    """A pool that makes its slots in one way, and the repository that they are of."""

    way: str
    world: World
    pool: SlotPool
    told: list[str]

    def take(self, at: int = 0, task: str = "t", keep: tuple[str, ...] = ()) -> Slot:
        who = Occupant("rungs", self.way, task, 1)
        branch = RefName(f"refs/heads/stratum/rungs-{self.way}/{task}")
        base = self.world.commits[at]
        slot = self.pool.acquire(
            base=base, branch=branch, occupant=who, isolation="worktree", keep_ignored=keep
        )
        assert self.told == []
        assert slot.rung == {"warm": "cold"}.get(self.way, self.way)
        return slot

    def assert_as_new(self, slot: Slot, at: int = 0) -> None:
        # First, and by the index alone: what it says of the files is right, and git need not read them.
        said(slot.path, "diff-files", "--quiet")
        said(slot.path, "diff-index", "--quiet", "HEAD")
        assert said(slot.path, "status", "--porcelain", "--ignored", "--untracked-files=all") == ""
        assert look(slot.path) == self.world.looks[at]
        assert said(slot.path, "rev-parse", "HEAD").strip() == self.world.commits[at]
        assert str(slot.path) in said(self.world.repo.root, "worktree", "list")


@pytest.fixture(scope="session")
def btrfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    if btrfs_disk.unable():
        yield None
        return
    place = btrfs_disk.mount_btrfs(tmp_path_factory.mktemp("disk"))
    yield place
    btrfs_disk.unmount_btrfs(place)


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.getbasetemp()
    if base not in MADE:
        # Once for all tests, and still with the settings of tests alone.
        MADE[base] = make_world(tmp_path_factory.mktemp("world"))
    return MADE[base]


@pytest.fixture(params=ORDER)
def ground(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, btrfs: Path | None
) -> Iterator[Ground]:
    way = str(request.param)
    if way in {"snapshot", "reflink"} and btrfs is None:
        pytest.skip(btrfs_disk.unable())
    state = (btrfs or tmp_path) / tmp_path.name if way in {"snapshot", "reflink"} else tmp_path / "state"
    folders, told = StateFolders(state), list[str]()
    why = Possible(folders).obstacles().get(way, "")
    if why:
        pytest.skip(why)
    with TreeReader(world.repo) as trees:
        ladder = ladder_of(world.repo, folders, forced=way, trees=trees, tell=told.append)
        yield Ground(
            way, world, SlotPool(world.repo, folders, ladder=ladder, trees=trees, tell=told.append), told
        )
        detach(folders.root)


def spoil(slot: Path) -> None:
    """Leaves what agents leave."""
    (slot / "a.txt").write_text("changed\n")
    (slot / "lines.crlf").unlink()
    (slot / "tool.sh").chmod(0o644)
    (slot / "link").unlink()
    (slot / "link").mkdir()
    (slot / "link/inside").write_text("x\n")
    (slot / "module/stray").write_text("x\n")
    (slot / "build.cache").write_text("x\n")
    (slot / "node_modules/lib").mkdir(parents=True)
    (slot / "node_modules/lib/index.js").write_text("x\n")
    shutil.rmtree(slot / "deep")
    said(slot, "add", "-A")
    (slot / "staged, then gone").write_text("x\n")


def test_a_slot_is_what_git_checks_out_and_its_index_says_so(ground: Ground) -> None:
    if ground.way == "warm":
        ground.pool.release(ground.take(task="before"))
    for at in (0, 1, 0):
        slot = ground.take(at, f"t{at}")
        ground.assert_as_new(slot, at)
        ground.pool.release(slot)


def test_git_works_in_a_slot_as_in_any_worktree(ground: Ground) -> None:
    slot = ground.take()
    (slot.path / "loud.shout").write_text("LOUDER\n")
    (slot.path / "fresh").write_text("fresh\n")
    said(slot.path, "stash", "-u", "-q")
    ground.assert_as_new(slot)
    said(slot.path, "stash", "pop", "-q")
    said(slot.path, "add", "-A")
    said(slot.path, "commit", "-qm", "in the slot")
    assert said(slot.path, "show", "HEAD:loud.shout") == "louder\n"
    said(slot.path, "rebase", "-q", "--onto", ground.world.commits[1], "HEAD~1", code=1)
    said(slot.path, "rebase", "--abort")
    said(slot.path, "checkout", "-q", "--detach", ground.world.commits[1])
    assert {**look(slot.path), "module": "a folder"} == {**ground.world.looks[1], "module": "a folder"}
    said(slot.path, "checkout", "-q", "-")
    tip = said(slot.path, "rev-parse", "HEAD")
    assert said(ground.world.repo.root, "rev-parse", slot.branch) == tip
    ground.pool.release(slot)


def test_nothing_of_a_tenant_is_left_for_the_next(ground: Ground) -> None:
    for at, task in enumerate(("first", "second")):
        slot = ground.take(at, task)
        spoil(slot.path)
        ground.pool.release(slot)
        if slot.path.exists():
            # Nobody's branch is in use by a slot that nobody is in.
            assert (git_dir_of(slot.path) / "HEAD").read_text() == f"{slot.base}\n"
    last = ground.take(0, "third")
    ground.assert_as_new(last)
    ground.pool.retire(last)
    assert not last.path.exists()
    assert str(last.path) not in said(ground.world.repo.root, "worktree", "list")
    ground.assert_as_new(ground.take(1, "fourth"), 1)


def test_ignored_files_stay_for_who_asks_for_the_same(ground: Ground) -> None:
    first = ground.take(keep=("node_modules",))
    spoil(first.path)
    ground.pool.release(first)
    if ground.way in {"cold", "reflink"}:
        # Where the settings want new slots, none is kept.
        assert not first.path.exists()
        return
    same = ground.take(1, "same", keep=("node_modules",))
    assert same.path == first.path
    assert said(same.path, "status", "--porcelain", "--ignored") == "!! node_modules/\n"
    assert (same.path / "node_modules/lib/index.js").exists()
    ground.pool.release(same)
    ground.assert_as_new(ground.take(1, "other"), 1)


def test_work_is_found_where_its_process_died(ground: Ground) -> None:
    slot = ground.take()
    (slot.path / "a.txt").write_text("work\n")
    (slot.path / "new").write_text("work\n")
    # As the kernel does it for one that is killed; a machine that starts again has no mounts either.
    ground.pool.leave(slot)
    detach(slot.path)
    (found,) = ground.pool.recover()
    assert (found.path, found.base, found.rung) == (slot.path, slot.base, slot.rung)
    assert said(found.path, "status", "--porcelain") == " M a.txt\n?? new\n"
    ground.pool.release(found)
    ground.assert_as_new(ground.take(task="next"))


CHANGES = (
    ("core.autocrlf", "true"),
    ("core.eol", "crlf"),
    ("core.symlinks", "false"),
    ("core.fileMode", "false"),
    ("filter.shout.smudge", "rev"),
)


@contextmanager
def changed(world: World, key: str, value: str) -> Iterator[None]:
    """Sets something, or writes it into a file with attributes, for as long as it takes."""
    before = world.scratch.git("config", "--default", "", key)
    world.scratch.git("config", key, value)
    try:
        yield
    finally:
        world.scratch.git("config", *((key, before) if before else ("--unset", key)))


@contextmanager
def with_attributes(world: World, place: Path) -> Iterator[None]:
    place.parent.mkdir(exist_ok=True)
    place.write_text("a.txt eol=crlf\n*.id -ident\n")
    try:
        yield
    finally:
        place.unlink()


def assert_as_git_makes_it(ground: Ground, place: Path, why: str) -> None:
    """Takes a slot, and compares it with a worktree that git makes now; gives it back."""
    slot = ground.take(task="changed")
    ground.world.scratch.git("worktree", "add", "-q", "--detach", str(place), slot.base)
    try:
        assert look(slot.path) == look(place), why
        for words in (("diff-files", "--name-status"), ("status", "--porcelain")):
            assert said(slot.path, *words) == said(place, *words), (why, words)
    finally:
        ground.world.scratch.git("worktree", "remove", "--force", str(place))
    ground.pool.release(slot)


def test_a_slot_is_made_with_the_settings_that_there_are_now(ground: Ground, tmp_path: Path) -> None:
    world, place = ground.world, tmp_path / "now"
    ground.pool.release(ground.take(task="before"))
    for key, value in CHANGES:
        with changed(world, key, value):
            assert_as_git_makes_it(ground, place, f"{key} {value}")
        assert_as_git_makes_it(ground, place, f"{key} as it was")
    for file in (world.repo.common_dir / "info/attributes", tmp_path / "attributes"):
        with changed(world, "core.attributesFile", str(tmp_path / "attributes")):
            assert_as_git_makes_it(ground, place, "nothing is there yet")
            with with_attributes(world, file):
                assert_as_git_makes_it(ground, place, f"{file}")
            assert_as_git_makes_it(ground, place, f"no {file}")


def test_an_idle_slot_of_an_older_version_serves_nobody(ground: Ground) -> None:
    keep = ("node_modules",)
    slot = ground.take(task="old", keep=keep)
    ground.pool.release(slot)
    record = read_record(slot.path)
    if not isinstance(record, Vacant):
        return
    # It does not say with what settings its files were made.
    write_record(slot.path, replace(record, settings=""))
    assert ground.take(task="new", keep=keep).path != slot.path
    assert not slot.path.exists()


def test_a_sparse_checkout_of_the_users_stays_his_own(ground: Ground, tmp_path: Path) -> None:
    scratch = ground.world.scratch
    scratch.git("sparse-checkout", "set", "--no-cone", "a.txt")
    try:
        repo = open_repository(scratch.path)
        with TreeReader(repo) as trees:
            ladder = ladder_of(repo, ground.pool.folders, forced=ground.way, trees=trees)
            pool = SlotPool(repo, ground.pool.folders, ladder=ladder, trees=trees, tell=ground.told.append)
            sparse = Ground(
                ground.way, World(repo, scratch, ground.world.commits, ground.world.looks), pool, ground.told
            )
            for task in ("sparse", "again"):
                slot = sparse.take(task=task)
                sparse.assert_as_new(slot)
                pool.release(slot)
    finally:
        scratch.git("sparse-checkout", "disable")


def test_the_next_way_is_taken_and_told_where_one_cannot(
    ground: Ground, world: World, tmp_path: Path
) -> None:
    if ground.way in {"cold", "warm"}:
        pytest.skip("there is nothing that they need")
    told = list[str]()
    here, base = ground.pool.folders, world.commits[0]
    ladder = ladder_of(world.repo, here, forced=ground.way, tell=told.append)
    pool = SlotPool(world.repo, here, ladder=ladder, tell=told.append)
    for name in ("bases", "originals"):
        # Nothing can be made there: a file is in the way.
        shutil.rmtree(here.root / name, ignore_errors=True)
        (here.root / name).write_text("")
    who = Occupant("rungs", "down", ground.way, 1)
    branch = RefName(f"refs/heads/stratum/down/{ground.way}")
    slot = pool.acquire(base=Oid(base), branch=branch, occupant=who, isolation="worktree")
    assert slot.rung == "cold"
    assert told
    assert told[0].startswith(f"slots: {ground.way} declined: ")
    assert look(slot.path) == world.looks[0]
    pool.retire(slot)
