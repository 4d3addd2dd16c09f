"""Merges the merges of a real history again: how many are plain, and whether they come to what git makes:

    .venv/bin/python -m tests.bench.histories REPOSITORY [--merges 2000]

Of merges with two parents and one merge base, the newest first. Git's answer is that of ``git merge-tree``;
what conflicts there was somebody's work, and must not be plain. Nothing of the repository is written. Prints
one object of figures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stratum_git.git.merge_many import Answer, Trees, merge_many
from stratum_git.git.repository import open_repository
from stratum_git.git.scratch import Scratch, make_scratch
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader, fetch_differences
from stratum_git.model.ids import Oid

PART = 50


def merges_of(repository: Path, most: int) -> Iterator[tuple[Oid, Oid, Oid]]:
    """Yields base, ours and theirs of the newest merges that have one base."""
    asked = ["git", "rev-list", "--min-parents=2", "--max-parents=2", "--parents"]
    out = subprocess.run(
        [*asked, f"--max-count={2 * most}", "HEAD"], cwd=repository, check=True, capture_output=True
    )
    found = 0
    for row in out.stdout.decode().splitlines():
        _, ours, theirs = row.split()
        bases = subprocess.run(
            ["git", "merge-base", "--all", ours, theirs], cwd=repository, check=False, capture_output=True
        )
        names = bases.stdout.decode().split()
        if len(names) == 1 and names[0] not in (ours, theirs):
            yield Oid(names[0]), Oid(ours), Oid(theirs)
            found += 1
        if found >= most:
            return


def measure(repository: Path, merges: int = 2000) -> dict[str, float | int]:
    """Merges them again; raises SystemExit where a plain merge is not what git makes of it."""
    repo = open_repository(repository)
    plain = clean = total = 0
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder, TreeReader(repo) as trees:
        scratch = make_scratch(repo, Path(folder) / "scratch")
        merger = TreeMerger(trees, scratch.writer)
        part: list[tuple[Trees, Oid | None]] = []

        def compare() -> None:
            nonlocal clean, plain
            for (asked, mine), answer in zip(part, _asked(scratch, part), strict=True):
                clean += not answer.paths
                plain += mine is not None
                if mine is not None and (answer.paths or answer.tree != mine):
                    raise SystemExit(f"{asked} is not what git makes of it: {mine}, {answer}")
            part.clear()

        for commits in merges_of(repository, merges):
            base, ours, theirs = (trees.root(oid) for oid in commits)
            if len({base, ours, theirs}) < len(commits):
                continue
            fetch_differences(trees, [(base, ours), (base, theirs)])
            began = time.process_time()
            mine = merger.merge(base, ours, theirs)
            seconds += time.process_time() - began
            total += 1
            part.append((Trees(base, ours, theirs), mine))
            if len(part) == PART:
                compare()
        compare()
    return {
        "merges": total,
        "clean_for_git": clean,
        "plain": plain,
        "plain_of_clean": round(plain / max(clean, 1), 3),
        "plain_cpu_ms": round(seconds * 1000 / max(total, 1), 3),
    }


def _asked(scratch: Scratch, part: list[tuple[Trees, Oid | None]]) -> list[Answer]:
    return merge_many(scratch, [asked for asked, _ in part])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--merges", type=int, default=2000)
    options = parser.parse_args()
    print(json.dumps(measure(options.repository, options.merges)))


if __name__ == "__main__":
    main()
