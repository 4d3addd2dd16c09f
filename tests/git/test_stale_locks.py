"""Locks of a git that was killed, of ours and of others, with real gits that are killed or live."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.git import refs, stale_locks
from stratum_git.git.checkout import Refused, Synced, obstacle, sync
from stratum_git.git.process import Git
from stratum_git.git.refs import Applied, RefSession, RefUpdate, read_ref, transact
from stratum_git.git.registration import add_worktree
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import check_out
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

SOURCE = Path(__file__).parents[2]
FLOW = RefName("refs/stratum/flows/one")
BRANCH = RefName("refs/heads/stratum/one/task")
MAIN = RefName("refs/heads/main")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git waits two seconds for a lock; here it need not."""
    monkeypatch.setattr(refs, "WAITING", ("core.filesRefLockTimeout=50", "core.packedRefsTimeout=50"))


@contextmanager
def preparing(cwd: Path, *moves: str) -> Iterator[subprocess.Popen[bytes]]:
    """Gives a git that has taken the locks of *moves* and goes no further."""
    words = ["git", "update-ref", "--stdin"]
    with subprocess.Popen(words, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as git:
        assert git.stdin is not None
        assert git.stdout is not None
        git.stdin.write("\n".join(["start", *moves, "prepare", ""]).encode())
        git.stdin.flush()
        assert git.stdout.readline() == b"start: ok\n"
        assert git.stdout.readline() == b"prepare: ok\n"
        yield git
        git.kill()


def killed(cwd: Path, *moves: str) -> None:
    """Leaves the locks that a git had taken for *moves* when it was killed."""
    with preparing(cwd, *moves) as git:
        git.kill()


def moved(repo: Repository, ref: RefName, new: str, old: str | None = None) -> bool:
    update = RefUpdate(ref, Oid(new), None if old is None else Oid(old))
    return transact(repo, [update], message="test") == Applied()


@pytest.fixture
def commits(scratch: ScratchRepo) -> tuple[str, str]:
    """Two commits; main is at the first."""
    old = scratch.head()
    scratch.git("checkout", "-q", "-b", "next")
    new = scratch.commit("next", {"a.txt": "changed\n", "more/new.txt": "new\n"})
    scratch.git("checkout", "-q", "main")
    return old, new


@pytest.mark.parametrize("ref", [FLOW, BRANCH])
def test_a_lock_of_a_ref_of_ours_whose_git_was_killed_is_deleted(
    repo: Repository, scratch: ScratchRepo, ref: RefName
) -> None:
    killed(scratch.path, f"create {ref} {scratch.head()}")
    assert (repo.common_dir / f"{ref}.lock").exists()
    assert moved(repo, ref, scratch.head())
    assert list(repo.common_dir.glob("refs/**/*.lock")) == []


def test_all_locks_of_a_killed_move_are_deleted_at_once(repo: Repository, scratch: ScratchRepo) -> None:
    names = [RefName(f"refs/stratum/flows/n{n}") for n in range(8)]
    killed(scratch.path, *(f"create {name} {scratch.head()}" for name in names))
    updates = [RefUpdate(name, Oid(scratch.head()), None) for name in names]
    assert transact(repo, updates, message="test") == Applied()


def test_the_lock_of_a_live_git_stays(
    repo: Repository, scratch: ScratchRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_locks, "PATIENCE", 0.2)
    lock = repo.common_dir / f"{FLOW}.lock"
    with preparing(scratch.path, f"create {FLOW} {scratch.head()}"):
        with pytest.raises(HostError, match=f"another git holds {lock}") as caught:
            moved(repo, FLOW, scratch.head())
        assert f"delete {lock}" in caught.value.hint
        assert lock.exists()
    assert moved(repo, FLOW, scratch.head())


@pytest.mark.parametrize("how", [["--git-dir"], ["-c", "x.y=z", "--git-dir"], []])
def test_the_lock_of_a_live_git_that_stands_elsewhere_stays(
    repo: Repository, scratch: ScratchRepo, how: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_locks, "PATIENCE", 0.2)
    lock = repo.common_dir / f"{FLOW}.lock"
    words = [*how, str(repo.common_dir)] if how else []
    environment = {} if how else {"GIT_DIR": str(repo.common_dir)}
    with subprocess.Popen(
        ["env", *(f"{k}={v}" for k, v in environment.items()), "git", *words, "update-ref", "--stdin"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as git:
        assert git.stdin is not None
        assert git.stdout is not None
        git.stdin.write(f"start\ncreate {FLOW} {scratch.head()}\nprepare\n".encode())
        git.stdin.flush()
        assert git.stdout.readline() + git.stdout.readline() == b"start: ok\nprepare: ok\n"
        assert not stale_locks.clear(repo.common_dir, lock)
        assert lock.exists()
        git.kill()
    assert stale_locks.clear(repo.common_dir, lock)


def test_the_lock_of_somebody_who_has_it_open_stays(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_locks, "PATIENCE", 0.2)
    lock = repo.common_dir / f"{FLOW}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("x"):
        assert not stale_locks.clear(repo.common_dir, lock)
    assert stale_locks.clear(repo.common_dir, lock)


def test_locks_are_not_cleared_while_one_of_ours_is_moving_refs(
    repo: Repository, scratch: ScratchRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_locks, "PATIENCE", 0.2)
    update = RefUpdate(FLOW, Oid(scratch.head()), None)
    lock = repo.common_dir / f"{FLOW}.lock"
    seen = []

    def meanwhile() -> None:
        # Git has taken the lock by now.
        assert lock.exists()
        seen.append((stale_locks.clear(repo.common_dir, lock), lock.exists()))

    with RefSession(repo, "test", durable=True) as session:
        assert session.transact([update], meanwhile) == Applied()
    assert seen == [(False, True)]


@pytest.mark.parametrize("name", ["refs/heads/main.lock", "HEAD.lock", "packed-refs.lock", "index.lock"])
def test_a_lock_that_may_be_the_user_s_stays_though_nobody_is_there(repo: Repository, name: str) -> None:
    lock = repo.common_dir / name
    lock.touch()
    assert not stale_locks.clear(repo.common_dir, lock)
    assert lock.exists()
    assert stale_locks.locks_in(repo.common_dir) == {lock: False}


def test_a_lock_that_was_claimed_before_it_was_taken_is_deleted_when_its_claimant_is_dead(
    repo: Repository, commits: tuple[str, str]
) -> None:
    old, new = commits
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from stratum_git.git.refs import RefSession, RefUpdate\n"
        "from stratum_git.git.repository import open_repository\n"
        f"repo = open_repository(Path({str(repo.root)!r}))\n"
        "def dies():\n"
        f"    while not (repo.common_dir / 'HEAD.lock').exists(): pass\n"
        "    os.kill(git().process.pid, 9)\n"
        "    os.kill(os.getpid(), 9)\n"
        "session = RefSession(repo, 'test', durable=True)\n"
        "start = session._start\n"
        "made = []\n"
        "session._start = lambda **how: made.append(start(**how)) or made[0]\n"
        "git = lambda: made[0]\n"
        f"session.transact([RefUpdate({MAIN!r}, {new!r}, {old!r}),"
        f" RefUpdate({FLOW!r}, {new!r}, None)], dies)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, cwd=SOURCE)
    assert done.returncode == -9
    left = stale_locks.locks_in(repo.common_dir)
    assert {path.name: own for path, own in left.items()} == {
        "HEAD.lock": True, "main.lock": True, "one.lock": True
    }  # fmt: skip
    updates = [RefUpdate(MAIN, Oid(new), Oid(old)), RefUpdate(FLOW, Oid(new), None)]
    assert transact(repo, updates, message="test") == Applied()
    assert stale_locks.locks_in(repo.common_dir) == {}
    assert list((repo.common_dir / "stratum/claims").iterdir()) == []


def test_a_git_that_is_killed_in_the_middle_of_a_move_is_replaced(
    repo: Repository, scratch: ScratchRepo
) -> None:
    session = RefSession(repo, "test", durable=False)
    with session:
        assert session.transact([RefUpdate(BRANCH, Oid(scratch.head()), None)]) == Applied()
        git = session._gits[False]

        def kill() -> None:
            git.process.kill()
            git.process.wait()

        assert session.transact([RefUpdate(FLOW, Oid(scratch.head()), None)], kill) == Applied()
    assert read_ref(repo, FLOW) == scratch.head()


def test_the_lock_of_a_branch_does_not_keep_its_slot_from_being_made(
    repo: Repository, scratch: ScratchRepo, tmp_path: Path
) -> None:
    killed(scratch.path, f"create {BRANCH} {scratch.head()}")
    slot = tmp_path / "slot-00000000"
    add_worktree(repo, slot, base=Oid(scratch.head()), reason="test")
    check_out(slot, Oid(scratch.head()), BRANCH)
    assert Git(slot).line("symbolic-ref", "HEAD") == BRANCH


# --- the checkout of the target ---------------------------------------------------------------------------


def test_an_index_lock_of_ours_does_not_block_a_landing(
    repo: Repository, scratch: ScratchRepo, commits: tuple[str, str]
) -> None:
    old, new = map(Oid, commits)
    for _ in range(2):
        lock = repo.git_dir / "index.lock"
        script = (
            "import os\n"
            "from pathlib import Path\n"
            "from stratum_git.git import stale_locks\n"
            f"lock = Path({str(lock)!r})\n"
            "with stale_locks.taking(lock.parent, [lock]):\n"
            "    lock.touch()\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        subprocess.run([sys.executable, "-c", script], check=False, cwd=SOURCE)
        assert stale_locks.locks_in(repo.common_dir) == {lock: True}
        # Once before the target moves, and once after.
        if read_ref(repo, MAIN) == old:
            assert obstacle(repo, scratch.path, old, new) is None
            scratch.git("update-ref", MAIN, new)
        else:
            assert sync(scratch.path, old, new) == Synced()
    assert scratch.git("status", "--porcelain") == ""


def test_an_index_lock_of_the_user_s_blocks_a_landing(
    repo: Repository, scratch: ScratchRepo, commits: tuple[str, str]
) -> None:
    old, new = map(Oid, commits)
    (repo.git_dir / "index.lock").touch()
    found = obstacle(repo, scratch.path, old, new)
    assert isinstance(found, Refused)
    assert "index.lock" in found.reason


@pytest.mark.parametrize("text", ["changed\n", ""])
def test_files_that_a_cut_off_move_had_written_are_no_obstacle(
    scratch: ScratchRepo, commits: tuple[str, str], text: str
) -> None:
    old, new = map(Oid, commits)
    scratch.git("update-ref", MAIN, new)
    scratch.write("a.txt", text)
    scratch.write("more/new.txt", "new\n" if text else "")
    assert sync(scratch.path, old, new) == Synced()
    assert scratch.git("status", "--porcelain") == ""
    assert (scratch.path / "a.txt").read_text() == "changed\n"


def test_files_that_a_power_cut_left_empty_are_written_again(
    scratch: ScratchRepo, commits: tuple[str, str]
) -> None:
    old, new = map(Oid, commits)
    scratch.git("update-ref", MAIN, new)
    assert sync(scratch.path, old, new) == Synced()
    scratch.write("a.txt", "")
    (scratch.path / "more/new.txt").unlink()
    assert sync(scratch.path, old, new) == Synced()
    assert scratch.git("status", "--porcelain") == ""


def test_what_the_user_changed_in_between_stays(scratch: ScratchRepo, commits: tuple[str, str]) -> None:
    old, new = map(Oid, commits)
    scratch.git("update-ref", MAIN, new)
    scratch.write("a.txt", "by the user\n")
    assert isinstance(sync(scratch.path, old, new), Refused)
    assert (scratch.path / "a.txt").read_text() == "by the user\n"


def test_a_move_that_fails_for_another_reason_is_tried_again(
    repo: Repository, scratch: ScratchRepo, commits: tuple[str, str]
) -> None:
    old, new = map(Oid, commits)
    scratch.git("update-ref", MAIN, new)
    (repo.git_dir / "index.lock").touch()
    with pytest.raises(HostError, match=r"index\.lock"):
        sync(scratch.path, old, new)
    (repo.git_dir / "index.lock").unlink()
    assert sync(scratch.path, old, new) == Synced()
