"""Slots that are mounts: laid over a base, woken, materialised, thrown away."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.ids import Oid
from stratum_git.slots.bases import DEEPEST, OFTEN, SPARE
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.materialising import apply_upper, has_moved
from stratum_git.slots.mounts import detach, lay_over, mounted_in, take_off
from stratum_git.slots.occupancy import Occupant, forget
from tests.slots.laid import Ground
from tests.slots.tenancy import ROOT, condition, git, take
from tests.support.repos import ScratchRepo


def unable(folder: Path) -> str:
    """Returns what keeps this machine from mounting overlays; empty when nothing does."""
    names = [folder / name for name in ("lower", "upper", "work", "place")]
    for path in names:
        path.mkdir()
    try:
        lay_over(names[:1], names[1], names[2], names[3], by_user=False)
        take_off(names[3])
    except OSError as error:
        return f"an overlay cannot be mounted here: {error}"
    return ""


@pytest.fixture(scope="session")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> None:
    why = unable(tmp_path_factory.mktemp("overlay"))
    if why:
        pytest.skip(why)


Grounds: TypeAlias = Callable[..., Ground]


@pytest.fixture
def grounds(overlays: None) -> Iterator[Grounds]:
    """Makes pools; nothing is mounted in their folders afterwards."""
    with ExitStack() as stack:

        def made(repo: Repository, folders: StateFolders, *, is_private: bool = False) -> Ground:
            found = Ground(repo, folders, is_private=is_private)
            stack.callback(found.trees.close)
            stack.callback(detach, folders.root)
            return found

        yield made


@pytest.fixture
def ground(grounds: Grounds, repo: Repository, folders: StateFolders) -> Ground:
    return grounds(repo, folders)


def keys(ground: Ground) -> set[str]:
    return {path.name for path in ground.folders.bases.iterdir()}


def upper_of(ground: Ground, place: Path) -> Path:
    return ground.folders.layers / place.name / "upper"


def everything(place: Path) -> dict[str, bytes | str]:
    """What is in a slot, by path: the bytes of a file, or the target of a link with its mode."""
    found: dict[str, bytes | str] = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode:o} ".encode() + path.read_bytes()
        else:
            found[name] = f"{path.stat().st_mode:o}"
    return found


def test_a_slot_is_a_mount_that_git_finds_clean(ground: Ground, base: Oid) -> None:
    slot = take(ground.pool, base)
    assert (slot.rung, slot.is_mount) == ("overlay", True)
    assert condition(slot.path) == ("stratum/flow/t1", base, "")
    assert (slot.path / "dir/c.txt").read_text() == "c\n"
    assert slot.layer is not None
    assert sorted(path.name for path in slot.layer.upper.iterdir()) == [".git"]
    assert (
        slot.layer.template.read_bytes()
        == (ground.repo.common_dir / "worktrees" / slot.name / "index").read_bytes()
    )
    ground.pool.release(slot)
    assert not mounted_in(ground.folders.root)
    assert not slot.path.exists()
    assert [path.name for path in (ground.repo.common_dir / "worktrees").iterdir()] == [slot.name]
    ground.pool.tidy()
    assert list((ground.repo.common_dir / "worktrees").iterdir()) == []


def test_what_one_tenant_changes_no_other_one_sees(ground: Ground, base: Oid) -> None:
    one, two = take(ground.pool, base, "t1"), take(ground.pool, base, "t2")
    (one.path / "a.txt").write_text("changed\n")
    (one.path / "b.txt").unlink()
    git(one.path, "mv", "dir", "other")
    assert condition(two.path)[2] == ""
    git(one.path, "add", "-A")
    git(one.path, "commit", "-qm", "mine")
    assert git(one.path, "show", "--name-status", "--format=", "--no-renames", "HEAD").split("\n") == [
        "M\ta.txt", "D\tb.txt", "D\tdir/c.txt", "A\tother/c.txt",
    ]  # fmt: skip
    ground.pool.release(one)
    assert condition(two.path)[2] == ""
    assert ground.bases.check(ground.bases.ensure(base)) is None
    ground.pool.release(two)


def test_another_commit_is_a_layer_of_what_differs(ground: Ground, scratch: ScratchRepo, base: Oid) -> None:
    ground.pool.release(take(ground.pool, base))
    for path in ("dir/c.txt", "b.txt"):
        (scratch.path / path).unlink()
    (scratch.path / "dir").rmdir()
    (scratch.path / "link").symlink_to("a.txt")
    new = Oid(scratch.commit("second", {"dir": "a file now\n", "b.txt/deep/x": "x\n", "a.txt": "other\n"}))
    slot = take(ground.pool, new)
    made = ground.bases.ensure(new)
    assert made.below == (ground.bases.ensure(base).key,)
    assert condition(slot.path)[1:] == (new, "")
    assert (slot.path / "dir").read_text() == "a file now\n"
    assert ground.bases.check(made) is None
    back = Oid(scratch.git("commit-tree", "-p", new, "-m", "back", f"{base}^{{tree}}"))
    again = take(ground.pool, back, "t2")
    assert len(ground.bases.ensure(back).below) in {1, 2}
    assert condition(again.path)[1:] == (back, "")
    assert everything(again.path).keys() - {".git"} == {"a.txt", "b.txt", "dir", "dir/c.txt"}
    for one in (slot, again):
        ground.pool.release(one)


def test_other_attributes_take_a_checkout_of_their_own(
    ground: Ground, scratch: ScratchRepo, base: Oid
) -> None:
    ground.pool.release(take(ground.pool, base))
    new = Oid(scratch.commit("crlf", {".gitattributes": "*.txt text eol=crlf\n"}))
    slot = take(ground.pool, new)
    assert ground.bases.ensure(new).below == ()
    assert (slot.path / "a.txt").read_bytes() == b"a\r\n"
    ground.pool.release(slot)


@pytest.mark.parametrize("where", ["repository", "included", "attributes of a user"])
def test_other_settings_take_another_base(
    ground: Ground, scratch: ScratchRepo, base: Oid, tmp_path: Path, where: str
) -> None:
    scratch.git("config", "include.path", str(tmp_path / "more"))
    ground.pool.release(take(ground.pool, base))
    if where == "repository":
        scratch.git("config", "core.autocrlf", "true")
    elif where == "included":
        (tmp_path / "more").write_text("[core]\n\tautocrlf = true\n")
    else:
        folder = Path(os.environ["XDG_CONFIG_HOME"]) / "git"
        folder.mkdir(parents=True)
        (folder / "attributes").write_text("*.txt text eol=crlf\n")
    slot = take(ground.pool, base)
    assert (slot.path / "a.txt").read_bytes() == b"a\r\n"
    assert len(keys(ground)) == 2
    ground.pool.release(slot)


def test_a_slot_that_lost_its_mount_is_laid_over_its_base_again(ground: Ground, base: Oid) -> None:
    slot = take(ground.pool, base)
    (slot.path / "a.txt").write_text("work\n")
    (slot.path / "b.txt").unlink()
    was = everything(slot.path)
    take_off(slot.path)
    (slot.path / "stray").write_text("written where the mount was\n")
    assert not ground.pool.mend(slot)
    now = everything(slot.path)
    stray = [name for name in now if name.startswith("replaced-") and name.endswith("/stray")]
    assert len(stray) == 1
    assert {name: now[name] for name in was} == was
    ground.pool.release(slot)


def test_what_an_agent_mounts_over_its_slot_is_taken_away(ground: Ground, base: Oid) -> None:
    slot = take(ground.pool, base)
    (slot.path / "a.txt").write_text("work\n")
    for place in (slot.path, slot.path / "dir"):
        subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=place == slot.path)
        break
    ground.pool.mend(slot)
    assert (slot.path / "a.txt").read_text() == "work\n"
    subprocess.run(["mount", "-t", "tmpfs", "none", str(slot.path / "dir")], check=True)
    ground.pool.mend(slot)
    assert (slot.path / "dir/c.txt").exists()
    ground.pool.release(slot)
    assert not mounted_in(ground.folders.root)


def status_of(place: Path) -> bytes:
    return Git(place).run("status", "--porcelain", "-z", "--branch", "--untracked-files=all").stdout


def change_all(place: Path) -> None:
    """Every kind of change that an upper directory can have."""
    (place / "a.txt").write_text("work\n")
    (place / "a.txt").chmod(0o755)
    (place / "b.txt").unlink()
    (place / "dir/c.txt").unlink()
    (place / "dir").rmdir()
    (place / "dir").mkdir()
    (place / "dir/new").write_text("new\n")
    os.link(place / "dir/new", place / "second name")
    (place / "link").symlink_to("nowhere")
    (place / os.fsdecode(b"\xff\n")).write_text("odd\n")
    (place / "empty").mkdir(mode=0o711)
    os.setxattr(place / "a.txt", "user.mine", b"value")


def test_what_cannot_be_mounted_any_more_becomes_files(
    grounds: Grounds, base: Oid, repo: Repository, folders: StateFolders
) -> None:
    ground = grounds(repo, folders, is_private=True)
    slot = take(ground.pool, base)
    change_all(slot.path)
    was, status = everything(slot.path), status_of(slot.path)
    take_off(slot.path)
    slot.lock.release()
    # Root, but without the right to mount.
    rights = ("--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    words = ("-m", "tests.slots.powerless", str(repo.root), str(folders.root))
    done = subprocess.run(
        ["setpriv", *rights, sys.executable, *words], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"{slot.path} None\n", "")
    assert not mounted_in(slot.path)
    assert everything(slot.path) == was
    assert status_of(slot.path) == status
    assert os.getxattr(slot.path / "a.txt", "user.mine") == b"value"
    assert (slot.path / "second name").stat().st_nlink == 2
    (back,) = ground.pool.recover("flow")
    assert everything(back.path) == was
    ground.pool.release(back)
    assert not slot.path.exists()


def test_folders_that_were_moved_are_found_in_the_base(overlays: None, tmp_path: Path) -> None:
    lower, upper, work, place = (tmp_path / name for name in ("lower", "upper", "work", "place"))
    for path in (lower / "one/two/three", upper, work, place):
        path.mkdir(parents=True)
    (lower / "one/two/three/file").write_text("deep\n")
    (lower / "one/two/other").write_text("other\n")
    (lower / "one/gone").write_text("gone\n")
    lay_over([lower], upper, work, place, by_user=False)
    (place / "one/gone").unlink()
    (place / "one/two").rename(place / "one/new")
    (place / "one/new/three").rename(place / "moved")
    (place / "one").rename(place / "uno")
    (place / "moved/file").write_text("changed\n")
    was = everything(place)
    take_off(place)
    assert has_moved(upper)
    for name in ("tree", "pristine"):
        shutil.copytree(lower, tmp_path / name)
    apply_upper(upper, tmp_path / "tree", tmp_path / "pristine")
    assert everything(tmp_path / "tree") == was


def test_bases_that_nobody_needs_are_thrown_away(ground: Ground, scratch: ScratchRepo, base: Oid) -> None:
    slot = take(ground.pool, base)
    new, made = base, set[str]()
    for _ in range(SPARE + DEEPEST + 1):
        new = Oid(scratch.git("commit-tree", "-p", new, "-m", "next", f"{base}^{{tree}}"))
        ground.pool.release(take(ground.pool, new, "t2"))
        made.add(ground.bases.ensure(new).key)
    ground.pool.tidy()
    left = keys(ground)
    assert ground.bases.ensure(base).key in left
    assert ground.bases.ensure(new).key in left
    assert made - left
    again = take(ground.pool, new, "t3")
    assert condition(again.path)[1:] == (new, "")
    ground.pool.release(again)
    assert condition(slot.path)[2] == ""
    (slot.path / "a.txt").write_text("still there\n")
    ground.pool.release(slot)


def test_work_without_a_record_is_left_alone(ground: Ground, base: Oid) -> None:
    slot = take(ground.pool, base)
    (slot.path / "mine").write_text("by a person\n")
    forget(slot.path)
    slot.lock.release()
    ground.pool.tidy()
    assert (slot.path / "mine").read_text() == "by a person\n"


def test_a_run_of_many_commits_keeps_few_bases(ground: Ground, scratch: ScratchRepo, base: Oid) -> None:
    new = base
    for number in range(20):
        new = Oid(scratch.git("commit-tree", "-p", new, "-m", f"{number}", f"{base}^{{tree}}"))
        ground.pool.release(take(ground.pool, new, "t2"))
        for thread in threading.enumerate():
            if thread.name == "base":
                thread.join(5)
    assert len(keys(ground)) <= OFTEN + SPARE + DEEPEST
    assert [path.name for path in ground.folders.trash.iterdir() if path.name.startswith("gone-")] == []


def test_a_base_that_somebody_wrote_in_is_used_no_more(
    ground: Ground, grounds: Grounds, base: Oid, repo: Repository, folders: StateFolders
) -> None:
    ground.pool.release(take(ground.pool, base))
    made = ground.bases.ensure(base)
    (made.lowers[0] / "a.txt").write_text("X\n")
    assert ground.bases.check(made) == f"{made.place}/tree: a.txt"
    other = grounds(repo, folders)
    other.pool.release(take(other.pool, base))
    for thread in threading.enumerate():
        if thread.name == "base":
            thread.join(5)
    assert len(other.told) == 1
    slot = take(other.pool, base)
    assert (slot.path / "a.txt").read_text() == "a\n"
    other.pool.release(slot)


def test_ignored_files_stay_in_a_slot_that_keeps_them(ground: Ground, scratch: ScratchRepo) -> None:
    base = Oid(scratch.commit("ignore", {".gitignore": "cache\n"}))
    slot = take(ground.pool, base, keep=("cache",))
    (slot.path / "cache").write_text("warm\n")
    (slot.path / "a.txt").write_text("dirt\n")
    (slot.path / "new").write_text("dirt\n")
    ground.pool.release(slot)
    again = take(ground.pool, base, "t2", keep=("cache",))
    assert again.path == slot.path
    assert (again.path / "cache").read_text() == "warm\n"
    assert condition(again.path)[2] == "! cache"
    assert again.layer is None
    ground.pool.release(again)


def test_a_repository_that_only_git_can_register_in(
    grounds: Grounds, scratch: ScratchRepo, folders: StateFolders, base: Oid
) -> None:
    scratch.git("sparse-checkout", "set", "dir")
    ground = grounds(open_repository(scratch.path), folders)
    slot = take(ground.pool, base)
    assert slot.rung == "overlay"
    assert condition(slot.path) == ("stratum/flow/t1", base, "")
    assert (slot.path / "a.txt").exists()
    ground.pool.release(slot)
    assert [line for line in scratch.git("worktree", "list").splitlines() if "slot-" in line] == []


def test_where_nothing_can_be_mounted_the_next_rung_is_taken(
    grounds: Grounds, repo: Repository, tmp_path: Path, base: Oid
) -> None:
    ground = grounds(repo, StateFolders(tmp_path / "a:b"))
    slot = take(ground.pool, base)
    assert (slot.rung, condition(slot.path)[2]) == ("cold", "")
    assert len(ground.told) == 1
    assert "cannot be laid over" in ground.told[0]
    ground.pool.release(slot)
    assert Occupant("flow", "step", "t1", 1) not in ground.pool.occupants()
