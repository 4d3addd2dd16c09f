"""What a power cut leaves in a repository, made by hand here; `tests/soak/power.py` has real ones."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from stratum_git.git.aftermath import mend_after_boot
from stratum_git.git.deregistration import drop_named
from stratum_git.git.registration import add_worktree
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

FSCK = ("fsck", "--full", "--strict", "--no-dangling")


def loose(repo: Repository, data: str, scratch: ScratchRepo) -> Path:
    """Returns the file of a new object."""
    oid = scratch.git("hash-object", "-w", str(scratch.write("../made", data)))
    path = repo.common_dir / "objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    return path


def test_objects_that_are_not_whole_are_set_aside_and_can_be_written_again(
    repo: Repository, scratch: ScratchRepo
) -> None:
    empty, short, other = (loose(repo, text * 999, scratch) for text in ("one", "two", "three"))
    good = loose(repo, "good", scratch)
    empty.write_bytes(b"")
    short.write_bytes(short.read_bytes()[:-5])
    other.write_bytes(zlib.compress(b"blob 1\0x"))
    found = mend_after_boot(repo)
    assert set(found) == {str(path.relative_to(repo.common_dir)) for path in (empty, short, other)}
    assert good.exists()
    assert (repo.common_dir / "stratum/damaged" / empty.relative_to(repo.common_dir)).read_bytes() == b""
    loose(repo, "one" * 999, scratch)
    assert empty.stat().st_size
    assert scratch.git(*FSCK) == ""


def test_it_looks_once_per_boot(repo: Repository, scratch: ScratchRepo, tmp_path: Path) -> None:
    assert mend_after_boot(repo) == ()
    damaged = loose(repo, "one", scratch)
    damaged.write_bytes(b"")
    assert mend_after_boot(repo) == ()
    (repo.common_dir / "stratum/boot").write_text("an older one")
    assert mend_after_boot(repo) != ()


def test_refs_of_ours_that_are_not_whole_go_and_those_of_the_user_stay(
    repo: Repository, scratch: ScratchRepo
) -> None:
    names = ("refs/heads/stratum/one/task", "refs/stratum/flows/one", "refs/heads/user")
    for name, data in zip(names, (b"", bytes(41), b""), strict=True):
        (repo.common_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (repo.common_dir / name).write_bytes(data)
    assert set(mend_after_boot(repo)) == set(names[:2])
    assert (repo.common_dir / names[2]).exists()


def test_a_branch_of_a_task_whose_commit_is_not_there_goes(repo: Repository, scratch: ScratchRepo) -> None:
    head = scratch.head()
    gone = scratch.commit("gone", {"a.txt": "gone\n"})
    scratch.git("update-ref", "refs/heads/stratum/one/task", gone)
    scratch.git("update-ref", "refs/heads/stratum/one/other", head)
    scratch.git("reset", "-q", "--hard", head)
    path = repo.common_dir / "objects" / gone[:2] / gone[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    assert mend_after_boot(repo)[-1] == "refs/heads/stratum/one/task"
    assert scratch.git("for-each-ref", "--format=%(refname)", "refs/heads/stratum").split() == [
        "refs/heads/stratum/one/other"
    ]


def test_a_slot_that_was_dropped_when_the_power_went_is_not_damaged(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path
) -> None:
    add_worktree(repo, tmp_path / "slot-00000000", base=Oid(scratch.head()), reason="test")
    assert drop_named(repo, tmp_path / "slot-00000000")
    assert mend_after_boot(repo) == ()


@pytest.mark.parametrize("name", ["HEAD", "gitdir", "commondir", "index"])
def test_a_slot_that_is_half_registered_is_registered_no_more(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path, name: str
) -> None:
    for place in ("slot-00000000", "of-the-user"):
        add_worktree(repo, tmp_path / place, base=Oid(scratch.head()), reason="test")
        ScratchRepo(tmp_path / place).git("reset", "-q", "--hard")
    for place in ("slot-00000000", "of-the-user"):
        (repo.common_dir / "worktrees" / place / name).write_bytes(b"")
    expected = "worktrees/slot-00000000" + ("/index" if name == "index" else "")
    assert mend_after_boot(repo) == (expected,)


@pytest.mark.parametrize("whole", [True, False])
def test_files_of_a_slot_that_were_left_short_are_written_again(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path, *, whole: bool
) -> None:
    scratch.commit("more", {"long.txt": "long\n" * 99, "changed.txt": "x\n", "empty.txt": ""})
    slot = ScratchRepo(tmp_path / "slot-00000000")
    add_worktree(repo, slot.path, base=Oid(scratch.head()), reason="test")
    slot.git("reset", "-q", "--hard")
    for name, size in (("a.txt", 0), ("long.txt", 7)):
        facts = (slot.path / name).stat()
        os.truncate(slot.path / name, size)
        os.utime(slot.path / name, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    slot.write("changed.txt", "")
    slot.write("new.txt", "")
    marker = (slot.path / ".git").read_text()
    (slot.path / ".git").write_text(marker if whole else "")
    found = mend_after_boot(repo)
    assert (slot.path / ".git").read_text() == marker
    assert set(found) == {str(slot.path / "a.txt"), str(slot.path / "long.txt")}
    assert slot.git("status", "--porcelain") == "M changed.txt\n?? new.txt"
