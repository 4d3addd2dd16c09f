"""While a branch moves and its checkouts follow, nobody's git gets at their index."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stratum_git.git import stale_locks
from stratum_git.git.checkout import Refused, Synced, sync
from stratum_git.git.holding import held_checkouts
from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

MAIN = RefName("refs/heads/main")
HOLDER = """
import sys, time
from pathlib import Path
from stratum_git.git.holding import held_checkouts
from stratum_git.git.repository import open_repository
with held_checkouts(open_repository(Path(sys.argv[1])), "refs/heads/main") as held:
    print(len(held), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def moved(scratch: ScratchRepo) -> tuple[Oid, Oid]:
    old = scratch.head()
    scratch.git("checkout", "-q", "--detach")
    (scratch.path / "dir/c.txt").unlink()
    new = scratch.commit("next", {"a.txt": "changed\n", "new.txt": "new\n"})
    scratch.git("checkout", "-q", "main")
    return Oid(old), Oid(new)


def test_nobody_brings_back_the_files_of_before(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    scratch.write("b.txt", "mine\n")
    scratch.write("staged.txt", "staged\n")
    scratch.git("add", "staged.txt")
    with held_checkouts(repo, MAIN) as held:
        assert held == frozenset({scratch.path})
        scratch.git("update-ref", MAIN, moved[1])
        for words in (["commit", "-qam", "back"], ["stash"], ["checkout", "-q", "-B", "x", moved[0]]):
            done = subprocess.run(["git", *words], cwd=scratch.path, capture_output=True, check=False)
            assert done.returncode != 0
        assert sync(scratch.path, *moved, held=True) == Synced()
    assert scratch.git("rev-parse", "main") == moved[1]
    assert scratch.git("status", "--porcelain") == "M b.txt\nA  staged.txt"
    assert sorted(path.name for path in (scratch.path / ".git").glob("index*")) == ["index"]


def test_what_is_in_the_way_stays_and_the_index_is_as_it_was(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    scratch.write("new.txt", "mine\n")
    before = (scratch.path / ".git/index").read_bytes()
    with held_checkouts(repo, MAIN):
        assert isinstance(sync(scratch.path, *moved, held=True), Refused)
    assert (scratch.path / ".git/index").read_bytes() == before
    assert (scratch.path / "new.txt").read_text() == "mine\n"


def test_a_checkout_that_somebody_is_at_work_in_is_not_had(repo: Repository, scratch: ScratchRepo) -> None:
    lock = scratch.path / ".git/index.lock"
    lock.write_text("theirs")
    with held_checkouts(repo, MAIN) as held:
        assert held is None
    assert lock.read_text() == "theirs"


def test_every_checkout_of_the_branch_is_held_and_no_other(repo: Repository, scratch: ScratchRepo) -> None:
    scratch.git("worktree", "add", "-q", "--force", "../twin", "main")
    scratch.git("worktree", "add", "-q", "-b", "else", "../other")
    with held_checkouts(repo, MAIN) as held:
        assert held == frozenset({scratch.path, scratch.path.parent / "twin"})
        assert not (scratch.path / ".git/worktrees/other/index.lock").exists()
    assert not list((scratch.path / ".git").rglob("index.lock"))


def test_the_hold_of_a_living_process_stays_and_that_of_a_dead_one_goes(scratch: ScratchRepo) -> None:
    common, lock = scratch.path / ".git", scratch.path / ".git/index.lock"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, scratch.path], stdout=subprocess.PIPE, text=True, env=environment
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "1\n"
        assert not stale_locks.clear(open_repository(scratch.path).common_dir, lock)
        assert lock.exists()
        holder.send_signal(signal.SIGKILL)
    assert stale_locks.clear(open_repository(scratch.path).common_dir, lock)
    assert not lock.exists()
    shutil.rmtree(common / "stratum")
