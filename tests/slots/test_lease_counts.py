"""What a slot costs whoever waits for it, in numbers that do not depend on the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from stratum_git.slots import trials
from tests.support.repos import ScratchRepo

WORK = """\
import os, sys
from pathlib import Path
from stratum_git.git.refs import RefSession
from stratum_git.git.repository import head_of, open_repository
from stratum_git.slots.folders import StateFolders
from tests.slots.laid import Ground
from tests.slots.tenancy import take

repo = open_repository(Path(sys.argv[1]))
with RefSession(repo, "test", durable=False) as refs:
    ground = Ground(repo, StateFolders(Path(sys.argv[2])), background=True)
    ground.pool.refs, base = refs, head_of(repo).oid
    # As if the base had been made a while ago, so that its index is copied ahead.
    made = ground.bases.ensure(base)
    os.utime(made.index, (made.finished + 2, made.finished + 2))
    for task in ("a", "b"):
        ground.pool.release(take(ground.pool, base, task))
        while any(ground.folders.layers.iterdir()) or (task == "b" and not ground.is_ready()):
            pass
    os.write(2, b"MARK lease\\n")
    slot = take(ground.pool, base, "c")
    os.write(2, b"MARK release\\n")
    ground.pool.release(slot)
    os.write(2, b"MARK end\\n")
    ground.pool.close()
    ground.trees.close()
"""
TRACED = "fsync,openat,write,execve,mkdir,rename,renameat2,copy_file_range,mount,umount2,unlink"


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """Counts the system calls of whoever waits, between the marks of the work above."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    place = tmp_path_factory.mktemp("counts")
    (place / "trial").mkdir()
    if why := trials.overlay(place / "trial", by_user=False):
        pytest.skip(why)
    repo, trace = ScratchRepo.make(place / "repo"), place / "trace"
    repo.commit("first", {"a.txt": "a\n"})
    words = ("strace", "-f", "-o", str(trace), "-e", f"trace={TRACED}", sys.executable, "-c", WORK)
    subprocess.run([*words, str(repo.path), str(place / "state")], check=True, cwd=Path(__file__).parents[2])
    found: dict[str, Counter[str]] = {}
    now: Counter[str] = Counter()
    lines = trace.read_text().splitlines()
    own = lines[0].split()[0]
    for line in lines:
        mark = re.search(r'"MARK (\w+)', line)
        if mark is not None:
            now = found.setdefault(mark[1], Counter())
        call = re.match(rf"{own} +(\w+)\(", line)
        if call is not None and mark is None:
            now[call[1]] += 1
            now["created"] += call[1] == "openat" and "O_CREAT" in line and "= -1" not in line
    return found


def test_a_lease_waits_once_for_the_disk_and_copies_no_index(counts: dict[str, Counter[str]]) -> None:
    lease = counts["lease"]
    # The record, and the folder that has its name.
    assert lease["fsync"] == 2
    assert (lease["execve"], lease["copy_file_range"], lease["mount"]) == (0, 0, 1)
    # Lock, record twice, what it is laid over, five of git's, and the HEAD once it is on its branch.
    assert lease["created"] == 10
    # Two of them are there.
    assert lease["mkdir"] == 7


def test_who_gives_a_slot_back_waits_for_nothing_that_is_done_to_it(counts: dict[str, Counter[str]]) -> None:
    release = counts["release"]
    names = ("rename", "renameat2", "fsync", "created", "execve", "mkdir", "unlink", "umount2")
    assert [release[name] for name in names] == [0] * len(names)
