"""What a slot is like for its next tenant, whatever the one before did in it."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid
from stratum_git.slots.folders import state_folders
from stratum_git.slots.occupancy import Kind, Vacant, read_record, write_record
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.scrub import TAINTS
from tests.slots.tenancy import condition, git, take
from tests.support.repos import ScratchRepo

ISOLATIONS: tuple[Kind, ...] = ("worktree", "branch")


def write_everywhere(slot: Path) -> None:
    (slot / "a.txt").write_text("tracked\n")
    (slot / "new.txt").write_text("untracked\n")
    (slot / ".gitignore").write_text("*.ignored\n")
    (slot / "build.ignored").write_text("ignored\n")
    (slot / "dir/deep/er").mkdir(parents=True)
    (slot / "dir/deep/er/x.ignored").write_text("ignored\n")
    (slot / "b.txt").unlink()


def stage(slot: Path) -> None:
    write_everywhere(slot)
    git(slot, "add", "-A")
    (slot / "a.txt").write_text("staged, then changed\n")


def stop_in_a_merge(slot: Path) -> None:
    (slot / "a.txt").write_text("ours\n")
    git(slot, "commit", "-qam", "ours")
    git(slot, "checkout", "-q", "-b", "theirs", "HEAD~1")
    (slot / "a.txt").write_text("theirs\n")
    git(slot, "commit", "-qam", "theirs")
    subprocess.run(["git", "merge", "stratum/flow/t1"], cwd=slot, capture_output=True, check=False)
    assert (git_dir_of(slot) / "MERGE_HEAD").exists()


def stop_in_a_rebase(slot: Path) -> None:
    stop_in_a_merge(slot)
    git(slot, "merge", "--abort")
    subprocess.run(["git", "rebase", "stratum/flow/t1"], cwd=slot, capture_output=True, check=False)
    assert (git_dir_of(slot) / "rebase-merge").exists()


def start_a_bisect(slot: Path) -> None:
    git(slot, "commit", "-q", "--allow-empty", "-m", "one more")
    git(slot, "bisect", "start", "HEAD", "HEAD~1")


def leave_locks(slot: Path) -> None:
    write_everywhere(slot)
    for name in ("index.lock", "HEAD.lock"):
        (git_dir_of(slot) / name).write_text("")


def nest_repositories(slot: Path) -> None:
    for place in (slot / "nested", slot / "dir/nested"):
        place.mkdir()
        git(place, "init", "-q")
        (place / "file").write_text("nested\n")
        git(place, "add", "-A")
        git(place, "commit", "-qm", "nested")


def hide_changes(slot: Path) -> None:
    git(slot, "update-index", "--skip-worktree", "a.txt")
    git(slot, "update-index", "--assume-unchanged", "b.txt")
    (slot / "a.txt").write_text("hidden\n")
    (slot / "b.txt").write_text("hidden\n")


def hide_changes_in_a_newer_index(slot: Path) -> None:
    git(slot, "update-index", "--index-version", "4")
    hide_changes(slot)


def exchange_kinds(slot: Path) -> None:
    for name in ("a.txt", "b.txt", "dir/c.txt"):
        (slot / name).unlink()
    (slot / "a.txt").mkdir()
    (slot / "a.txt/file").write_text("x\n")
    (slot / "b.txt").symlink_to("/etc/passwd")
    (slot / "dir").rmdir()
    (slot / "dir").symlink_to("/etc")


def damage_the_index(slot: Path) -> None:
    (git_dir_of(slot) / "index").write_bytes(b"DIRC\0\0\0\3 nonsense")


def go_sparse(slot: Path) -> None:
    git(slot, "sparse-checkout", "set", "--no-cone", "a.txt")
    assert not (slot / "b.txt").exists()


def replace_the_repository(slot: Path) -> None:
    (slot / ".git").unlink()
    git(slot, "init", "-q")
    git(slot, "add", "-A")
    git(slot, "commit", "-qm", "another history")


def be_deleted(slot: Path) -> None:
    subprocess.run(["rm", "-rf", str(slot)], check=True)


CLEANED: Mapping[str, Callable[[Path], None]] = {
    f.__name__: f
    for f in (
        write_everywhere, stage, stop_in_a_merge, stop_in_a_rebase, start_a_bisect, leave_locks,
        nest_repositories, hide_changes, hide_changes_in_a_newer_index, exchange_kinds, damage_the_index,
    )
}  # fmt: skip
REPLACED: Mapping[str, Callable[[Path], None]] = {
    f.__name__: f for f in (go_sparse, replace_the_repository, be_deleted)
}


@pytest.mark.parametrize("tenant", CLEANED)
def test_a_slot_is_clean_whatever_its_tenant_left(pool: SlotPool, base: Oid, tenant: str) -> None:
    slot = take(pool, base)
    kept_by_git = files_of(git_dir_of(slot.path))
    CLEANED[tenant](slot.path)
    pool.release(slot)
    again = take(pool, base, "t2")
    assert again.path == slot.path
    assert_as_new(again.path, base)
    # Git begins the log of a HEAD anew when something is committed there.
    assert files_of(git_dir_of(again.path)) == kept_by_git - {"logs/HEAD"}


@pytest.mark.parametrize("tenant", REPLACED)
def test_a_slot_that_cannot_be_cleaned_makes_room(
    pool: SlotPool, repo: Repository, base: Oid, tenant: str
) -> None:
    slot = take(pool, base)
    REPLACED[tenant](slot.path)
    pool.release(slot)
    assert not slot.path.exists()
    assert read_record(slot.path) is None
    assert str(slot.path) not in repo.git.line("worktree", "list")
    assert_as_new(take(pool, base, "t2").path, base)


def files_of(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def assert_as_new(slot: Path, base: Oid) -> None:
    assert condition(slot) == ("stratum/flow/t2", base, "")
    assert files_of(slot) == {".git", "a.txt", "b.txt", "dir/c.txt"}
    assert sorted(p.name for p in slot.iterdir() if p.is_dir()) == ["dir"]
    for name in ("a", "b", "dir/c"):
        path = slot / f"{name}.txt"
        assert not path.is_symlink()
        assert path.read_text() == f"{name[-1]}\n"
    assert "t1" not in git(slot, "reflog", "show", "HEAD")


def test_what_all_worktrees_share_is_not_a_slots_to_undo(pool: SlotPool, base: Oid) -> None:
    slot = take(pool, base)
    (slot.path / "a.txt").write_text("stashed\n")
    git(slot.path, "stash")
    pool.release(slot)
    assert "stash@{0}" in git(take(pool, base, "t2").path, "stash", "list")


def test_files_that_are_to_be_kept_stay_for_tenants_who_ask_for_the_same(pool: SlotPool, base: Oid) -> None:
    first = take(pool, base, keep=("cache",))
    for name in ("cache", "other"):
        (first.path / name).mkdir()
        (first.path / name / "file").write_text("x\n")
    pool.release(first)
    same = take(pool, base, "t2", keep=("cache",))
    assert same.path == first.path
    assert condition(same.path)[2] == "? cache/file"
    pool.release(same)
    different = take(pool, base, "t3")
    assert different.path == first.path
    assert condition(different.path)[2] == ""
    pool.release(different)
    assert condition(take(pool, base, "t4", keep=("cache",)).path)[2] == ""


def test_submodules_of_a_former_tenant_are_gone(pool: SlotPool, scratch: ScratchRepo, tmp_path: Path) -> None:
    library = ScratchRepo.make(tmp_path / "library")
    library.commit("library", {"lib.txt": "lib\n"})
    allow = ("-c", "protocol.file.allow=always")
    scratch.git(*allow, "submodule", "add", "-q", str(library.path), "sub")
    base = Oid(scratch.commit("with a submodule"))

    plain = take(pool, base)
    assert list((plain.path / "sub").iterdir()) == []
    (plain.path / "sub/stray.txt").write_text("git does not look in here\n")
    pool.release(plain)
    filled = take(pool, base, "t2")
    assert filled.path == plain.path
    assert list((filled.path / "sub").iterdir()) == []

    Git(filled.path).run(*allow, "submodule", "update", "-q", "--init", env={"GIT_ALLOW_PROTOCOL": "file"})
    assert (filled.path / "sub/lib.txt").exists()
    assert (git_dir_of(filled.path) / TAINTS[-1]).exists()
    pool.release(filled)
    again = take(pool, base, "t3")
    assert again.path != plain.path
    assert list((again.path / "sub").iterdir()) == []
    assert condition(again.path)[2] == ""


def test_slots_work_where_object_ids_are_longer(tmp_path: Path) -> None:
    scratch = ScratchRepo.make(tmp_path / "long", "--object-format=sha256")
    base = Oid(scratch.commit("first", {"a.txt": "a\n"}))
    repo = open_repository(scratch.path)
    pool = SlotPool(repo, state_folders(repo, tmp_path / "state"))
    for kind in ISOLATIONS:
        slot = take(pool, base, isolation=kind)
        assert condition(slot.path) == ("stratum/flow/t1", base, "")
        pool.release(slot)


def test_a_hostile_configuration_changes_nothing(pool: SlotPool, base: Oid, scratch: ScratchRepo) -> None:
    settings = {
        "core.autocrlf": "true", "checkout.guess": "true", "checkout.defaultRemote": "x",
        "clean.requireForce": "true", "branch.autoSetupMerge": "always", "branch.autoSetupRebase": "always",
        "color.ui": "always", "status.showUntrackedFiles": "no", "core.logAllRefUpdates": "always",
        "index.version": "4", "core.splitIndex": "true", "core.untrackedCache": "true",
        "worktree.guessRemote": "true", "clone.defaultRemoteName": "elsewhere", "clone.rejectShallow": "true",
    }  # fmt: skip
    for key, value in settings.items():
        scratch.git("config", key, value)
    config = (scratch.path / ".git/config").read_bytes()
    for kind in ISOLATIONS:
        for task in ("t1", "t2"):
            slot = take(pool, base, task, kind)
            said = git(slot.path, "status", "--porcelain", "--ignored", "--untracked-files=all")
            assert said == ""
            write_everywhere(slot.path)
            pool.release(slot)
    assert (scratch.path / ".git/config").read_bytes() == config


def test_after_a_restart_of_the_machine_every_file_is_looked_at_again(pool: SlotPool, base: Oid) -> None:
    slot = take(pool, base)
    pool.release(slot)
    record = read_record(slot.path)
    assert isinstance(record, Vacant)
    write_record(slot.path, replace(record, boot="another"))
    # What a power cut makes of a file that was not flushed.
    (slot.path / "a.txt").write_bytes(b"")

    again = take(pool, base, "t2")
    assert again.path == slot.path
    assert_as_new(again.path, base)
