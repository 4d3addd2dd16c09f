"""Measures a landing of results that touch different files, beside ``git merge`` of their branches:

    .venv/bin/python -m tests.bench.landing [--results 50] [--files 5000 25000] [--rounds 3] [--both]

Ours is the whole turn of a run from verified results to files in the user's checkout: the driver, with its
order, tests, merges, events and refs, all of it on the disk. Git's is one ``git merge`` in a checkout for
each branch, which flushes nothing. In turn, on clones of one repository. With ``--both`` every result also
changes another line of one file, so that none of them is plain. Prints a line of JSON for each size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import trio

from stratum_git.git.process import processes_started
from tests.support.landings import Edit, made_results, ready
from tests.support.repos import ScratchRepo

QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
WHO = (("user.name", "Bench"), ("user.email", "bench@x"), ("gc.auto", "0"))
WIDE = 20
"""Files in a folder."""
RESULTS = 50
SHARED, LINES = "shared.txt", 4000
_round = count()


def path_of(number: int) -> str:
    """Returns where file *number* is."""
    return f"part{number // (WIDE * WIDE)}/folder{number // WIDE}/file{number}.txt"


def make(place: Path, files: int) -> ScratchRepo:
    """Makes a repository of *files* files."""
    scratch = ScratchRepo.make(place, "--template=")
    told = [b"commit refs/heads/main\ncommitter B <b@x> 1700000000 +0000\ndata 4\nbase\n"]
    told += [_file(path_of(n), f"{n}\n" * 20) for n in range(files)]
    told.append(_file(SHARED, "".join(f"line {n}\n" for n in range(LINES))))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=place, input=b"".join(told), check=True)
    return scratch


def _file(path: str, content: str) -> bytes:
    return f"M 100644 inline {path}\ndata {len(content)}\n{content}\n".encode()


def cloned(source: Path, place: Path) -> ScratchRepo:
    """Returns a clone whose files do not look as if they had just been written."""
    subprocess.run(["git", "clone", "-q", "--shared", str(source), str(place)], check=True)
    clone = ScratchRepo(place)
    for key, value in WHO:
        clone.git("config", key, value)
    clone.git("checkout", "-q", "-B", "main")
    time.sleep(1.1)
    clone.git("update-index", "-q", "--refresh")
    return clone


def edits_of(paths: list[str], results: int, *, both: bool) -> list[dict[str, Edit]]:
    """Returns for each result two files to change that no other one does, and a new one beside them."""
    mark, apart = f"round {next(_round)}, {time.time()}\n".encode(), len(paths) // results
    found: list[dict[str, Edit]] = []
    for number in range(results):
        one, two = paths[number * apart], paths[number * apart + apart // 2]
        edits: dict[str, Edit] = {one: b"changed, " + mark, two: b"changed, too, " + mark}
        edits[f"{one.rpartition('/')[0]}/new{number}.txt".lstrip("/")] = mark
        if both:
            lines = [f"line {n}\n".encode() for n in range(LINES)]
            lines[number * LINES // results] = b"by %d, " % number + mark
            edits[SHARED] = b"".join(lines)
        found.append(edits)
    return found


def land(clone: ScratchRepo, base: str, edits: list[dict[str, Edit]]) -> tuple[float, int]:
    """Lands the results; returns the seconds and how many git processes that took."""
    oids = made_results(clone.path, base, edits, "r")

    async def turn() -> tuple[float, int]:
        coming = ready(clone, base, oids)
        began, before = time.monotonic(), processes_started()
        state = await coming.land()
        took = time.monotonic() - began
        if state.status != "complete":
            raise SystemExit(f"the flow is {state.status}")
        return took, processes_started() - before

    return trio.run(turn)


def merge_all(clone: ScratchRepo, base: str, edits: list[dict[str, Edit]]) -> float:
    """Merges the same results with git, one by one."""
    oids = made_results(clone.path, base, edits, "r")
    began = time.monotonic()
    for oid in oids:
        clone.git("merge", "-q", "--no-edit", "--no-ff", oid)
    return time.monotonic() - began


def compared(source: Path, rounds: int, results: int, *, both: bool = False) -> dict[str, float | int]:
    """Measures both in turn on clones of a repository; the trees have to be the same."""
    ours, theirs, processes = [], [], 0
    with _scratch() as scratch:
        mine, other = (cloned(source, scratch / who) for who in ("ours", "git"))
        base, paths = mine.head(), mine.files()
        # Git's own look and ours are warm.
        for number in range(rounds):
            edits = edits_of([path for path in paths if path != SHARED], results, both=both)
            for turn in (0, 1) if number % 2 else (1, 0):
                if turn:
                    seconds, processes = land(mine, base, edits)
                    ours.append(seconds)
                else:
                    theirs.append(merge_all(other, base, edits))
            if len({clone.git("rev-parse", "main^{tree}") for clone in (mine, other)}) != 1:
                raise SystemExit("the trees differ")
            if mine.git("status", "--porcelain"):
                raise SystemExit("the checkout did not follow")
            for clone in (mine, other):
                clone.git("reset", "-q", "--hard", base)
            time.sleep(1.1)
            mine.git("update-index", "-q", "--refresh")
    took, merging = statistics.median(ours), statistics.median(theirs)
    return {
        "results": results,
        "files": len(paths),
        "landing_ms": round(took * 1000, 1),
        "landing_per_result_ms": round(took * 1000 / results, 2),
        "git_merge_per_result_ms": round(merging * 1000 / results, 2),
        "landing_ratio": round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 1),
        "landing_gits": processes,
    }


@contextmanager
def _scratch() -> Iterator[Path]:
    """Gives a folder for repositories and for our own state."""
    with tempfile.TemporaryDirectory(prefix="landing-") as name:
        before = {key: os.environ.get(key) for key in ("XDG_STATE_HOME", *QUIET)}
        os.environ.update({"XDG_STATE_HOME": f"{name}/state", **QUIET})
        try:
            yield Path(name)
        finally:
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value


def measure(repository: Path, rounds: int) -> dict[str, float | int]:
    """Measures 50 results on the commit that *repository* has checked out."""
    return compared(repository, rounds, RESULTS)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=RESULTS)
    parser.add_argument("--files", type=int, nargs="+", default=[5000, 25000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--both", action="store_true", help="let every result change one file as well")
    options = parser.parse_args()
    with _scratch() as scratch:
        for files in options.files:
            source = make(scratch / f"source{files}", files)
            found = compared(source.path, options.rounds, options.results, both=options.both)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
