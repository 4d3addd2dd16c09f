from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.errors import BugError, HostError, UserError
from stratum_git.git.repository import Repository, open_repository
from stratum_git.slots.folders import StateFolders, state_folders
from tests.support.repos import ScratchRepo


def test_folders_are_made_when_asked_for_and_for_this_user_alone(folders: StateFolders, state: Path) -> None:
    assert not state.exists()
    for path in (folders.slots, folders.trash, folders.locks, folders.attempt("f", "s", "t", 2)):
        assert path.is_dir()
        for place in (path, *path.parents[: len(path.relative_to(folders.root).parts)]):
            assert place.stat().st_mode & 0o777 == 0o700, place


def test_every_attempt_has_a_folder_of_its_own(folders: StateFolders) -> None:
    asked = [("f", "s", "t", 1), ("f", "s", "t", 2), ("f", "s", None, 1), ("f", "s2", "t", 1)]
    paths = [folders.attempt_path(*words) for words in asked]
    assert [str(p.relative_to(folders.root)) for p in paths] == [
        "attempts/f/s/t/1",
        "attempts/f/s/t/2",
        "attempts/f/s/-step/1",
        "attempts/f/s2/t/1",
    ]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "a..b", ".git", "a\0b", "ä", "x" * 200, "a\n"]
)
def test_a_name_that_is_no_folder_is_refused(folders: StateFolders, name: str) -> None:
    with pytest.raises(BugError):
        folders.attempt(name, "s", "t", 1)
    with pytest.raises(BugError):
        folders.attempt("f", "s", name, 1)


def test_slots_inside_of_the_repository_are_refused(repo: Repository, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(repo.root)
    for base in (repo.root, repo.root / "x/y", repo.common_dir, link / "x"):
        with pytest.raises(UserError) as refused:
            state_folders(repo, base)
        assert "XDG_STATE_HOME" in refused.value.hint


def test_slots_inside_of_the_main_checkout_are_refused_from_a_worktree(
    scratch: ScratchRepo, tmp_path: Path
) -> None:
    scratch.git("worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    other = open_repository(tmp_path / "other")
    with pytest.raises(UserError):
        state_folders(other, scratch.path / "x")
    with pytest.raises(UserError):
        state_folders(other, other.root / "x")
    assert state_folders(other, tmp_path / "state") == state_folders(
        open_repository(scratch.path), tmp_path / "state"
    )


def test_two_repositories_of_one_name_do_not_meet(repo: Repository, tmp_path: Path) -> None:
    other = replace(repo, common_dir=tmp_path / "elsewhere" / "repo" / ".git")
    assert state_folders(repo, tmp_path) != state_folders(other, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HostError, match="file/x"):
        _ = StateFolders(tmp_path / "file/x").slots
