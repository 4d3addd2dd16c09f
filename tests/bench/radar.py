"""What it costs to look at attempts while they are at work; by hand: ``python -m tests.bench.radar``.

Prints, for each size of repository, with 20 slots in which some files were changed and several collide:

* seconds of the first look at all of them, of one after which nothing had changed, of one where one slot had,
  and how many of those the matrix took: what is left was looking into slots;
* CPU seconds of each, gits included, and how many pairs were merged;
* the share of one core that is taken over ``--seconds``, while every slot is written to twice a second.

To be held against: the full matrix in less than a second, and never more than 5 % of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from stratum_git.dispatch.pace import Pace
from stratum_git.dispatch.sights import Matrix, Sight
from stratum_git.git.peek import Peeker
from stratum_git.git.repository import open_repository
from stratum_git.git.scratch import make_scratch
from stratum_git.git.tree_edit import edited
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid

SLOTS = 20
FOLDER = 20
CHANGED = 10
PACE = Pace()


def run(*args: str, cwd: Path) -> None:
    subprocess.run(args, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def make(root: Path, files: int) -> list[Path]:
    """Makes a repository and twenty worktrees of it, as agents leave them halfway."""
    repo = root / "repo"
    for number in range(files):
        path = repo / f"src/m{number // FOLDER % 50}/p{number // FOLDER}/f{number % FOLDER}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {number}\n" + "".join(f"x{line} = {line}\n" for line in range(60)))
    run("git", "init", "-q", "-b", "main", cwd=repo)
    run("git", "add", "-A", cwd=repo)
    run("git", "commit", "-qm", "first", cwd=repo)
    slots = []
    for number in range(SLOTS):
        slot = root / f"slot-{number}"
        run("git", "worktree", "add", "-q", "--detach", str(slot), cwd=repo)
        slots.append(slot)
    time.sleep(1.1)
    for number, slot in enumerate(slots):
        change(slot, number)
    return slots


def change(slot: Path, number: int, again: int = 0) -> None:
    """Changes files of a slot: ten of its own, one that all change in other lines, one that six want."""
    for at in range(CHANGED):
        path = slot / f"src/m{number}/p{number}/f{at}.py"
        path.write_text(path.read_text() + f"y = {again}\n")
    common = slot / "src/m49/p49/f0.py"
    lines = common.read_text().splitlines(keepends=True)
    lines[3 * number] = f"x = {number}, {again}\n"
    common.write_text("".join(lines))
    (slot / "new").mkdir(exist_ok=True)
    (slot / "new" / f"{number}.txt").write_text("new\n")
    if number < 6:
        (slot / "src/m48/p48/f0.py").write_text(f"{number}, {again}\n")


def seconds() -> float:
    """CPU seconds of this process and the gits that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


@dataclass
class Looker:
    """Looks at slots as the radar of a run does."""

    peekers: list[Peeker]
    trees: TreeReader
    matrix: Matrix
    sights: dict[int, Sight] = field(default_factory=dict)
    took: float = 0.0

    async def look(self) -> int:
        """Returns how many pairs collide."""
        limit = trio.CapacityLimiter(PACE.width)
        async with trio.open_nursery() as nursery:
            for index in range(len(self.peekers)):
                work = partial(self.peek, index)
                nursery.start_soon(partial(trio.to_thread.run_sync, work, limiter=limit))
        sights, begun = [self.sights[index] for index in sorted(self.sights)], time.perf_counter()
        found = len(await trio.to_thread.run_sync(lambda: self.matrix.look(sights, frozenset())))
        self.took = time.perf_counter() - begun
        return found

    def peek(self, index: int) -> None:
        peeker, known = self.peekers[index], self.sights.get(index)
        changes = peeker.look()
        if known is None or known.changes is not changes:
            base = self.trees.root(peeker.base)
            edits = {c.path: (c.new_mode, c.new) if c.status != "D" else None for c in changes.values()}
            tree = edited(self.trees, peeker.scratch.writer, base, edits)
            self.sights[index] = Sight(index, 1, base, tree, changes)


def measured(name: str, looker: Looker) -> dict[str, object]:
    before, merged, cpu = time.perf_counter(), looker.matrix.merged, seconds()
    pairs = trio.run(looker.look)
    return {
        "look": name,
        "seconds": round(time.perf_counter() - before, 3),
        "matrix": round(looker.took, 3),
        "cpu": round(seconds() - cpu, 3),
        "merged": looker.matrix.merged - merged,
        "collide": pairs,
    }


def share(looker: Looker, slots: list[Path], span: float) -> dict[str, object]:
    """Looks for so many seconds as the radar does, while a process of its own writes into every slot."""
    code = "import sys; from pathlib import Path; from tests.bench.radar import write; write(sys.argv[1:])"
    writer = subprocess.Popen([sys.executable, "-c", code, *map(str, slots)])
    begun, cpu, looks, longest = time.perf_counter(), seconds(), 0, 0.0
    try:
        while time.perf_counter() - begun < span:
            before, used = time.perf_counter(), seconds()
            trio.run(looker.look)
            took, cost = time.perf_counter() - before, seconds() - used
            looks, longest = looks + 1, max(longest, took)
            rest = max(PACE.least, cost / PACE.share - took)
            time.sleep(rest)
        used, took = seconds() - cpu, time.perf_counter() - begun
    finally:
        writer.kill()
        writer.wait()
    return {
        "share": round(used / took, 4),
        "in_a_row": looks,
        "over": round(took, 1),
        "longest": round(longest, 3),
    }


def write(slots: list[str]) -> None:
    """Changes every slot again and again, until it is killed."""
    again = 0
    while True:
        again += 1
        for number, slot in enumerate(map(Path, slots)):
            change(slot, number, again)
        time.sleep(0.5)


def bench(root: Path, files: int, span: float) -> dict[str, object]:
    slots = make(root, files)
    repo = open_repository(root / "repo")
    base = Oid(repo.git.line("rev-parse", "HEAD"))
    folder = root / "scratch"
    folder.mkdir()
    scratch = make_scratch(repo, folder)
    with TreeReader(repo) as trees:
        peekers = [
            Peeker(slot, base, scratch, trees, folder / f"index-{number}")
            for number, slot in enumerate(slots)
        ]
        looker = Looker(peekers, trees, Matrix(scratch))
        looks = [measured("first", looker), measured("nothing changed", looker)]
        change(slots[3], 3, 99)
        looks.append(measured("one changed", looker))
        return {"files": files, "slots": SLOTS, "looks": looks, **share(looker, slots, span)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, nargs="*", default=[5000, 25000])
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    who = {f"GIT_{one}_{two}": "bench@x" for one in ("AUTHOR", "COMMITTER") for two in ("NAME", "EMAIL")}
    os.environ |= {**who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for files in options.files:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(bench(Path(folder).resolve(), files, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
