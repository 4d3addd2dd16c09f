"""A look into a slot sees what a capture would take, and touches nothing there."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.peek import LARGE, Changes, Peeker
from stratum_git.git.process import processes_started
from stratum_git.git.registration import add_worktree
from stratum_git.git.repository import Repository
from stratum_git.git.scratch import Scratch, make_scratch
from stratum_git.git.tree_edit import edited
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import check_out, git_dir_of
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

Edit = Callable[[ScratchRepo], object]


@pytest.fixture
def base(scratch: ScratchRepo) -> Oid:
    """A commit with folders that ignores some files."""
    files = {".gitignore": "*.o\n", "d/one.txt": "1\n", "d/two.txt": "2\n", "top.txt": "t\n"}
    return Oid(scratch.commit("more", files))


@pytest.fixture
def slot(repo: Repository, tmp_path: Path, base: Oid) -> ScratchRepo:
    """A worktree on a branch of its own."""
    add_worktree(repo, tmp_path / "slot", base=base, reason="a test")
    check_out(tmp_path / "slot", base, RefName("refs/heads/stratum/f/t"))
    return ScratchRepo(tmp_path / "slot")


@pytest.fixture
def store(repo: Repository, tmp_path: Path) -> Scratch:
    (tmp_path / "scratch").mkdir(mode=0o700)
    return make_scratch(repo, tmp_path / "scratch")


@pytest.fixture
def trees(repo: Repository) -> Iterator[TreeReader]:
    with TreeReader(repo) as reader:
        yield reader


@pytest.fixture
def peeker(slot: ScratchRepo, base: Oid, store: Scratch, trees: TreeReader) -> Peeker:
    return Peeker(slot.path, base, store, trees, store.folder / "index-1")


def git_tree(slot: ScratchRepo, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the tree that git itself would make of the slot, in an index of its own."""
    own = git_dir_of(slot.path) / "index-of-the-test"
    # With its time: by that git tells which files may have changed in the moment in which it was written.
    shutil.copy2(git_dir_of(slot.path) / "index", own)
    with monkeypatch.context() as patch:
        patch.setenv("GIT_INDEX_FILE", str(own))
        slot.git("add", "-A")
        return slot.git("write-tree")


def seen_tree(peeker: Peeker, changes: Changes) -> str:
    edits = {c.path: (c.new_mode, c.new) if c.status != "D" else None for c in changes.values()}
    return edited(peeker.trees, peeker.scratch.writer, peeker.trees.root(peeker.base), edits)


def committed(*edits: Edit) -> Edit:
    def work(slot: ScratchRepo) -> None:
        for edit in edits:
            edit(slot)
        slot.commit("mine")

    return work


def write(name: str, text: str | bytes) -> Edit:
    return lambda slot: slot.write(name, text)


def remove(name: str) -> Edit:
    return lambda slot: (slot.path / name).unlink()


def executable(name: str) -> Edit:
    return lambda slot: (slot.path / name).chmod(0o755)


def link(name: str, to: str) -> Edit:
    return lambda slot: (slot.path / name).symlink_to(to)


def folder_for_file(slot: ScratchRepo) -> None:
    (slot.path / "top.txt").unlink()
    slot.write("top.txt/inner", "i\n")


def link_for_folder(slot: ScratchRepo) -> None:
    for name in ("one.txt", "two.txt"):
        (slot.path / "d" / name).unlink()
    (slot.path / "d").rmdir()
    (slot.path / "d").symlink_to(".")


def forced(slot: ScratchRepo) -> None:
    slot.write("built.o", "o\n")
    slot.git("add", "-f", "built.o")
    slot.git("commit", "-qm", "forced")


def staged_and_changed(slot: ScratchRepo) -> None:
    slot.write("top.txt", "staged\n")
    slot.git("add", "-A")
    slot.write("top.txt", "after\n")


def in_conflict(slot: ScratchRepo) -> None:
    slot.git("checkout", "-q", "--detach")
    slot.commit("one", {"top.txt": "one\n"})
    slot.git("checkout", "-q", "stratum/f/t")
    slot.commit("other", {"top.txt": "other\n"})
    slot.git("merge", "HEAD@{2}", check=False)


CASES: dict[str, Edit] = {
    "nothing": lambda _: None,
    "uncommitted": write("top.txt", "changed\n"),
    "untracked": write("new/deep/file.txt", "new\n"),
    "ignored": write("new/built.o", "o\n"),
    "deleted": remove("d/one.txt"),
    "committed": committed(write("top.txt", "c\n"), remove("d/one.txt")),
    "committed, then more": lambda slot: (committed(remove("d/one.txt"))(slot), slot.write("top.txt", "d\n")),
    "taken back": lambda slot: (committed(write("top.txt", "c\n"))(slot), slot.write("top.txt", "t\n")),
    "staged and changed": staged_and_changed,
    "mode": executable("top.txt"),
    "link": link("a link", "top.txt"),
    "a folder for a file": folder_for_file,
    "a link for a folder": link_for_folder,
    "ignored and committed": forced,
    "odd names": write('a "b"\n\tc/ü', "odd\n"),
    "in conflict": in_conflict,
}  # fmt: skip


@pytest.mark.parametrize("looked_before", [False, True])
@pytest.mark.parametrize("edit", CASES.values(), ids=CASES.keys())
def test_a_look_sees_what_git_would_add(
    slot: ScratchRepo, peeker: Peeker, edit: Edit, looked_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if looked_before:
        assert peeker.look() == {}
    edit(slot)
    assert seen_tree(peeker, peeker.look()) == git_tree(slot, monkeypatch)


def test_nothing_of_the_slot_is_touched(slot: ScratchRepo, peeker: Peeker, scratch: ScratchRepo) -> None:
    def everything() -> dict[str, tuple[int, int]]:
        tops = (slot.path, git_dir_of(slot.path), scratch.path / ".git" / "objects")
        files = (path for top in tops for path in top.rglob("*"))
        return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in files}

    slot.write("top.txt", "changed\n")
    slot.write("new.txt", "new\n")
    (git_dir_of(slot.path) / "index.lock").touch()  # somebody's git is at work
    before = everything()
    assert set(peeker.look()) == {"new.txt", "top.txt"}
    assert everything() == before


def test_what_did_not_change_is_not_read_again(slot: ScratchRepo, peeker: Peeker) -> None:
    slot.write("top.txt", "changed\n")
    first = peeker.look()
    read, started = peeker.read, processes_started()

    assert peeker.look() is first
    assert peeker.read == read
    assert processes_started() == started + 1

    slot.write("new.txt", "new\n")
    assert set(peeker.look()) == {"new.txt", "top.txt"}
    assert peeker.read == read + 1


def test_of_a_large_file_only_that_it_changed_is_told(slot: ScratchRepo, peeker: Peeker, base: Oid) -> None:
    slot.write("top.txt", b"x" * (LARGE + 1))
    os.mkfifo(slot.path / "d" / "pipe")
    first = peeker.look()
    assert set(first) == {"top.txt"}
    assert peeker.read == 0
    assert peeker.look() is first

    slot.write("top.txt", b"y" * (LARGE + 2))
    assert peeker.look()["top.txt"].new != first["top.txt"].new
    slot.write("top.txt", "t\n")
    assert peeker.look() == {}
    del base


def test_a_file_with_a_secret_is_left_out(
    slot: ScratchRepo, base: Oid, store: Scratch, trees: TreeReader
) -> None:
    def is_secret(data: bytes) -> bool:
        return b"hunter2" in data

    peeker = Peeker(slot.path, base, store, trees, store.folder / "index-1", is_secret=is_secret)
    slot.write("new.txt", "hunter2\n")
    slot.write("top.txt", "plain\n")
    link("hunter2", "nowhere")(slot)
    link("a", "hunter2")(slot)

    assert set(peeker.look()) == {"top.txt"}
    oid = slot.git("hash-object", "new.txt")
    assert not (store.folder / "objects" / oid[:2] / oid[2:]).exists()


def test_files_that_change_while_they_are_read_are_no_error(slot: ScratchRepo, peeker: Peeker) -> None:
    done = threading.Event()

    def restless() -> None:
        number = 0
        while not done.is_set():
            number += 1
            path = slot.write(f"new/{number % 50}.txt", f"{number}\n" * 50)
            if number % 3 == 0:
                path.unlink(missing_ok=True)

    thread = threading.Thread(target=restless)
    thread.start()
    try:
        for _ in range(15):
            peeker.look()
    finally:
        done.set()
        thread.join()
    assert set(peeker.look()) == {str(p.relative_to(slot.path)) for p in (slot.path / "new").iterdir()}


def test_a_file_that_cannot_be_read_does_not_hide_the_others(slot: ScratchRepo, peeker: Peeker) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    for name in ("a.txt", "b.txt", "c.txt"):
        slot.write(name, "x\n")
    (slot.path / "b.txt").chmod(0)
    assert set(peeker.look()) == {"a.txt", "c.txt"}


def test_a_slot_that_is_gone_is_told(slot: ScratchRepo, peeker: Peeker, tmp_path: Path) -> None:
    peeker.look()
    slot.path.rename(tmp_path / "gone")
    with pytest.raises(HostError):
        peeker.look()


def test_an_edited_tree_is_what_git_makes(
    repo: Repository, writer: ObjectWriter, trees: TreeReader, base: Oid
) -> None:
    blob = writer.blob(b"new\n")
    tree = trees.root(base)
    made = edited(trees, writer, tree, {"d/one.txt": None, "d/two.txt": None, "e/f/g": ("100755", blob)})
    rows = repo.git.run("ls-tree", "-r", "--name-only", made).stdout.decode().split()
    assert "e/f/g" in rows
    assert not any(row.startswith("d/") for row in rows)
    assert edited(trees, writer, made, {"e/f/g": None, "e": ("100644", blob)}) != made
    assert edited(trees, writer, tree, {}) == tree
