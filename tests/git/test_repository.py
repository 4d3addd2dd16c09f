"""Where somebody stands, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.errors import UserError
from stratum_git.git.process import Git, GitFailed, git_version
from stratum_git.git.repository import (
    BareRepository,
    NotARepository,
    Repository,
    UnbornHead,
    UnknownRevision,
    head_of,
    identity,
    open_repository,
    resolve,
    valid_branch,
)
from tests.support.repos import ScratchRepo


def test_no_repository_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotARepository, match="is not in a git repository"):
        open_repository(tmp_path)


def test_a_bare_one_is_refused(tmp_path: Path) -> None:
    bare = ScratchRepo.make(tmp_path / "bare", "--bare")

    with pytest.raises(BareRepository):
        open_repository(bare.path)


def test_a_git_directory_is_no_checkout(scratch: ScratchRepo) -> None:
    with pytest.raises(NotARepository):
        open_repository(scratch.path / ".git")


def test_a_repository_without_a_commit_has_no_head(tmp_path: Path) -> None:
    fresh = ScratchRepo.make(tmp_path / "fresh")

    with pytest.raises(UnbornHead):
        head_of(open_repository(fresh.path))


def test_a_detached_head_has_no_branch(scratch: ScratchRepo, repo: Repository) -> None:
    assert head_of(repo).branch == "refs/heads/main"
    scratch.git("checkout", "-q", "--detach")
    assert head_of(repo).branch is None


def test_a_folder_of_a_checkout_and_a_worktree_are_the_same_repository(
    scratch: ScratchRepo, repo: Repository, tmp_path: Path
) -> None:
    scratch.git("worktree", "add", "-q", "--detach", str(tmp_path / "other"))

    assert open_repository(scratch.path / "dir") == repo
    assert open_repository(tmp_path / "other").key == repo.key


@pytest.mark.parametrize("name", ["nothing", "--help", "-x", "HEAD:a.txt", "", "@{u}"])
def test_what_is_no_commit_is_refused(repo: Repository, name: str) -> None:
    with pytest.raises(UnknownRevision):
        resolve(repo, name)


@pytest.mark.parametrize("name", ["a b", "-x", "a..b", "x.lock", "", "refs/heads/"])
def test_what_cannot_be_a_branch_is_refused(repo: Repository, name: str) -> None:
    with pytest.raises(UserError):
        valid_branch(repo, name)


def test_whoever_is_nobody_is_stratum_git(repo: Repository, scratch: ScratchRepo) -> None:
    assert identity(repo).name == "Tess Ter"
    scratch.git("config", "--global", "--unset", "user.name")
    assert identity(repo).name == "stratum-git"


def test_the_developers_settings_are_invisible(scratch: ScratchRepo) -> None:
    names = {line.partition("=")[0] for line in scratch.git("config", "--list", "--global").splitlines()}

    assert names == {"user.name", "user.email", "init.defaultbranch"}


def test_the_callers_git_variables_lead_nowhere_else(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")

    assert head_of(repo).branch == "refs/heads/main"


def test_a_failure_says_what_was_asked_and_what_git_said(repo: Repository) -> None:
    with pytest.raises(GitFailed, match=r"git cat-file .*failed with 128: fatal: .*nothing"):
        Git(repo.root).run("cat-file", "-p", "nothing")
    assert git_version() >= (2, 39, 0)


def test_hooks_of_the_repository_are_not_run(repo: Repository, scratch: ScratchRepo) -> None:
    hook = scratch.path / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)

    Git(repo.root).run("checkout", "-q", "--detach")

    assert not (scratch.path / "ran").exists()
