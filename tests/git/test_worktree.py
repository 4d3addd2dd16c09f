from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock, Thread

import pytest

from stratum_git.git.deregistration import unregister
from stratum_git.git.process import Git
from stratum_git.git.registration import Listed, add_worktree, checked_out, list_worktrees
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.worktree import (
    check_out,
    clean,
    clone_private,
    discard,
    fetch_result,
    folders_of,
    git_dir_of,
)
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

TASK = RefName("refs/heads/stratum/f/t")
FOLDERS = ("dir",)


@pytest.fixture
def base(scratch: ScratchRepo) -> Oid:
    """A commit that ignores some files."""
    return Oid(scratch.commit("ignore", {".gitignore": "*.o\nbuild/\n"}))


@pytest.fixture
def slot(repo: Repository, tmp_path: Path, base: Oid) -> ScratchRepo:
    """A worktree on a branch of its own."""
    path = tmp_path / "slots" / "one"
    add_worktree(repo, path, base=base, reason="a test")
    check_out(path, base, TASK)
    return ScratchRepo(path)


def conflict(slot: ScratchRepo) -> None:
    slot.commit("ours", {"a.txt": "ours\n"})
    slot.git("checkout", "-q", "-b", "theirs", "HEAD~1")
    slot.commit("theirs", {"a.txt": "theirs\n"})


def mid_merge(slot: ScratchRepo) -> None:
    conflict(slot)
    slot.git("merge", "stratum/f/t", check=False)
    assert (git_dir_of(slot.path) / "MERGE_HEAD").exists()


def mid_rebase(slot: ScratchRepo) -> None:
    conflict(slot)
    slot.git("rebase", "stratum/f/t", check=False)
    assert (git_dir_of(slot.path) / "rebase-merge").exists()


def mid_cherry_pick(slot: ScratchRepo) -> None:
    conflict(slot)
    slot.git("cherry-pick", "stratum/f/t", check=False)


def mid_bisect(slot: ScratchRepo) -> None:
    slot.git("bisect", "start")
    slot.git("bisect", "bad")


def changed_everywhere(slot: ScratchRepo) -> None:
    slot.write("a.txt", "changed\n")
    slot.write("staged.txt", "s")
    slot.git("add", "staged.txt")
    slot.write("untracked.txt", "u")
    slot.write("x.o", "ignored")
    slot.write("build/deep/y", "ignored")
    slot.git("rm", "-q", "--cached", "b.txt")
    shutil.rmtree(slot.path / "dir")


def kinds_swapped(slot: ScratchRepo) -> None:
    (slot.path / "a.txt").unlink()
    slot.write("a.txt/inside", "a folder now")
    shutil.rmtree(slot.path / "dir")
    (slot.path / "dir").symlink_to("/")
    (slot.path / "b.txt").chmod(0o755)


def locked(slot: ScratchRepo) -> None:
    slot.write("a.txt", "changed\n")
    (git_dir_of(slot.path) / "index.lock").touch()


def broken_index(slot: ScratchRepo) -> None:
    slot.write("a.txt", "changed\n")
    (git_dir_of(slot.path) / "index").write_bytes(b"no index at all")


def hidden(slot: ScratchRepo) -> None:
    slot.git("update-index", "--skip-worktree", "a.txt")
    slot.git("update-index", "--assume-unchanged", "b.txt")
    slot.write("a.txt", "hidden\n")
    slot.write("b.txt", "hidden\n")


def sparse(slot: ScratchRepo) -> None:
    slot.git("sparse-checkout", "set", "--no-cone", "dir")
    assert not (slot.path / "a.txt").exists()


def repositories_inside(slot: ScratchRepo) -> None:
    ScratchRepo.make(slot.path / "new").commit("inner", {"f": "f"})
    ScratchRepo.make(slot.path / "build" / "ignored").commit("inner", {"f": "f"})
    slot.git("init", "-q", "dir")


def another_branch(slot: ScratchRepo) -> None:
    slot.git("checkout", "-q", "--orphan", "new")
    slot.commit("orphan", {"z": "z"})


MESSES: list[Callable[[ScratchRepo], None]] = [
    mid_merge, mid_rebase, mid_cherry_pick, mid_bisect, changed_everywhere, kinds_swapped, locked,
    broken_index, hidden, sparse, repositories_inside, another_branch,
]  # fmt: skip


@pytest.mark.parametrize("branch", [None, TASK])
@pytest.mark.parametrize("mess", MESSES)
def test_a_slot_is_as_new_whatever_was_done_in_it(
    slot: ScratchRepo, base: Oid, branch: RefName | None, mess: Callable[[ScratchRepo], None]
) -> None:
    mess(slot)
    check_out(slot.path, base, branch)
    clean(slot.path, FOLDERS)
    assert slot.head() == base
    assert slot.git("rev-parse", "--symbolic-full-name", "HEAD") == (branch or "HEAD")
    assert slot.git("status", "--porcelain", "--ignored", "-uall") == ""
    found = sorted(str(p.relative_to(slot.path)) for p in slot.path.rglob("*") if not p.is_dir())
    assert found == [".git", ".gitignore", "a.txt", "b.txt", "dir/c.txt"]
    assert (slot.path / "a.txt").read_text() == "a\n"
    assert (slot.path / "b.txt").read_text() == "b\n"
    assert "\nYou have" not in slot.git("status")
    assert slot.git("for-each-ref", "refs/bisect", "refs/worktree") == ""


def test_folders_are_those_with_tracked_files(repo: Repository, scratch: ScratchRepo) -> None:
    head = scratch.commit("deep", {"one/two/three.txt": "3", "dir/new": "n"})
    assert folders_of(repo, Oid(head)) == {"dir", "one", "one/two"}


def test_what_is_to_be_kept_is_kept(slot: ScratchRepo) -> None:
    changed_everywhere(slot)
    clean(slot.path, FOLDERS, keep=("build/",))
    assert (slot.path / "build/deep/y").exists()
    assert not (slot.path / "x.o").exists()


def test_a_symlink_out_of_the_slot_is_not_followed(slot: ScratchRepo, tmp_path: Path) -> None:
    other = ScratchRepo.make(tmp_path / "other")
    shutil.rmtree(slot.path / "dir")
    (slot.path / "dir").symlink_to(other.path)
    clean(slot.path, FOLDERS)
    assert (other.path / ".git").is_dir()


def test_only_the_slots_own_lock_is_removed(slot: ScratchRepo, scratch: ScratchRepo, base: Oid) -> None:
    theirs = scratch.path / ".git" / "index.lock"
    theirs.touch()
    locked(slot)
    check_out(slot.path, base, None)
    assert theirs.exists()


def test_a_new_worktree_is_locked_and_writes_no_configuration(
    repo: Repository, scratch: ScratchRepo, slot: ScratchRepo, base: Oid
) -> None:
    config = (repo.common_dir / "config").read_bytes()
    scratch.git("config", "branch.autoSetupMerge", "always")
    before = (repo.common_dir / "config").read_bytes()
    check_out(slot.path, base, RefName("refs/heads/other"))
    assert (repo.common_dir / "config").read_bytes() == before != config
    assert list_worktrees(repo) == (
        Listed(scratch.path, base, RefName("refs/heads/main"), None),
        Listed(slot.path, base, RefName("refs/heads/other"), "a test"),
    )
    assert checked_out(repo) == {scratch.path: "refs/heads/main", slot.path: "refs/heads/other"}


def test_eight_slots_are_made_at_once(repo: Repository, tmp_path: Path, base: Oid) -> None:
    lock = Lock()

    def make(number: int) -> str:
        path = tmp_path / "slots" / str(number)
        with lock:
            add_worktree(repo, path, base=base, reason="a test")
        check_out(path, base, RefName(f"refs/heads/stratum/{number}"))
        return ScratchRepo(path).git("status", "--porcelain", "--branch")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(8))) == [f"## stratum/{n}" for n in range(8)]


def test_a_slot_is_thrown_away_in_a_moment(
    repo: Repository, slot: ScratchRepo, scratch: ScratchRepo, tmp_path: Path
) -> None:
    discard(slot.path, tmp_path / "trash")
    unregister(repo, slot.path)
    assert not slot.path.exists()
    assert len(list((tmp_path / "trash").iterdir())) == 1
    assert [listed.path for listed in list_worktrees(repo)] == [scratch.path]
    discard(slot.path, tmp_path / "trash")  # again is no error


def test_a_worktree_behind_a_symlink_is_forgotten_too(repo: Repository, tmp_path: Path, base: Oid) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to("real")
    path = tmp_path / "state" / "slot"
    add_worktree(repo, path, base=base, reason="a test")
    discard(path, tmp_path / "trash")
    unregister(repo, path)
    assert len(list_worktrees(repo)) == 1


def test_a_registration_may_be_a_relative_path(repo: Repository, slot: ScratchRepo) -> None:
    marker = git_dir_of(slot.path) / "gitdir"
    marker.write_text(os.path.relpath(slot.path / ".git", marker.parent) + "\n")
    assert checked_out(repo)[slot.path] == TASK


@pytest.fixture
def clone(repo: Repository, scratch: ScratchRepo, tmp_path: Path, base: Oid) -> ScratchRepo:
    """A private clone of a repository that has more than one branch and odd settings."""
    scratch.git("branch", "other")
    scratch.git("tag", "v1")
    scratch.git("config", "--global", "clone.defaultRemoteName", "upstream")
    clone_private(repo, tmp_path / "clone", base=base, branch=TASK, name="Me", email="me@x")
    return ScratchRepo(tmp_path / "clone")


def test_a_private_clone_has_one_ref_and_no_remote(clone: ScratchRepo, base: Oid) -> None:
    assert clone.git("for-each-ref", "--format=%(objectname) %(refname)") == f"{base} {TASK}"
    assert clone.git("remote") == ""
    assert clone.git("status", "--porcelain", "--branch") == "## stratum/f/t"
    assert clone.git("config", "user.name") == "Me"
    assert clone.git("config", "gc.auto") == "0"
    assert not (clone.path / ".git" / "hooks").exists()


def test_a_result_comes_home_without_a_ref(
    repo: Repository, scratch: ScratchRepo, clone: ScratchRepo
) -> None:
    oid = Oid(clone.commit("work", {"new.txt": "new\n"}))
    refs = scratch.git("for-each-ref")
    fetch_result(repo, clone.path, oid)
    shutil.rmtree(clone.path)
    assert scratch.git("show", f"{oid}:new.txt") == "new"
    assert scratch.git("for-each-ref") == refs
    assert not (repo.common_dir / "FETCH_HEAD").exists()


def test_a_result_comes_home_while_somebody_adds_a_worktree(
    repo: Repository, scratch: ScratchRepo, clone: ScratchRepo, tmp_path: Path
) -> None:
    oid = Oid(clone.commit("work", {"new.txt": "new\n"}))
    scratch.git("worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    marker = repo.common_dir / "worktrees/theirs/commondir"
    whole = marker.rename(tmp_path / "commondir")
    os.mkfifo(marker)

    def finish() -> None:
        # Whoever reads it now finds nothing in it yet, and the next one everything.
        marker.open("w").close()
        whole.replace(marker)

    other = Thread(target=finish)
    other.start()
    fetch_result(repo, clone.path, oid)
    other.join()
    assert scratch.git("show", f"{oid}:new.txt") == "new"


def test_the_git_directory_of_a_slot_and_of_a_clone_are_found(
    repo: Repository, slot: ScratchRepo, clone: ScratchRepo
) -> None:
    assert git_dir_of(slot.path) == open_repository(slot.path).git_dir
    assert git_dir_of(clone.path) == Path(Git(clone.path).line("rev-parse", "--absolute-git-dir"))
