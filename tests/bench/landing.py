"""Measures a landing of results that touch different files, beside ``git merge`` of their branches:

    .venv/bin/python -m tests.bench.landing [--results 50] [--files 5000 25000] [--rounds 3]

Ours is the way of a run from the results to files in the user's checkout: the plan in memory, all of it on
the disk, the checkout looked at, its index held, the branch moved, the checkout following. Git's is one ``git
merge`` in a checkout for each branch. In turn, each on a fresh clone. Prints a line of JSON for each size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from stratum_git.dispatch.landing import Item, Lander, follow, in_the_way
from stratum_git.dispatch.stack import Change
from stratum_git.git.holding import held_checkouts
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import processes_started, trust
from stratum_git.git.refs import Applied, RefUpdate, read_refs, transact
from stratum_git.git.repository import open_repository, resolve
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import FlowId, RefName, StepId, TaskId
from tests.support.repos import ScratchRepo

QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
MAIN = RefName("refs/heads/main")
WIDE = 20
"""Files in a folder."""


def path_of(number: int) -> str:
    """Returns where file *number* is."""
    return f"part{number // (WIDE * WIDE)}/folder{number // WIDE}/file{number}.txt"


def make(place: Path, files: int, results: int) -> ScratchRepo:
    """Makes a repository of *files* files, with a branch for each result: two files changed, one new."""
    scratch = ScratchRepo.make(place, "--template=")
    for key, value in (("user.name", "Bench"), ("user.email", "bench@x"), ("gc.auto", "0")):
        scratch.git("config", key, value)
    told = [b"commit refs/heads/main\ncommitter B <b@x> 1700000000 +0000\ndata 4\nbase\n"]
    told += [_file(path_of(n), f"{n}\n" * 20) for n in range(files)]
    for result in range(results):
        head = f"commit refs/heads/r{result}\ncommitter B <b@x> 1700000000 +0000\ndata 6\nresult\n"
        told.append(f"{head}from refs/heads/main\n".encode())
        apart = files // results * result
        told += [_file(path_of(apart + n), f"{n}\n" * 20 + f"by {result}\n") for n in (0, WIDE)]
        told.append(_file(f"part{apart // (WIDE * WIDE)}/new{result}.txt", "new\n"))
    stream = b"".join(told)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=place, input=stream, check=True)
    return scratch


def _file(path: str, content: str) -> bytes:
    return f"M 100644 inline {path}\ndata {len(content)}\n{content}\n".encode()


def cloned(source: ScratchRepo, place: Path) -> ScratchRepo:
    """Returns a clone with every branch, whose files do not look as if they had just been written."""
    subprocess.run(["git", "clone", "-q", "--mirror", str(source.path), str(place / ".git")], check=True)
    clone = ScratchRepo(place)
    clone.git("config", "core.bare", "false")
    for key, value in (("user.name", "Bench"), ("user.email", "bench@x"), ("gc.auto", "0")):
        clone.git("config", key, value)
    clone.git("checkout", "-q", "-f", "main")
    os.sync()
    time.sleep(1.1)
    clone.git("update-index", "-q", "--refresh")
    return clone


def land(clone: ScratchRepo, results: int) -> tuple[float, int]:
    """Lands the results; returns the seconds and how many git processes that took."""
    repo = open_repository(clone.path)
    # A run knows them.
    tips = read_refs(repo, "refs/heads/")
    began, before = time.monotonic(), processes_started()
    trust(repo.common_dir, repo.root)
    writer = ObjectWriter(repo, durable=True)
    old = resolve(repo, "main")
    who = Signature("Bench", "bench@x", time.time())
    with TreeReader(repo, writer.heal) as trees:
        lander = Lander(repo, TreeMerger(trees, writer), who, FlowId("bench"), StepId("land"))
        tips_of = ((n, tips[RefName(f"refs/heads/r{n}")]) for n in range(results))
        items = [Item(Change(TaskId(f"r{n}"), 1, old, tip), f"r{n}: done") for n, tip in tips_of]
        plan = lander.plan(old, items)
        writer.sync()
        if in_the_way(repo, MAIN, plan.old, plan.new) is not None:
            raise SystemExit("something is in the way")
        with held_checkouts(repo, MAIN) as held:
            moved = transact(repo, [RefUpdate(MAIN, plan.new, plan.old)], message="land", durable=True)
            if held is None or not isinstance(moved, Applied):
                raise SystemExit("the branch did not move")
            notes = follow(repo, MAIN, plan.old, plan.new, held)
    if notes:
        raise SystemExit("\n".join(notes))
    return time.monotonic() - began, processes_started() - before


def merge_all(clone: ScratchRepo, results: int) -> float:
    """Merges the branches with git, one by one."""
    began = time.monotonic()
    for number in range(results):
        clone.git("merge", "-q", "--no-edit", "--no-ff", f"r{number}")
    return time.monotonic() - began


def measured(files: int, results: int, rounds: int) -> dict[str, object]:
    """Measures both, in turn; the trees have to be the same."""
    ours, theirs, processes = [], [], 0
    with tempfile.TemporaryDirectory() as scratch:
        source = make(Path(scratch) / "source", files, results)
        for number in range(rounds):
            mine, other = (cloned(source, Path(scratch) / f"{who}{number}") for who in ("ours", "git"))
            seconds, processes = land(mine, results)
            ours.append(seconds)
            theirs.append(merge_all(other, results))
            trees = {clone.git("rev-parse", "main^{tree}") for clone in (mine, other)}
            if len(trees) != 1 or mine.git("status", "--porcelain"):
                raise SystemExit("the trees differ, or the checkout did not follow")
    return {
        "files": files,
        "results": results,
        "landing_s": round(statistics.median(ours), 3),
        "git_merge_s": round(statistics.median(theirs), 3),
        "ratio": round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 1),
        "landing_gits": processes,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=50)
    parser.add_argument("--files", type=int, nargs="+", default=[5000, 25000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.update(QUIET)
    for files in options.files:
        print(json.dumps(measured(files, options.results, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
