"""What lies in a slot becomes a commit, byte for byte, whatever the user's settings say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.worktree import add_worktree, check_out, clean
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

WHO = Signature("A Gent", "agent@example.invalid", 1_700_000_000.0)


@pytest.fixture
def slot(repo: Repository, scratch: ScratchRepo, tmp_path: Path) -> ScratchRepo:
    path = tmp_path / "slot"
    base = Oid(scratch.head())
    add_worktree(repo, path, base=base, reason="test")
    check_out(path, base, RefName("refs/heads/work"))
    return ScratchRepo(path)


def taken(slot: ScratchRepo, writer: ObjectWriter, base: str) -> Captured:
    return capture(slot.path, base=Oid(base), writer=writer, message="left\n", author=WHO, committer=WHO)


def test_a_clean_slot_is_its_head(slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo) -> None:
    base = scratch.head()

    assert taken(slot, writer, base) == Captured(Oid(base), Oid(base), dirty=False)


def test_staged_unstaged_and_untracked_work_is_in_the_result(
    slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    slot.write("a.txt", "staged\n")
    slot.git("add", "a.txt")
    slot.write("b.txt", "unstaged\n")
    slot.write("deep/new.txt", "untracked\n")
    (slot.path / "dir/c.txt").unlink()

    found = taken(slot, writer, scratch.head())

    assert found.dirty
    assert scratch.files(found.result) == ["a.txt", "b.txt", "deep/new.txt"]
    assert scratch.show(f"{found.result}:a.txt") == "staged"
    assert scratch.git("rev-parse", f"{found.result}^") == scratch.head()


def test_the_agents_own_commits_stay_below(
    slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    base = scratch.head()
    own = slot.commit("mine", {"own.txt": "own\n"})
    slot.write("left.txt", "left\n")

    found = taken(slot, writer, base)

    assert found.head == own
    assert scratch.git("rev-parse", f"{found.result}^") == own


def test_odd_contents_and_names_are_kept_as_they_are(
    slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    odd = os.fsdecode(b"latin-\xe9.txt")
    slot.write("binary", bytes(range(256)))
    slot.write("crlf.txt", b"a\r\nb\r\n")
    slot.write("latin", "caf\xe9".encode("latin-1"))
    slot.write(odd, "odd\n")
    slot.write("new\nline.txt", "x\n")
    (slot.path / "link").symlink_to("../outside")
    (slot.path / "run.sh").write_text("#!/bin/sh\n")
    (slot.path / "run.sh").chmod(0o755)

    found = taken(slot, writer, scratch.head())

    def blob(name: str) -> bytes:
        command = ["git", "cat-file", "blob", f"{found.result}:{name}"]
        return subprocess.run(command, cwd=scratch.path, check=True, capture_output=True).stdout

    assert blob("binary") == bytes(range(256))
    assert blob("crlf.txt") == b"a\r\nb\r\n"
    assert blob("latin") == b"caf\xe9"
    assert blob(odd) == b"odd\n"
    assert blob("new\nline.txt") == b"x\n"
    assert blob("link") == b"../outside"
    assert scratch.git("ls-tree", found.result, "run.sh").startswith("100755")
    assert scratch.git("ls-tree", found.result, "link").startswith("120000")


@pytest.mark.parametrize(
    "setting",
    [
        ("commit.gpgsign", "true"),
        ("diff.noprefix", "true"),
        ("color.ui", "always"),
        ("status.showUntrackedFiles", "no"),
        ("status.relativePaths", "false"),
        ("core.quotePath", "true"),
        ("status.short", "true"),
        ("core.safecrlf", "true"),
        ("user.useConfigOnly", "true"),
        ("diff.ignoreSubmodules", "all"),
        ("core.fsmonitor", "/does/not/exist"),
    ],
)
def test_the_users_settings_change_nothing(
    slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo, setting: tuple[str, str]
) -> None:
    scratch.git("config", "--global", *setting)
    slot.write("a.txt", "changed\n")
    slot.write("sub/n.txt", "new\n")

    found = taken(slot, writer, scratch.head())

    assert scratch.files(found.result) == ["a.txt", "b.txt", "dir/c.txt", "sub/n.txt"]
    assert "gpgsig" not in scratch.git("cat-file", "commit", found.result)


def test_autocrlf_is_honoured_as_git_add_does(
    slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    slot.write(".gitattributes", "*.txt text\n")
    slot.write("w.txt", b"a\r\nb\r\n")

    found = taken(slot, writer, scratch.head())

    assert scratch.show(f"{found.result}:w.txt") == "a\nb"


def test_a_half_done_merge_is_kept_and_named(
    slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    base = scratch.head()
    slot.commit("one side", {"a.txt": "one\n"})
    slot.git("checkout", "-q", "-b", "side", base)
    slot.commit("other side", {"a.txt": "two\n"})
    slot.git("merge", "-q", "work", check=False)

    found = taken(slot, writer, base)

    assert found.unfinished == "merge"
    assert "<<<<<<<" in scratch.show(f"{found.result}:a.txt")


def test_a_repository_inside_of_the_slot_is_named(
    slot: ScratchRepo, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    ScratchRepo.make(slot.path / "inner").commit("x", {"f": "f"})

    assert taken(slot, writer, scratch.head()).embedded == ("inner/",)


def spoil_with_a_merge(slot: ScratchRepo) -> None:
    base = slot.head()
    slot.commit("one", {"a.txt": "one\n"})
    slot.git("checkout", "-q", "--detach", base)
    slot.commit("two", {"a.txt": "two\n"})
    slot.git("merge", "-q", "work", check=False)


def spoil_with_a_rebase(slot: ScratchRepo) -> None:
    base = slot.head()
    slot.commit("one", {"a.txt": "one\n"})
    slot.git("checkout", "-q", "-b", "other", base)
    slot.commit("two", {"a.txt": "two\n"})
    slot.git("rebase", "-q", "work", check=False)


def spoil_with_files(slot: ScratchRepo) -> None:
    slot.write(".gitignore", "*.log\n")
    slot.write("x.log", "ignored\n")
    slot.write("a.txt", "changed\n")
    slot.git("add", "a.txt")
    (slot.path / "b.txt").unlink()
    (slot.path / "b.txt").mkdir()
    slot.write("b.txt/in", "x")


def spoil_with_a_lock(slot: ScratchRepo) -> None:
    slot.write("a.txt", "changed\n")
    Path(slot.git("rev-parse", "--git-path", "index.lock")).touch()


def spoil_with_a_repository(slot: ScratchRepo) -> None:
    ScratchRepo.make(slot.path / "inner").commit("x", {"f": "f"})


@pytest.mark.parametrize(
    "spoil",
    [spoil_with_a_merge, spoil_with_a_rebase, spoil_with_files, spoil_with_a_lock, spoil_with_a_repository],
)
def test_a_slot_is_clean_again_whatever_was_done_in_it(
    slot: ScratchRepo, scratch: ScratchRepo, spoil: object
) -> None:
    spoil(slot)  # type: ignore[operator]
    base = Oid(scratch.head())

    check_out(slot.path, base, None)
    clean(slot.path)

    assert slot.git("status", "--porcelain", "--ignored") == ""
    assert slot.head() == base
    assert slot.git("symbolic-ref", "-q", "HEAD", check=False) == ""
    assert "rebas" not in slot.git("status")
    assert sorted(p.name for p in slot.path.iterdir()) == [".git", "a.txt", "b.txt", "dir"]
