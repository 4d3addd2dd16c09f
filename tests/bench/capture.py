"""What it costs to make a commit of what an agent left; by hand: ``python -m tests.bench.capture REPO``.

In each round the same five changed files and one new one are captured in a slot that is a checkout and in
one that is an overlay, beside ``git status`` and ``git add -A && git write-tree`` in the same checkout, in
turn. Medians in milliseconds, and ratios of medians; ``fresh`` is right after a checkout, when git reads
every file again. ``cpu`` are milliseconds of processor, gits included, which a busy machine changes less;
``least`` is the shortest. Counts are of git processes. Without overlays here, those rows are missing.

To be held against: an overlay under 15 ms at 25,000 files, elsewhere at most 1.3 of a ``git status``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from stratum_git.git.deregistration import unregister
from stratum_git.git.gathering import GatheringWriter
from stratum_git.git.layers import Layer
from stratum_git.git.objects import Signature
from stratum_git.git.process import processes_started
from stratum_git.git.registration import add_worktree
from stratum_git.git.repository import Repository, head_of, open_repository
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.tree_reader import TreeReader
from stratum_git.git.worktree import check_out, git_dir_of
from tests.support.overlays import make_ground, settle

CHANGED = 5
ME = Signature("Bench", "bench@x", 1_700_000_000.0)
STATUS = ("git", "status", "--porcelain")


class Bench:
    """A repository with a slot of each kind."""

    def __init__(self, repo: Repository, place: Path, stack: ExitStack) -> None:
        self.repo = repo
        self.base = head_of(repo).oid
        self.trees = stack.enter_context(TreeReader(repo))
        self.plain = place / "plain"
        add_worktree(repo, self.plain, base=self.base, reason="a bench")
        self.layered: tuple[Path, Layer] | None = None
        try:
            ground = make_ground(repo, place / "layered", self.base)
            self.layered = stack.enter_context(ground.slot("slot", "bench/o"))
        except pytest.skip.Exception:
            print("no overlay can be mounted here")
        listed = repo.git.run("ls-tree", "-r", "-z", "--name-only", self.base).stdout.split(b"\0")
        files = [os.fsdecode(row) for row in listed if row]
        self.files = files[:: max(1, len(files) // CHANGED)][:CHANGED]
        self.round = 0

    def reset(self) -> None:
        check_out(self.plain, self.base, None)
        subprocess.run(("git", "clean", "-qfdx"), cwd=self.plain, check=True)

    def change(self, slot: Path) -> None:
        self.round += 1
        for name in self.files:
            with (slot / name).open("a") as file:
                file.write(f"\nchange {self.round}\n")
        (slot / "new-file.txt").write_text(f"new {self.round}\n")

    def capture(self, slot: Path, layer: Layer | None) -> Captured:
        # As for an attempt: in a pack that is kept.
        writer = GatheringWriter(self.repo, durable=True)
        found = capture(
            slot, base=self.base, writer=writer, message="left\n", author=ME, committer=ME,
            trees=self.trees, layer=layer,
        )  # fmt: skip
        writer.sync()
        return found


def used() -> float:
    """Returns seconds of processor of this process and of the gits that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def timed(rows: dict[str, list[float]], name: str, work: Callable[[], object]) -> None:
    begun, cpu = time.perf_counter(), used()
    work()
    rows.setdefault(f"{name}_ms", []).append(1000 * (time.perf_counter() - begun))
    rows.setdefault(f"{name}_cpu_ms", []).append(1000 * (used() - cpu))


def added(slot: Path) -> None:
    """Does what git does of all this, with an index of its own."""
    own = git_dir_of(slot) / "index-bench"
    shutil.copy2(git_dir_of(slot) / "index", own)
    env = {**os.environ, "GIT_INDEX_FILE": str(own)}
    subprocess.run(("git", "add", "-A"), cwd=slot, check=True, env=env)
    subprocess.run(("git", "write-tree"), cwd=slot, check=True, env=env, stdout=subprocess.DEVNULL)
    own.unlink()


def status(slot: Path) -> None:
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    subprocess.run(STATUS, cwd=slot, check=True, env=env, stdout=subprocess.DEVNULL)


def measure(repository: Path, rounds: int) -> dict[str, float]:
    """Returns medians in ms and ratios by their names."""
    rows: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="capture-", dir=repository.parent))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        bench = Bench(open_repository(repository), place, stack)
        stack.callback(tidy, bench, place)
        for _ in range(rounds):
            for name in ("fresh", "warm"):
                bench.reset()
                if name == "warm":
                    settle(bench.plain)
                bench.change(bench.plain)
                keep = git_dir_of(bench.plain) / "index"
                before = keep.read_bytes(), keep.stat()
                timed(rows, f"capture_status_{name}", lambda: status(bench.plain))
                restore(keep, *before)
                timed(rows, f"capture_git_add_{name}", lambda: added(bench.plain))
                restore(keep, *before)
                started = processes_started()
                timed(rows, f"capture_plain_{name}", lambda: bench.capture(bench.plain, None))
                counts["capture_plain_gits"] = processes_started() - started
            if bench.layered is not None:
                capture_layered = partial(bench.capture, *bench.layered)
                bench.change(bench.layered[0])
                started = processes_started()
                timed(rows, "capture_overlay", capture_layered)
                counts["capture_overlay_gits"] = processes_started() - started
                timed(rows, "capture_overlay_same", capture_layered)
    found = {name: round(statistics.median(values), 2) for name, values in rows.items()}
    found |= {
        f"{name}_least": round(min(rows[name]), 2) for name in rows if name.startswith("capture_overlay")
    }
    for name in ("fresh", "warm"):
        for kind in ("ms", "cpu_ms"):
            ratio = found[f"capture_plain_{name}_{kind}"] / found[f"capture_status_{name}_{kind}"]
            found[f"capture_plain_{name}_to_status_{kind.removesuffix('ms')}ratio"] = round(ratio, 3)
    return {**found, **counts}


def restore(index: Path, data: bytes, facts: os.stat_result) -> None:
    """Makes an index what it was, for git also: what is as new as the index it reads again.

    It is flushed here: a disk with a journal would else write its megabytes when the capture flushes its own.
    """
    with index.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.utime(index, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def tidy(bench: Bench, place: Path) -> None:
    for slot in (bench.plain, place / "layered" / "base", place / "layered" / "slot"):
        unregister(bench.repo, slot)
    bench.repo.git.run("update-ref", "-d", "refs/heads/bench/o")


def synthetic(place: Path, files: int) -> Path:
    """Makes a repository of so many files in a sixteenth as many folders."""
    repo = place / "repo"
    subprocess.run(("git", "init", "-q", "-b", "main", str(repo)), check=True)
    rows = [b"commit refs/heads/main\ncommitter B <b@x> 1700000000 +0000\ndata 5\nfirst\n"]
    for number in range(files):
        text = b"".join(b"line %d of %d\n" % (line, number) for line in range(30))
        name = f"src/m{number // 800}/p{number // 16}/file-{number}.py".encode()
        rows.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(text), text))
    subprocess.run(("git", "fast-import", "--quiet"), cwd=repo, input=b"".join(rows), check=True)
    subprocess.run(("git", "reset", "-q", "--hard"), cwd=repo, check=True)
    return repo


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", type=Path, nargs="?")
    parser.add_argument("--files", type=int, default=25000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    who = {f"GIT_{one}_{two}": "bench@x" for one in ("AUTHOR", "COMMITTER") for two in ("NAME", "EMAIL")}
    os.environ |= {**who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    with tempfile.TemporaryDirectory() as folder:
        made = options.repository or synthetic(Path(folder), options.files)
        print(json.dumps(measure(made.resolve(), options.rounds), indent=1))


if __name__ == "__main__":
    main()
