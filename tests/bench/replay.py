"""Replays real merges as landings, beside ``git merge`` in a checkout:

    .venv/bin/python -m tests.bench.replay REPOSITORY [--count N]

Takes the newest merge commits of two parents, makes of each a landing (the merge base, ours is the first
parent, theirs the second), and compares tree or conflict with what ``git merge`` makes. A merge with several
bases or none is skipped: a landing has one. The repository is only read. Prints one line of JSON, after so
many ``--seconds`` of merging with what was done by then.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from stratum_git.git.labels import Labels
from stratum_git.git.merge import Merged, merge
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.process import processes_started
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.merging import Answer
from tests.support.repos import ScratchRepo

QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Replay:
    """A scratch clone that shares the objects of a repository, and what was counted."""

    def __init__(self, source: Path, place: Path) -> None:
        subprocess.run(["git", "clone", "-q", "-s", "-n", str(source), str(place)], check=True)
        self.scratch = ScratchRepo(place)
        for key, value in (("user.name", "Replay"), ("user.email", "replay@x"), ("gc.auto", "0")):
            self.scratch.git("config", key, value)
        # Of an empty commit: the attributes in it are nobody's.
        self.scratch.git("checkout", "-q", "--orphan", "nothing")
        self.scratch.git("commit", "-q", "--allow-empty", "-m", "nothing")
        self.scratch.git(
            "worktree", "add", "-q", "--no-checkout", "--detach", str(place) + "-merging", "nothing"
        )
        self.merging = ScratchRepo(Path(str(place) + "-merging"))
        self.repo: Repository = open_repository(place)
        self.writer = ObjectWriter(self.repo, durable=False)

    def merges(self) -> list[list[str]]:
        """Returns the merges of two parents: each with them, the newest first."""
        told = self.scratch.git("rev-list", "--parents", "--min-parents=2", "--max-parents=2", "origin/HEAD")
        return [row.split() for row in told.splitlines()]

    def by_git(self, first: str, second: str) -> Answer:
        """Returns what ``git merge`` makes in a checkout of *first*."""
        git = self.merging.git
        git("checkout", "-q", "-f", "--detach", first)
        git("clean", "-ffdxq")
        done = subprocess.run(
            ["git", "merge", "-q", "--no-ff", "--no-commit", second],
            cwd=self.merging.path,
            capture_output=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"git merge of {second} in {first}: {os.fsdecode(done.stderr)}")
        if done.returncode == 0:
            answer = Answer(True, git("write-tree"), frozenset())
        else:
            rows = [row.partition("\t") for row in git("ls-files", "-u", "-z").split("\0") if row]
            stages = (
                (mode, oid, int(n), path) for facts, _, path in rows for mode, oid, n in [facts.split()]
            )
            answer = Answer(False, git("rev-parse", "AUTO_MERGE"), frozenset(stages))
        git("reset", "-q", "--hard")
        return answer

    def in_memory(self, merger: TreeMerger, base: str, first: str, second: str) -> Answer:
        """Returns what a landing makes."""
        labels = Labels("HEAD", second, self.scratch.git("rev-parse", "--short", base))
        roots = [merger.trees.root(Oid(commit)) for commit in (base, first, second)]
        found = merge(
            self.repo,
            self.writer,
            base=roots[0],
            ours=roots[1],
            theirs=roots[2],
            merger=merger,
            labels=labels,
        )
        if isinstance(found, Merged):
            return Answer(True, found.tree, frozenset())
        return Answer(False, found.tree, frozenset((s.mode, s.oid, s.stage, s.path) for s in found.stages))


def replayed(source: Path, count: int, seconds: float, place: Path) -> dict[str, object]:
    """Replays *count* merges and returns what came of them."""
    replay = Replay(source, place)
    figures = dict.fromkeys(("merges", "same_tree", "same_conflict", "without_git", "bases_not_one"), 0)
    different: list[str] = []
    spent = {"landing": 0.0, "git merge": 0.0}
    with TreeReader(replay.repo) as trees:
        merger = TreeMerger(trees, replay.writer)
        for commit, first, second in replay.merges():
            if figures["merges"] >= count or sum(spent.values()) > seconds:
                break
            bases = replay.scratch.git("merge-base", "--all", first, second, check=False).split()
            if len(bases) != 1:
                figures["bases_not_one"] += 1
                continue
            began, before = time.monotonic(), processes_started()
            mine = replay.in_memory(merger, bases[0], first, second)
            spent["landing"] += time.monotonic() - began
            figures["without_git"] += processes_started() == before
            began = time.monotonic()
            wanted = replay.by_git(first, second)
            spent["git merge"] += time.monotonic() - began
            figures["merges"] += 1
            figures["same_tree"] += mine == wanted and mine.clean
            figures["same_conflict"] += mine == wanted and not mine.clean
            different += [commit] if mine != wanted else []
    rounded = {name: round(value, 1) for name, value in spent.items()}
    return {"repository": str(source), **figures, "different": different, "seconds": rounded}


def main() -> None:
    """Replays and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3600.0, help="spent on merging")
    options = parser.parse_args()
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "repo"
        print(json.dumps(replayed(options.repository.resolve(), options.count, options.seconds, place)))


if __name__ == "__main__":
    main()
