"""Entries of worktrees: whole or not there, whoever looks, and whoever dies in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stratum_git.git import deregistration
from stratum_git.git.deregistration import drop_named, is_going, shut, sweep, unregister
from stratum_git.git.registration import (
    WORKSHOP,
    add_worktree,
    checked_out,
    list_worktrees,
)
from stratum_git.git.repository import Repository, head_of, open_repository
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo


@pytest.fixture
def base(repo: Repository) -> Oid:
    return head_of(repo).oid


def half_made(scratch: ScratchRepo) -> Path:
    """Leaves what a `git worktree add` does that was killed: every other one dies of it."""
    scratch.git("worktree", "add", "-q", "--detach", "../theirs")
    entry = scratch.path / ".git/worktrees/theirs"
    (entry / "commondir").write_text("")
    said = subprocess.run(
        ["git", "worktree", "list"], cwd=scratch.path, capture_output=True, text=True, check=False
    )
    assert "commondir" in said.stderr
    return entry


def test_git_takes_an_entry_for_its_own(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path, base: Oid
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    add_worktree(repo, ours, base=base, reason="why")
    scratch.git(
        "worktree", "add", "-q", "--no-checkout", "--detach", "--lock", "--reason", "why", str(theirs)
    )
    entries = repo.common_dir / "worktrees"
    texts = {
        name: {file.name: file.read_text() for file in (entries / name).iterdir() if file.is_file()}
        for name in ("ours", "theirs")
    }
    theirs_as_ours = {name: text.replace("theirs", "ours") for name, text in texts["theirs"].items()}
    assert texts["ours"] == theirs_as_ours
    assert (ours / ".git").read_text() == (theirs / ".git").read_text().replace("theirs", "ours")
    ScratchRepo(ours).git("checkout", "-q", "-f", "--detach")
    assert ScratchRepo(ours).git("status", "--porcelain") == ""
    scratch.git("worktree", "prune", "--expire=now")
    scratch.git("worktree", "unlock", str(ours))
    scratch.git("worktree", "remove", str(ours))
    assert not ours.exists()


def test_what_another_git_left_half_made_is_not_in_the_way(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path, base: Oid
) -> None:
    half_made(scratch)
    add_worktree(repo, tmp_path / "ours", base=base, reason="why")
    assert checked_out(repo) == {scratch.path: "refs/heads/main"}
    unregister(repo, tmp_path / "ours")
    sweep(repo, to_the_end=True)
    assert [entry.name for entry in (repo.common_dir / "worktrees").iterdir()] == ["theirs"]


def test_two_of_one_name_are_kept_apart(repo: Repository, tmp_path: Path, base: Oid) -> None:
    places = [tmp_path / folder / "same" for folder in "ab"]
    for place in places:
        add_worktree(repo, place, base=base, reason="why")
    assert [listed.path for listed in list_worktrees(repo)[1:]] == places
    unregister(repo, places[0])
    assert [listed.path for listed in list_worktrees(repo)[1:]] == places[1:]


def test_who_looks_at_an_entry_that_is_dropped_finds_the_repository(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path, base: Oid
) -> None:
    place = tmp_path / "slot-00000000"
    add_worktree(repo, place, base=base, reason="why")
    entry = repo.common_dir / "worktrees/slot-00000000"
    assert drop_named(repo, place)
    # Nobody begins to look; git that had read `gitdir` before goes on with these.
    assert [listed.path for listed in list_worktrees(repo)] == [scratch.path]
    scratch.git("worktree", "prune", "--expire=now")
    sweep(repo)
    assert is_going(repo, entry)
    assert (entry / (entry / "commondir").read_text().rstrip("\n")).resolve() == repo.common_dir
    # Whoever is in there still works for nobody.
    shut(repo, place)
    said = subprocess.run(["git", "status"], cwd=place, capture_output=True, text=True, check=False)
    assert "not a git repository" in said.stderr
    sweep(repo, to_the_end=True)
    assert not entry.exists()
    assert list((repo.common_dir / WORKSHOP).iterdir()) == []


def test_what_was_dropped_a_while_ago_goes_when_anybody_sweeps(
    repo: Repository, tmp_path: Path, base: Oid, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_worktree(repo, tmp_path / "slot-00000000", base=base, reason="why")
    unregister(repo, tmp_path / "slot-00000000")
    monkeypatch.setattr(deregistration, "LONG", 0)
    sweep(repo)
    assert [list((repo.common_dir / name).iterdir()) for name in ("worktrees", WORKSHOP)] == [[], []]


def test_a_mark_takes_no_entry_of_another_worktree(repo: Repository, tmp_path: Path, base: Oid) -> None:
    for folder in "ab":
        add_worktree(repo, tmp_path / folder / "same", base=base, reason="why")
        if folder == "a":
            unregister(repo, tmp_path / "a/same")
            # As whoever is killed on the way, after the entry and before its mark.
            shutil.rmtree(repo.common_dir / "worktrees/same")
    sweep(repo, to_the_end=True)
    assert [listed.path for listed in list_worktrees(repo)[1:]] == [tmp_path / "b/same"]
    assert list((repo.common_dir / WORKSHOP).iterdir()) == []


def test_what_the_dead_were_making_is_swept_and_what_the_living_make_is_not(repo: Repository) -> None:
    left = repo.common_dir / WORKSHOP / "new-000000000000"
    left.mkdir(parents=True)
    held = subprocess.Popen(
        ["flock", "-s", str(left.parent), "sh", "-c", "echo here; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert held.stdout is not None
    held.stdout.readline()
    sweep(repo)
    assert left.is_dir()
    held.communicate()
    sweep(repo)
    assert not left.exists()


@pytest.mark.parametrize("at", ["main", "linked"])
def test_who_is_on_which_branch_is_known_as_git_knows_it(scratch: ScratchRepo, at: str) -> None:
    scratch.git("worktree", "add", "-q", "-b", "side", "../linked")
    scratch.git("worktree", "add", "-q", "--detach", "../nowhere")
    scratch.git("worktree", "add", "-q", "-f", "../twice", "side")
    repo = open_repository(scratch.path if at == "main" else scratch.path.with_name("linked"))
    listed = {found.path: found.branch for found in list_worktrees(repo) if found.branch is not None}
    assert checked_out(repo) == listed
    assert len(listed) == 3


def test_a_head_may_be_a_symlink(repo: Repository, scratch: ScratchRepo) -> None:
    head = repo.common_dir / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/main")
    assert checked_out(repo) == {scratch.path: "refs/heads/main"}


def test_settings_of_one_checkout_only_are_taken_along_by_git(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path, base: Oid
) -> None:
    scratch.git("config", "extensions.worktreeConfig", "true")
    scratch.git("config", "--worktree", "user.email", "here@example.invalid")
    add_worktree(repo, tmp_path / "ours", base=base, reason="why")
    assert ScratchRepo(tmp_path / "ours").git("config", "user.email") == "here@example.invalid"


def test_an_entry_is_as_visible_to_others_as_git_would_make_it(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path, base: Oid
) -> None:
    add_worktree(repo, tmp_path / "ours", base=base, reason="why")
    scratch.git("worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    entries = repo.common_dir / "worktrees"
    modes = [os.stat(entries / name).st_mode for name in ("ours", "theirs")]  # noqa: PTH116
    assert modes[0] == modes[1]
