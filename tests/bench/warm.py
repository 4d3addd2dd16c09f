"""What it costs to take a slot that a task has left; by hand: ``python -m tests.bench.warm REPOSITORY``.

In each round a tenant leaves a slot as one does (20 files committed, 5 changed, 53 new ones), and the next
lease cleans it; then one is left, cleaned by the pool's thread, and taken. In turn with them, ``git worktree
add --detach``. Figures are medians in milliseconds; ``_ratio`` is ours divided by git's in the same round.

To be held against: 0.3 of git's where it is to be cleaned, and a release no slower than one rename.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from stratum_git.git.refs import RefSession
from stratum_git.git.repository import open_repository, resolve
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import RefName
from stratum_git.slots.building import ladder_of
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.occupancy import Occupant, Vacant, read_record
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.slot import Slot


class Bench:
    """A pool whose slots are warm, with and without a thread that cleans them."""

    def __init__(self, repository: Path, place: Path, stack: ExitStack) -> None:
        repo = open_repository(repository)
        self.repo, self.base, self.place = repo, resolve(repo, "HEAD"), place
        self.rows: dict[str, list[float]] = defaultdict(list)
        self.number = 0
        trees = stack.enter_context(TreeReader(repo))
        refs = stack.enter_context(RefSession(repo, "bench", durable=False))
        folders = StateFolders(place / "state")
        ladder = ladder_of(repo, folders, forced="warm", trees=trees)
        self.pools = [
            SlotPool(repo, folders, refs=refs, trees=trees, ladder=ladder, background=background)
            for background in (False, True)
        ]

    def take(self, *, background: bool = False) -> Slot:
        self.number += 1
        who = Occupant("bench", "step", f"t{self.number}", 1)
        branch = RefName(f"refs/heads/stratum/bench-warm/t{self.number}")
        pool = self.pools[background]
        return pool.acquire(base=self.base, branch=branch, occupant=who, isolation="worktree")

    def timed(self, name: str, work: Callable[[], object]) -> float:
        begun = time.perf_counter()
        work()
        self.rows[name].append((time.perf_counter() - begun) * 1000)
        return self.rows[name][-1]

    def lived_in(self, slot: Slot) -> None:
        """Leaves what a tenant leaves."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=slot.path, capture_output=True, check=True)
        names = [slot.path / name.decode() for name in listed.stdout.split(b"\0")[:-1]]
        some = names[:: max(1, len(names) // 25)][:25]
        for path in some[:20]:
            path.write_text("committed\n")
        subprocess.run(["git", "commit", "-qam", "work"], cwd=slot.path, check=True)
        for path in some[20:]:
            path.write_text("changed\n")
        for number in range(53):
            folder = some[number % len(some)].parent / f"new-{number // 10}"
            folder.mkdir(exist_ok=True)
            (folder / str(number)).write_text("new\n")

    def given_back(self, *, background: bool) -> Slot:
        slot = self.take(background=background)
        self.lived_in(slot)
        self.timed("release_warm_ms", lambda: self.pools[background].release(slot))
        return slot


def measure(repository: Path, rounds: int) -> dict[str, float]:
    """Returns the figures; the slots lie in a folder beside the repository, which is gone at the end."""
    place = Path(tempfile.mkdtemp(prefix="warm-", dir=repository.parent))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        bench = Bench(repository, place, stack)
        bench.pools[0].release(bench.take())
        for _ in range(rounds):
            _round(bench)
        bench.pools[1].close()
        said = bench.repo.git.line(
            "for-each-ref", "--format=delete %(refname)", "refs/heads/stratum/bench-warm"
        )
        bench.pools[0].keep = 0
        bench.pools[0].tidy()
        bench.repo.git.run("update-ref", "--stdin", stdin=f"{said}\n".encode())
    return {name: round(statistics.median(row), 3) for name, row in bench.rows.items()}


def _round(bench: Bench) -> None:
    by_git = bench.timed("add_git_ms", lambda: _git(bench, "add", "--detach"))
    _git(bench, "remove", "--force")
    bench.given_back(background=False)
    held: list[Slot] = []
    took = bench.timed("lease_warm_dirty_ms", lambda: held.append(bench.take()))
    bench.pools[0].release(held.pop())
    slot = bench.given_back(background=True)
    begun = time.perf_counter()
    while not (isinstance(record := read_record(slot.path), Vacant) and record.ready):
        time.sleep(0.001)
    bench.rows["cleaned_in_background_ms"].append((time.perf_counter() - begun) * 1000)
    ready = bench.timed("lease_warm_ready_ms", lambda: held.append(bench.take()))
    bench.pools[0].release(held.pop())
    (bench.place / "one").mkdir()
    bench.timed("rename_ms", lambda: (bench.place / "one").rename(bench.place / "two"))
    (bench.place / "two").rmdir()
    bench.rows["lease_warm_dirty_ratio"].append(took / by_git)
    bench.rows["lease_warm_ready_ratio"].append(ready / by_git)


def _git(bench: Bench, *words: str) -> None:
    place = str(bench.place / "by-git")
    subprocess.run(["git", "worktree", *words, place], cwd=bench.repo.root, check=True, capture_output=True)


def main() -> None:
    """Prints the figures as JSON."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("repository", type=Path)
    asked.add_argument("--rounds", type=int, default=5)
    options = asked.parse_args()
    print(json.dumps(measure(options.repository.resolve(), options.rounds), indent=1))


if __name__ == "__main__":
    main()
