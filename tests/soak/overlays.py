"""Overlay slots whose process is killed at any moment: what it said it wrote is found, nothing is left.

One process after the other takes slots at new and old commits, writes, says what it wrote, and gives some
back; it is killed while it does. Then everything is recovered, as the next run would, and looked at.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stratum_git.git.repository import head_of, open_repository
from stratum_git.slots.folders import StateFolders, state_folders
from stratum_git.slots.mounts import detach, mounted_in, take_off
from tests.slots.laid import Ground
from tests.slots.tenancy import git, take
from tests.support.repos import ScratchRepo

ROOT = Path(__file__).parents[2]
LONGEST = 0.7
"""Seconds that a process lives at most, from its first slot on."""
FILES = {f"dir{n % 7}/file{n}.txt": f"{n}\n" * n for n in range(200)}


@dataclass
class Found:
    """What came of it. ``lost`` is work that was written and not found; ``left`` what was not thrown away."""

    kills: int = 0
    slots: int = 0
    woken: int = 0
    lost: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Returns whether nothing was lost, left, or wrong."""
        return not (self.lost or self.left or self.notes)


def kill(count: int, place: Path, chance: random.Random) -> Found:
    """Kills *count* processes that are at work in a new repository below *place*."""
    scratch = ScratchRepo.make(place / "repo")
    scratch.commit("first", FILES)
    repo = open_repository(scratch.path)
    folders = state_folders(repo, place / "state")
    found = Found()
    try:
        for number in range(count):
            words = [
                sys.executable,
                "-m",
                "tests.soak.overlays",
                "--work",
                str(scratch.path),
                str(folders.root),
            ]
            process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.random() * LONGEST)
            process.kill()
            said = process.stdout.read().splitlines()
            process.wait()
            found.kills += 1
            if chance.random() < 1 / 4:
                # As after a restart of the machine, but for the disk.
                for path in mounted_in(folders.root):
                    take_off(path)
            if chance.random() < 1 / 3:
                scratch.commit(f"commit {number}", {f"dir{number % 7}/new{number}": f"{number}\n"})
            _recover(scratch, folders, said, found)
    finally:
        detach(folders.root)
    return found


def _recover(scratch: ScratchRepo, folders: StateFolders, said: list[str], found: Found) -> None:
    """Does what the next run does, and compares what it finds with what the dead one had said."""
    wrote: dict[str, str] = {}
    for line in said:
        what, _, rest = line.partition(" ")
        task, _, text = rest.partition(" ")
        if what == "wrote":
            wrote[task] = text
        elif what == "over":
            wrote.pop(task, None)
    ground = Ground(open_repository(scratch.path), folders)
    with ground.trees:
        for slot in ground.pool.recover("flow"):
            found.slots += 1
            found.woken += bool(mounted_in(slot.path))
            task = str(slot.occupant.task)
            text = (slot.path / "work.txt").read_text() if (slot.path / "work.txt").exists() else ""
            if wrote.pop(task, text) != text:
                found.lost.append(f"{task}: {text!r}")
            # Whoever reads what lies there finds the rest of it unchanged.
            if git(slot.path, "status", "--porcelain", "--untracked-files=all") not in {"", "?? work.txt"}:
                found.notes.append(f"{task}: {git(slot.path, 'status', '--porcelain')}")
            ground.pool.release(slot)
        found.lost += [f"{task}: no slot" for task in wrote]
        ground.pool.tidy()
        ground.pool.empty_trash(60, time.monotonic)
    found.left += map(str, mounted_in(folders.root))
    common = ground.repo.common_dir
    for folder in (
        folders.slots,
        folders.layers,
        folders.trash,
        common / "stratum/entries",
        common / "worktrees",
    ):
        found.left += map(str, folder.glob("*"))
    found.left += [str(p) for p in folders.bases.iterdir() if not (p / "base.json").exists()]
    found.notes += ground.told


def work(repository: Path, state: Path) -> None:
    """Takes slots until it is killed, and says what it wrote."""
    ground = Ground(open_repository(repository), StateFolders(state), background=True)
    base = head_of(ground.repo).oid
    print("begun", flush=True)
    number = 0
    while True:
        task = f"t{number}"
        if number % 6 == 5:
            # What nobody wanted yet: a base is made for it. Before, indexes are copied ahead.
            base = type(base)(git(repository, "commit-tree", "-p", base, "-m", task, f"{base}^{{tree}}"))
        slot = take(ground.pool, base, task)
        (slot.path / "work.txt").write_text(f"work of {task}")
        print(f"wrote {task} work of {task}", flush=True)
        if number % 2:
            # Its work counts as being on a ref from here on.
            print(f"over {task}", flush=True)
            ground.pool.release(slot)
        if number % 5 == 4:
            ground.pool.tidy()
        number += 1


def main() -> int:
    """Kills as many as it is told; prints what came of it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=60)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--work", nargs=2, type=Path)
    options = asked.parse_args()
    if options.work:
        work(*options.work)
    with tempfile.TemporaryDirectory(prefix="overlays-") as place:
        found = kill(options.count, Path(place), random.Random(options.seed))
    print(json.dumps({**asdict(found), "is_well": found.is_well}))
    return 0 if found.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
