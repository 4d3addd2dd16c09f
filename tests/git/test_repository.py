from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.errors import UserError
from stratum_git.git.process import git_version, processes_started
from stratum_git.git.repository import (
    BareRepository,
    Head,
    NotARepository,
    Person,
    Repository,
    UnbornHead,
    UnknownRevision,
    dirty_paths,
    head_of,
    identity,
    open_repository,
    resolve,
    valid_branch,
)
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo


def test_a_folder_deep_inside_opens_the_whole_checkout(scratch: ScratchRepo, repo: Repository) -> None:
    assert open_repository(scratch.path / "dir") == repo
    assert (repo.root, repo.git_dir, repo.common_dir) == (
        scratch.path,
        scratch.path / ".git",
        scratch.path / ".git",
    )


def test_opening_takes_two_processes(scratch: ScratchRepo) -> None:
    git_version()
    before = processes_started()
    open_repository(scratch.path)
    assert processes_started() == before + 2


def test_worktrees_of_one_repository_have_one_key(scratch: ScratchRepo, repo: Repository) -> None:
    scratch.git("worktree", "add", "-q", "--detach", "../other")
    other = open_repository(scratch.path.parent / "other")
    assert other.key == repo.key
    assert other.root != repo.root
    assert other.common_dir == repo.common_dir


def test_the_key_can_be_read_and_is_unique(repo: Repository, tmp_path: Path) -> None:
    assert repo.key.startswith("repo-")
    elsewhere = replace(repo, common_dir=tmp_path / "b" / "repo" / ".git")
    assert elsewhere.key != repo.key
    assert replace(repo, common_dir=tmp_path / "ä ö" / ".git").key.startswith("repository-")


def test_what_is_no_checkout_is_refused_for_what_it_is(scratch: ScratchRepo, tmp_path: Path) -> None:
    with pytest.raises(NotARepository, match="is not in a git repository"):
        open_repository(tmp_path)
    with pytest.raises(NotARepository, match=r"inside of a \.git directory"):
        open_repository(scratch.path / ".git")
    ScratchRepo.make(tmp_path / "bare.git", "--bare")
    with pytest.raises(BareRepository):
        open_repository(tmp_path / "bare.git")


def test_head_is_a_commit_and_perhaps_a_branch(scratch: ScratchRepo, repo: Repository) -> None:
    oid = Oid(scratch.head())
    assert head_of(repo) == Head(oid, RefName("refs/heads/main"))
    scratch.git("checkout", "-q", "--detach")
    assert head_of(repo) == Head(oid, None)


def test_a_repository_without_a_commit_is_told(tmp_path: Path) -> None:
    ScratchRepo.make(tmp_path / "new")
    with pytest.raises(UnbornHead):
        head_of(open_repository(tmp_path / "new"))


def test_names_of_commits_are_resolved(scratch: ScratchRepo, repo: Repository) -> None:
    scratch.git("tag", "-a", "v1", "-m", "one")
    oid = scratch.head()
    assert [resolve(repo, name) for name in ("HEAD", "main", "v1", oid[:8])] == [oid] * 4


@pytest.mark.parametrize("name", ["nothing", "", "^main", "--all", "-h", "main..main", "HEAD:a.txt", "a\nb"])
def test_what_names_no_commit_is_refused(repo: Repository, name: str) -> None:
    with pytest.raises(UnknownRevision):
        resolve(repo, name)


def test_the_identity_is_gits_own(repo: Repository) -> None:
    assert identity(repo) == Person("Tess Ter", "tess@example.invalid")


def test_the_program_commits_where_nobody_is_set(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert identity(repo) == Person("stratum-git", "stratum-git@localhost")


@pytest.mark.parametrize("name", ["", "-x", "a..b", "a b", "x.lock", "a\nb"])
def test_a_bad_name_for_a_branch_is_refused(repo: Repository, name: str) -> None:
    with pytest.raises(UserError):
        valid_branch(repo, name)
    assert valid_branch(repo, "fine/name") == "refs/heads/fine/name"


def test_dirt_is_found_whatever_the_settings_are(scratch: ScratchRepo, repo: Repository) -> None:
    assert dirty_paths(repo) == ()
    scratch.git("config", "status.showUntrackedFiles", "no")
    scratch.write("a.txt", "changed\n")
    scratch.write("n\xe9w \n.txt", "x")
    assert dirty_paths(repo) == ("a.txt", "n\xe9w \n.txt")


def test_a_sha256_repository_is_known_as_one(tmp_path: Path) -> None:
    ScratchRepo.make(tmp_path / "r", "--object-format=sha256").commit("one", {"a": "a"})
    repo = open_repository(tmp_path / "r")
    assert repo.object_format == "sha256"
    assert len(head_of(repo).oid) == len(repo.zero) == 64
