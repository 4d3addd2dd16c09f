"""How one index differs from another, told from their bytes: as git tells it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stratum_git.git.index_file import (
    UnreadIndex,
    changed_entries,
    is_same_index,
    noted_tree,
    read_tiny,
    write_tiny,
)
from stratum_git.git.process import Git
from stratum_git.git.tree_reader import Entry
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo


@pytest.fixture
def many(scratch: ScratchRepo) -> ScratchRepo:
    """A repository with names of all lengths, so that entries are padded in every way."""
    scratch.commit("many", {f"{'n' * length}/{'f' * length}{length}": f"{length}" for length in range(1, 90)})
    return scratch


def listed(repo: ScratchRepo) -> dict[str, Entry]:
    """Returns what git says is in the index."""
    rows = Git(repo.path).run("ls-files", "-s", "-z").stdout.decode().split("\0")
    parts = [(row.partition("\t")[0].split(), row.partition("\t")[2]) for row in rows if row]
    return {name: (mode, Oid(oid)) for (mode, oid, _), name in parts}


@pytest.mark.parametrize(
    "change",
    [
        [],
        ["rm -q --cached -r nnn"],
        ["rm -q --cached a.txt", "rm -q --cached dir/c.txt"],
        ["read-tree --empty"],
        ["mv a.txt aa.txt", "mv dir z", "mv nnnn/ffff4 nnnn/" + "x" * 200],
    ],
)
def test_it_tells_what_git_tells(many: ScratchRepo, tmp_path: Path, change: list[str]) -> None:
    index, old = many.path / ".git" / "index", tmp_path / "old"
    shutil.copy2(index, old)
    before = listed(many)
    for command in change:
        many.git(*command.split())
    # Times that changed are no difference.
    many.write("b.txt", "b\n")
    many.git("update-index", "-q", "--refresh", check=False)
    after = listed(many)
    paths = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert changed_entries(old, index, 20) == {path: after.get(path) for path in paths}


def test_a_copy_is_known_by_its_checksum(many: ScratchRepo, tmp_path: Path) -> None:
    index, copy = many.path / ".git" / "index", tmp_path / "copy"
    shutil.copy2(index, copy)
    assert is_same_index(index, copy, 20)
    data = copy.read_bytes()
    copy.write_bytes(data[:-20] + b"\0" * 20)
    assert not is_same_index(index, copy, 20)
    # One that was written without a checksum is compared.
    index.write_bytes(data[:-20] + b"\0" * 20)
    assert not is_same_index(index, copy, 20)
    assert changed_entries(index, copy, 20) == {}


def test_the_tree_that_git_noted_is_known_until_it_does_not_hold(many: ScratchRepo) -> None:
    index = many.path / ".git" / "index"
    assert noted_tree(index, 20) == many.git("rev-parse", "HEAD^{tree}")
    many.git("rm", "-q", "--cached", "a.txt")
    assert noted_tree(index, 20) is None


def test_a_file_called_as_the_note_is_not_taken_for_it(many: ScratchRepo) -> None:
    many.commit("more", {"TREE": "1", "TREES/TREE/x": "2", "zTREE": "3"})
    index = many.path / ".git" / "index"
    assert noted_tree(index, 20) == many.git("rev-parse", "HEAD^{tree}")
    many.git("update-index", "--force-remove", "zTREE")
    assert noted_tree(index, 20) is None


def test_a_tiny_index_is_one_for_git(many: ScratchRepo, tmp_path: Path) -> None:
    entries = {name: entry for number, (name, entry) in enumerate(listed(many).items()) if number % 3}
    index = many.path / ".git" / "index"
    write_tiny(index, entries, 20)
    assert listed(many) == entries
    assert read_tiny(index, 20) == entries


@pytest.mark.parametrize("cut", [0, 11, 500, -20, -1])
def test_what_is_no_index_is_no_answer(many: ScratchRepo, tmp_path: Path, cut: int) -> None:
    index, old = many.path / ".git" / "index", tmp_path / "old"
    shutil.copy2(index, old)
    many.git("rm", "-q", "--cached", "nnn/fff3")
    index.write_bytes(index.read_bytes()[:cut])
    with pytest.raises((UnreadIndex, OSError)):
        changed_entries(old, index, 20)


def test_a_damaged_index_is_no_answer(many: ScratchRepo, tmp_path: Path) -> None:
    index, old = many.path / ".git" / "index", tmp_path / "old"
    shutil.copy2(index, old)
    many.git("rm", "-q", "--cached", "nnn/fff3")
    data = bytearray(index.read_bytes())
    data[3000] ^= 1
    index.write_bytes(data)
    with pytest.raises(UnreadIndex):
        changed_entries(old, index, 20)
