"""Where a checkout lies, held against what git says of the same place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from stratum_git.git.whereabouts import checkout_at, key_of
from tests.support.repos import ScratchRepo


def by_git(place: Path) -> tuple[str, str, str] | None:
    asked = (
        "rev-parse",
        "--path-format=absolute",
        "--show-toplevel",
        "--absolute-git-dir",
        "--git-common-dir",
    )
    told = ScratchRepo(place).git(*asked, check=False).split("\n/")
    return (told[0], f"/{told[1]}", f"/{told[2]}") if len(told) == 3 else None


def by_us(place: Path) -> tuple[str, str, str] | None:
    found = checkout_at(str(place))
    return None if found is None else (found.root, found.git_dir, found.common_dir)


@pytest.fixture
def world(scratch: ScratchRepo) -> ScratchRepo:
    scratch.commit("first", {"deep/er/a.txt": "a\n"})
    top = scratch.path
    scratch.git("worktree", "add", "-q", str(top.parent / "tree"))
    scratch.git("worktree", "add", "-q", "-b", "odd", str(top.parent / "odd\nname ü"))
    scratch.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(top), "inside")
    (top.parent / "link").symlink_to(top / "deep")
    ScratchRepo.make(top / "nested")
    return scratch


PLACES = (
    "repo", "repo/deep/er", "repo/inside", "repo/nested", "tree", "tree/deep", "odd\nname ü", "link/er",
)  # fmt: skip


def test_a_checkout_is_found_as_git_finds_it(world: ScratchRepo) -> None:
    assert world.path.name == "repo"
    for place in PLACES:
        at = world.path.parent / place
        assert by_us(at) == by_git(at) is not None, place


def test_what_is_no_checkout_is_none(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    ScratchRepo.make(tmp_path / "bare.git", "--bare")
    for place in ("circle", "circle/x", "empty", "bare.git", "gone", "null\0"):
        assert checkout_at(str(tmp_path / place)) is None


def test_a_pipe_in_the_place_of_git_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".git")
    assert checkout_at(str(tmp_path)) is None


def test_a_key_is_of_the_name_and_of_all_of_the_path() -> None:
    digest = hashlib.sha256(b"/home/me/my repo/.git").hexdigest()[:8]
    assert key_of("/home/me/my repo/.git") == f"my-repo-{digest}"
    assert key_of("/a/" + "x" * 99).startswith("x" * 40 + "-")
    assert key_of("/a/...").startswith("repository-")
