"""What slots cost a user who is not root: to enter a namespace, once a run, and to mount one there.

``python -m tests.bench.private REPOSITORY [--rounds N]``
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import cast

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository, head_of, open_repository
from stratum_git.model.ids import RefName
from stratum_git.slots.building import ladder_of
from stratum_git.slots.folders import state_folders
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.private import why_not
from stratum_git.spawn.namespace import enter
from stratum_git.spawn.outside import recall_lookout
from tests.support.commoner import OwnRepo, commoner, give

BRANCH = RefName("refs/heads/stratum/bench/task")
WHO = Occupant("bench", "step", "task", 1)
LONG = 1800.0
PAUSE = 3.0
"""Seconds after which no file of a base is as young as its index."""


def measure(repository: Path, rounds: int) -> dict[str, float]:
    """Returns medians in milliseconds, each beside plain git's in turn, for a copy of *repository*."""
    with commoner() as user:
        place = user.home.parent / "copy"
        shutil.copytree(repository, place, symlinks=True)
        give(place)
        user.repo = OwnRepo(place)
        words = ("--inside", str(place), str(rounds))
        said = user.script("from tests.bench.private import main; main()", *words, timeout=LONG)
    return cast("dict[str, float]", json.loads(said.out))


def _inside(place: Path, rounds: int) -> dict[str, float]:
    """Measures, as the user who this process is; it has no threads yet."""
    repo = open_repository(place)
    folders = state_folders(repo, place.parent / "home/state")
    trials = [_timed(lambda: why_not(folders)) for _ in range(rounds)]
    entered = _timed(enter)
    try:
        pool = SlotPool(repo, folders, ladder=ladder_of(repo, folders))
        _round(pool, repo)
        time.sleep(PAUSE)
        rows = [(*_round(pool, repo), *_git(repo, place.parent / "home/plain")) for _ in range(rounds)]
    finally:
        recall_lookout()
    names = (
        "lease_private_overlay_ms",
        "release_private_overlay_ms",
        "worktree_add_ms",
        "worktree_remove_ms",
    )
    found = {
        name: statistics.median(times) for name, times in zip(names, zip(*rows, strict=True), strict=True)
    }
    ratio = statistics.median(row[2] / row[0] for row in rows)
    return {
        "try_namespace_ms": statistics.median(trials),
        "enter_namespace_ms": entered,
        **found,
        "lease_ratio": ratio,
    }


def _round(pool: SlotPool, repo: Repository) -> tuple[float, float]:
    base = head_of(repo).oid
    began = time.perf_counter()
    slot = pool.acquire(base=base, branch=BRANCH, occupant=WHO, isolation="worktree")
    taken = time.perf_counter() - began
    assert slot.rung == "overlay", slot
    (slot.path / "new.txt").write_text("x\n")
    return taken * 1000, _timed(lambda: pool.release(slot))


def _git(repo: Repository, place: Path) -> tuple[float, float]:
    git = Git(repo.root)
    added = _timed(lambda: git.run("worktree", "add", "-q", "--detach", str(place), "HEAD"))
    return added, _timed(lambda: git.run("worktree", "remove", "--force", str(place)))


def _timed(work: object) -> float:
    assert callable(work)
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Prints the figures."""
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(_inside(Path(sys.argv[2]), int(sys.argv[3]))))
        return
    asked = argparse.ArgumentParser(prog="python -m tests.bench.private", description=__doc__)
    asked.add_argument("repository", type=Path)
    asked.add_argument("--rounds", type=int, default=7)
    options = asked.parse_args()
    print(json.dumps(measure(options.repository, options.rounds), indent=1))


if __name__ == "__main__":
    main()
