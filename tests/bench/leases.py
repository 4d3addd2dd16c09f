"""What it costs to take a slot and to give it back; by hand: ``python -m tests.bench.leases REPOSITORY``.

In each round one slot of each kind is taken and given back, in turn with ``git worktree add --detach`` and
``git worktree remove`` of a checkout: an overlay, a checkout made anew, and a kept one that is taken again.
Figures are medians in milliseconds; ``_ratio`` is what git took, divided by ours, in the same round (median).
``gits`` is exact. ``gone`` is what a release leaves to a thread, as in a run: to unmount, and to move what
changed away. What is thrown away is deleted between the measurements.

To be held against: an overlay under 10 ms and at least 100 times less than git's, a checkout made anew at
most 1.05 times git's, one taken again 0.3 times; and no release slower than one rename.
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

from stratum_git.git.process import Git, processes_started
from stratum_git.git.refs import RefSession
from stratum_git.git.repository import Repository, head_of, open_repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.bases import Bases
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import Ladder
from stratum_git.slots.mounts import detach
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.registry import registry_of
from stratum_git.slots.rungs.overlay import Overlay
from stratum_git.slots.rungs.plain import Cold
from stratum_git.slots.slot import Slot


class Bench:
    """Pools of one repository, a kind of slot in each."""

    def __init__(self, repo: Repository, folders: StateFolders, stack: ExitStack) -> None:
        self.repo, self.folders, self.base = repo, folders, head_of(repo).oid
        self.rows: dict[str, list[float]] = defaultdict(list)
        self.told: list[str] = []
        self.number = 0
        trees = stack.enter_context(TreeReader(repo))
        refs = stack.enter_context(RefSession(repo, "bench", durable=False))
        registry = registry_of(repo, folders)
        self.bases = Bases(repo, folders, trees)
        cold, laid = Cold(registry, folders.trash, trees), Overlay(registry, folders, self.bases, trees=trees)
        self.overlay = SlotPool(
            repo, folders, refs=refs, trees=trees, ladder=Ladder((laid, cold), warm=1), tell=self.told.append,
            background=True,
        )  # fmt: skip
        self.cold = SlotPool(repo, folders, keep=0, refs=refs, trees=trees, ladder=Ladder((cold,)))
        # Apart: any pool with the same folders would take the slot that is kept.
        kept = StateFolders(folders.root.with_name("kept"))
        again = Cold(registry_of(repo, kept), kept.trash, trees)
        self.warm = SlotPool(repo, kept, keep=1, refs=refs, trees=trees, ladder=Ladder((again,)))

    def take(self, pool: SlotPool, base: Oid) -> Slot:
        self.number += 1
        who = Occupant("bench", "step", f"t{self.number}", 1)
        branch = RefName(f"refs/heads/stratum/bench/t{self.number}")
        return pool.acquire(base=base, branch=branch, occupant=who, isolation="worktree")

    def timed(self, name: str, work: Callable[[], object]) -> float:
        begun = time.perf_counter()
        work()
        self.rows[name].append((time.perf_counter() - begun) * 1000)
        return self.rows[name][-1]

    def lease(self, name: str, pool: SlotPool, base: Oid) -> float:
        """Takes a slot, has git look at it, gives it back; returns what taking it took."""
        held: list[Slot] = []
        took = self.timed(f"lease_{name}_ms", lambda: held.append(self.take(pool, base)))
        self.timed(f"status_{name}_ms", lambda: Git(held[0].path).run("status", "--porcelain"))
        self.timed(f"release_{name}_ms", lambda: pool.release(held[0]))
        self.timed(f"gone_{name}_ms", self.until_gone)
        self.tidied()
        return took

    def until_gone(self) -> None:
        """Waits until a thread has thrown away what was given back."""
        while any(self.folders.layers.iterdir()):
            time.sleep(0.0002)

    def tidied(self) -> None:
        while not self.overlay.empty_trash(60, time.monotonic):
            pass

    def git(self) -> float:
        """Makes and removes a worktree as one would by hand; returns what making it took."""
        place = self.folders.slots / "by-git"
        took = self.timed("add_git_ms", lambda: self.by_git("add", "--detach", str(place)))
        self.timed("remove_git_ms", lambda: self.by_git("remove", "--force", str(place)))
        return took

    def by_git(self, *words: str) -> None:
        subprocess.run(["git", "worktree", *words], cwd=self.repo.root, check=True, capture_output=True)

    def renamed(self) -> None:
        """Measures what the release of any slot is held against: one rename of a folder."""
        (self.folders.slots / "one").mkdir()
        other = self.folders.trash / "other"
        self.timed("rename_ms", lambda: (self.folders.slots / "one").rename(other))
        other.rmdir()

    def next_commit(self) -> Oid:
        """Returns a commit that nobody had a slot at: twenty files of HEAD are others.

        None of them are attributes: who changes those may change every file of a checkout.
        """
        listed = self.repo.git.run("ls-tree", "-r", "-z", self.base).stdout.split(b"\0")[:-1]
        rows = [row for row in listed if not row.endswith(b".gitattributes")]
        some = rows[:: max(1, len(rows) // 20)][:20]
        blob = self.repo.git.run("hash-object", "-w", "--stdin", stdin=b"%d\n" % self.number).stdout.strip()
        lines = [b" ".join((row.split(b" ")[0], blob, b"0\t" + row.partition(b"\t")[2])) for row in some]
        with tempfile.TemporaryDirectory() as place:
            env = {"GIT_INDEX_FILE": f"{place}/index"}
            self.repo.git.run("read-tree", self.base, env=env)
            self.repo.git.run("update-index", "-z", "--index-info", stdin=b"\0".join(lines), env=env)
            tree = self.repo.git.run("write-tree", env=env).stdout.decode().strip()
        return Oid(
            self.repo.git.run("commit-tree", "-p", self.base, "-m", "next", tree).stdout.decode().strip()
        )


def measure(repository: Path, rounds: int) -> dict[str, float]:
    """Returns the figures; the slots lie in a folder beside the repository, which is gone at the end."""
    repo = open_repository(repository)
    place = Path(tempfile.mkdtemp(prefix="leases-", dir=repository.parent))
    folders = StateFolders(place / "state")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        stack.callback(detach, place)
        bench = Bench(repo, folders, stack)
        stack.callback(lambda: SlotPool(repo, bench.warm.folders, keep=0).tidy())
        stack.callback(bench.overlay.close)
        bench.timed("first_overlay_ms", lambda: bench.overlay.release(bench.take(bench.overlay, bench.base)))
        bench.warm.release(bench.take(bench.warm, bench.base))
        # Until an index of the same second would have git read each file again.
        time.sleep(3)
        for _ in range(rounds):
            _round(bench)
        figures = {name: round(statistics.median(row), 3) for name, row in bench.rows.items()}
        figures |= _counts(bench)
        bench.overlay.keep = 0
        bench.overlay.tidy()
        stale = [ref for ref in _branches(repo) if ref]
        repo.git.run("update-ref", "--stdin", stdin="".join(f"delete {ref}\n" for ref in stale).encode())
    if bench.told:
        raise RuntimeError(bench.told[0])
    return figures


def _round(bench: Bench) -> None:
    for _ in range(2):
        # The index of a commit is copied ahead once two slots in a row were at it.
        bench.lease("overlay_after_another", bench.overlay, bench.base)
    # Agents work in between: nobody takes a slot in the moment in which another one is given back.
    time.sleep(0.1)
    ours = bench.lease("overlay", bench.overlay, bench.base)
    by_git = bench.git()
    bench.lease("overlay_at_new_commit", bench.overlay, bench.next_commit())
    cold = bench.lease("cold", bench.cold, bench.base)
    warm = bench.lease("warm", bench.warm, bench.base)
    bench.renamed()
    for name, took in (("overlay", ours), ("cold", cold), ("warm", warm)):
        bench.rows[f"lease_{name}_ratio"].append(by_git / took)


def _counts(bench: Bench) -> dict[str, float]:
    before = processes_started()
    slot = bench.take(bench.overlay, bench.base)
    taken = processes_started()
    bench.overlay.release(slot)
    return {"lease_overlay_gits": taken - before, "release_overlay_gits": processes_started() - taken}


def _branches(repo: Repository) -> list[str]:
    return repo.git.line("for-each-ref", "--format=%(refname)", "refs/heads/stratum/bench").split("\n")


def main() -> None:
    """Prints the figures as JSON."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("repository", type=Path)
    asked.add_argument("--rounds", type=int, default=5)
    options = asked.parse_args()
    print(json.dumps(measure(options.repository.resolve(), options.rounds), indent=1))


if __name__ == "__main__":
    main()
