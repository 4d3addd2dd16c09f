from __future__ import annotations

from pathlib import Path

import pytest

from stratum_git.errors import HostError, UserError
from stratum_git.git.process import Git, GitFailed, git_version, processes_started
from stratum_git.git.repository import Repository
from tests.support.repos import ScratchRepo


def test_the_developers_settings_are_invisible(scratch: ScratchRepo) -> None:
    shown = scratch.git("config", "--list", "--show-origin")
    origins = {line.split("\t")[0] for line in shown.splitlines()}
    assert len(origins) == 2
    assert scratch.git("config", "user.name") == "Tess Ter"


def test_every_process_is_counted(repo: Repository) -> None:
    before = processes_started()
    for _ in range(3):
        repo.git.run("rev-parse", "HEAD")
    assert processes_started() == before + 3


def test_a_failure_says_what_was_asked_and_what_git_said(repo: Repository) -> None:
    with pytest.raises(GitFailed, match=r"git cat-file -t failed with 128: .*Not a valid object name"):
        repo.git.run("cat-file", "-t", "nothing")


def test_a_held_lock_comes_with_a_hint(repo: Repository) -> None:
    (repo.git_dir / "index.lock").touch()
    with pytest.raises(GitFailed) as caught:
        repo.git.run("add", "-A")
    assert "left a lock file behind" in caught.value.hint


def test_a_missing_directory_is_not_taken_for_a_missing_git(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="there is no directory"):
        Git(tmp_path / "gone").run("version")


def test_a_name_with_a_nul_is_refused(repo: Repository) -> None:
    with pytest.raises(UserError, match="NUL"):
        repo.git.run("rev-parse", "a\0b")


def test_git_variables_of_the_caller_do_not_reach_git(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Kept")
    assert Path(repo.git.line("rev-parse", "--absolute-git-dir")) == repo.git_dir
    assert repo.git.line("var", "GIT_AUTHOR_IDENT").startswith("Kept ")


def test_hooks_never_run(scratch: ScratchRepo, repo: Repository) -> None:
    hook = scratch.write(".git/hooks/post-checkout", "#!/bin/sh\ntouch ran\n")
    hook.chmod(0o755)
    repo.git.run("checkout", "-q", "--detach")
    assert not (scratch.path / "ran").exists()


def test_the_version_is_known() -> None:
    assert git_version() >= (2, 39, 0)
