"""A checkout counts as untouched only if git would find nothing in it; else git is asked."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from struct import Struct

import pytest

from stratum_git.git.stillness import is_still
from tests.support.repos import ScratchRepo


def settled(scratch: ScratchRepo) -> None:
    """Has the index written some time after the files, as it is when somebody comes to look."""
    for path in (*scratch.path.glob("*"), *scratch.path.glob("dir/*")):
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
    scratch.git("reset", "-q", "--hard")
    scratch.git("update-index", "--refresh")
    scratch.git("write-tree")


def still(scratch: ScratchRepo) -> bool:
    return is_still(str(scratch.path), str(scratch.path / ".git"), scratch.git("rev-parse", "HEAD^{tree}"))


@pytest.fixture
def made(scratch: ScratchRepo) -> ScratchRepo:
    scratch.commit("more", {"dir/c.txt": "c\n", "dir/run.sh": "x\n", "é.txt": "x"})
    (scratch.path / "link").symlink_to("dir/c.txt")
    scratch.git("add", "-A")
    scratch.git("commit", "-qm", "link")
    settled(scratch)
    return scratch


def test_what_was_just_made_is_still(made: ScratchRepo) -> None:
    assert still(made)
    assert not is_still(str(made.path), str(made.path / ".git"), made.git("rev-parse", "HEAD~1^{tree}"))
    (made.path / "new").mkdir()
    assert still(made), "git knows of no empty folders"


def linked(scratch: ScratchRepo) -> None:
    (scratch.path / "dir").rename(scratch.path.parent / "away")
    (scratch.path / "dir").symlink_to(scratch.path.parent / "away")


def swapped(scratch: ScratchRepo) -> None:
    (scratch.path / "b.txt").unlink()
    (scratch.path / "b.txt").symlink_to("a.txt")


def same_length(scratch: ScratchRepo) -> None:
    path = scratch.path / "a.txt"
    before = path.stat()
    path.write_text("b\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def torn(scratch: ScratchRepo) -> None:
    index = scratch.path / ".git/index"
    data = bytearray(index.read_bytes())
    data[60] ^= 1
    index.write_bytes(data)


def does(*words: str) -> Callable[[ScratchRepo], object]:
    return lambda scratch: subprocess.run(words, cwd=scratch.path, check=True)


@pytest.mark.parametrize(
    "change",
    [
        does("sh", "-c", "echo x >> a.txt"),
        does("rm", "a.txt"),
        does("chmod", "+x", "a.txt"),
        does("touch", "new.txt"),
        does("touch", "dir/new.txt"),
        does("sh", "-c", "mkdir new && touch new/x"),
        does("sh", "-c", "echo '*.log' > .git/info/exclude && touch x.log"),
        does("git", "init", "-q", "inner"),
        does("sh", "-c", "mkdir dir/.git && touch dir/.git/x"),
        does("mkfifo", "pipe"),
        does("git", "rm", "-q", "--cached", "a.txt"),
        does("git", "update-index", "--assume-unchanged", "a.txt"),
        does("git", "update-index", "--skip-worktree", "a.txt"),
        does("git", "update-index", "--index-version", "4"),
        does("git", "update-index", "--split-index"),
        does("rm", ".git/index"),
        linked,
        swapped,
        same_length,
        torn,
    ],
)
def test_whatever_is_otherwise_is_gits_to_tell(
    made: ScratchRepo, change: Callable[[ScratchRepo], object]
) -> None:
    assert still(made)
    change(made)
    assert not still(made)


@pytest.mark.parametrize("change", [lambda path: path.write_text("b\n"), lambda path: path.chmod(0o755)])
def test_a_file_as_young_as_the_index_is_read(made: ScratchRepo, change: Callable[[Path], object]) -> None:
    path, index = made.path / "a.txt", made.path / ".git/index"

    def pretend() -> None:
        """Has the index say of the file what the file system says, and both written in one moment."""
        there, data = path.stat(), index.read_bytes()[:-20]
        fresh = Struct(">4I").pack(*divmod(there.st_ctime_ns, 10**9), *divmod(there.st_mtime_ns, 10**9))
        data = data[:12] + fresh + data[28:]
        index.write_bytes(data + hashlib.sha1(data).digest())
        os.utime(index, ns=(there.st_mtime_ns, there.st_mtime_ns))

    pretend()
    assert still(made)
    change(path)
    pretend()
    assert not still(made)
