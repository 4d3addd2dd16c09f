"""The index of a commit made out of another one's: what git makes of it, to the byte."""

from __future__ import annotations

import hashlib
import os
import random
import stat
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from stratum_git.git.base_checkout import write_difference, write_out
from stratum_git.git.index_file import UnreadIndex
from stratum_git.git.index_splice import Old, rows_of, size_of, spliced
from stratum_git.git.process import processes_started
from stratum_git.git.repository import open_repository
from stratum_git.git.stat_data import entries
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

WALK = 16
NAMES = ("a", "a-b", "a.b", "a0", "b", "bb", "c d", "\u00fc", "-", "z" * 60)
FILTERED = {".gitattributes": "*z eol=crlf text\n", "b/.gitattributes": "* ident\n"}


def blind(index: bytes) -> bytes:
    """An index without the times and inodes of its files, of which each checkout has its own."""
    found = bytearray(index[:-20])
    for entry in entries(index, 20):
        found[entry.at : entry.at + 24] = bytes(24)
    return bytes(found)


def look(tree: Path) -> dict[str, tuple[int, bytes]]:
    """What is in a folder, whiteouts included."""
    found = {}
    for path in tree.rglob("*"):
        mode = path.lstat().st_mode
        text = os.fsencode(path.readlink()) if stat.S_ISLNK(mode) else b""
        found[str(path.relative_to(tree))] = (mode, path.read_bytes() if stat.S_ISREG(mode) else text)
    return found


def grown(dice: random.Random, files: dict[str, str]) -> dict[str, str]:
    """Other files: some changed, gone, new, folders that became files and files that became folders."""
    found = dict(files)
    for _ in range(dice.randint(1, 12)):
        path = "/".join(dice.choices(NAMES, k=dice.randint(1, 4)))
        above = {path[:at] for at, mark in enumerate(path) if mark == "/"}
        victim = dice.choice([*found, path])
        for one in list(found):
            if one not in FILTERED and (
                one in above or one.startswith(f"{path}/") or one == victim or dice.random() < 0.05
            ):
                del found[one]
        if not path.startswith("b/.") and path != "b":
            found[path] = f"$Id$ {dice.random()}\n"
    return found


def walked(scratch: ScratchRepo, dice: random.Random) -> list[Oid]:
    """Makes commits of which each has other files than the one before."""
    files, told = dict(FILTERED), list[bytes]()
    for _ in range(WALK):
        files = grown(dice, files)
        told.append(b"commit refs/heads/walk\ncommitter W <w@x> 0 +0000\ndata 0\n\ndeleteall\n")
        for path, text in files.items():
            mode = {"0": "120000", "1": "100755"}.get(text[-2], "100644")
            data = text.strip().encode() if mode == "120000" else text.encode()
            told.append(b'M %s inline "%s"\ndata %d\n%b\n' % (mode.encode(), path.encode(), len(data), data))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=scratch.path, input=b"".join(told), check=True)
    return [Oid(oid) for oid in scratch.git("rev-list", "--reverse", "walk").split()]


@pytest.fixture
def trees(scratch: ScratchRepo) -> Iterator[TreeReader]:
    with TreeReader(open_repository(scratch.path)) as reader:
        yield reader


@pytest.mark.parametrize("seed", range(2))
def test_what_differs_is_put_into_the_index_as_git_does_it(
    scratch: ScratchRepo, trees: TreeReader, tmp_path: Path, seed: int
) -> None:
    repo = open_repository(scratch.path)
    commits = walked(scratch, random.Random(seed))
    place = tmp_path / "first"
    place.mkdir()
    write_out(repo, commits[0], place, 1)
    ours = theirs = place
    for number, (old, new) in enumerate(pairwise(commits)):
        changes = tuple(differences(trees, trees.root(old), trees.root(new)))
        now = tmp_path / f"ours-{number}", tmp_path / f"theirs-{number}"
        for one in now:
            one.mkdir()
        before = processes_started()
        write_difference(repo, (old, ours / "index"), new, changes, now[0], trees)
        assert processes_started() - before <= 1
        write_difference(repo, (old, theirs / "index"), new, changes, now[1])
        ours, theirs = now
        mine = (ours / "index").read_bytes()
        assert blind(mine) == blind((theirs / "index").read_bytes())
        assert hashlib.sha1(mine[:-20]).digest() == mine[-20:]
        assert look(ours / "tree") == look(theirs / "tree")


def test_what_is_not_sure_is_left_to_git(scratch: ScratchRepo, trees: TreeReader, tmp_path: Path) -> None:
    repo = open_repository(scratch.path)
    first = Oid(scratch.commit("first", {"a": "a\n", "b/c": "c\n", "b/d": "d\n"}))
    second = Oid(scratch.commit("second", {"b/c": "other\n"}))
    changes = tuple(differences(trees, trees.root(first), trees.root(second)))
    place = tmp_path / "place"
    place.mkdir()
    write_out(repo, first, place, 1)
    good, root = (place / "index").read_bytes(), trees.root(second)
    rows = {"b/c": bytes(size_of(b"b/c", 20))}
    old = Old(good, trees.root(first))
    assert spliced(old, root, changes, rows, trees)
    at = next(entry.at for entry in entries(good, 20) if entry.path == b"b/c")
    hidden = bytearray(good)
    hidden[at + 60] |= 0x80
    version = good.replace(b"DIRC\0\0\0\2", b"DIRC\0\0\0\3")
    more = good[:-20] + b"UNTR\0\0\0\0" + good[-20:]
    wrong = [bytes(hidden), version, more, good.replace(b"TREE", b"TEER"), b""]
    # Another commit's index, and one whose trees have to be written yet.
    wrong.append(good.replace(bytes.fromhex(trees.root(first)), bytes.fromhex(root)))
    wrong.append(good.replace(b"b\0002 0\n", b"b\000-1 0\n"))
    for index in wrong:
        with pytest.raises(UnreadIndex):
            spliced(Old(index, old.tree), root, changes, rows, trees)
    (place / "index").write_bytes(more)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    write_difference(repo, (first, place / "index"), second, changes, fresh, trees)
    assert [path.name for path in fresh.rglob("*") if path.is_file()] == ["index", "c"]
    assert rows_of((fresh / "index").read_bytes(), 20).keys() == set(scratch.files())
