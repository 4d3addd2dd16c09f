"""The git work of one task, end to end, beside the plain git commands for the same: a lease, five changed
files, a commit, a merge, three records, a release.

    .venv/bin/python -m tests.bench.task REPOSITORY [--rounds N]

Ours is the dispatcher itself with an agent that starts no process, one task after another: slot, capture,
judgement, events, landing, release. A flow of many tasks is held against one of few, so that what a flow
costs once (its start, and the checkout that follows at the end) is told by itself. Git's is a shell's way: a
worktree is added, its files are committed there, the branch is merged in a checkout, three notes are made
with ``hash-object``, ``mktree``, ``commit-tree`` and ``update-ref``, the worktree is removed.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.git.process import processes_started
from stratum_git.model.ids import Json
from tests.bench import repositories, suite
from tests.bench.rounds import rounded
from tests.support.flows import Stage, dispatch_spec
from tests.support.repos import ScratchRepo

FEW, MANY = 2, 22
PLAIN: Mapping[int, int] = {1_000: 10, 10_000: 5, 50_000: 3}
"""Up to how many files how many tasks are done by plain git in a round; one beyond."""
TOUCHED = 4
"""Files that a task changes, beside the one that it makes."""
NOTES = 3
MOST_ROUNDS = 5


@dataclass
class Work:
    """A clone in which tasks are done, no two of which touch the same file."""

    at: Path
    paths: list[str]
    done: int = field(default=0)

    def changes(self) -> dict[str, bytes]:
        """Returns the files of the next task."""
        first = self.done * TOUCHED % (len(self.paths) - TOUCHED)
        self.done += 1
        text = f"task {self.done}\n".encode() * 40
        made = {f"made/by-{self.done // 50}/task-{self.done}.txt": text}
        return dict.fromkeys(self.paths[first : first + TOUCHED], text) | made


def measure(repository: Path, rounds: int) -> dict[str, Any]:
    """Returns milliseconds for each task, ours and plain git's, the ratio, and git processes."""
    with _clone(repository) as work:
        # What is made once for a repository, and what lies in caches afterwards, is not in a task.
        _flow(work, FEW)
        _plain(work, 1)
        ours, flows, theirs, gits, plain_gits = [], [], [], 0.0, 0.0
        for _ in range(rounds):
            few, few_gits = _flow(work, FEW)
            many, many_gits = _flow(work, MANY)
            ours.append(max(many - few, 0.0) / (MANY - FEW) * 1000)
            flows.append(max(few * 1000 - FEW * ours[-1], 0.0))
            gits = (many_gits - few_gits) / (MANY - FEW)
            count = next((tasks for most, tasks in PLAIN.items() if len(work.paths) <= most), 1)
            seconds, plain_gits = _plain(work, count)
            theirs.append(seconds / count * 1000)
        _check(work)
    return {
        "task_ms": _told(ours),
        "plain_task_ms": _told(theirs),
        "task_ratio": rounded(statistics.median(a / b for a, b in zip(ours, theirs, strict=True))),
        "flow_ms": _told(flows),
        "task_gits": round(gits, 2),
        "plain_task_gits": plain_gits,
    }


@contextmanager
def _clone(repository: Path) -> Iterator[Work]:
    place = Path(tempfile.mkdtemp(prefix="bench-task-")).resolve()
    try:
        at = place / "repo"
        repositories.clone(repository, at)
        rows = repositories.git(at, "ls-files", "-s", "-z").split("\0")[:-1]
        plain = [row.partition("\t")[2] for row in rows if row.startswith("100644")]
        yield Work(at, [path for path in plain if not path.rpartition("/")[2].startswith(".git")])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _flow(work: Work, tasks: int) -> tuple[float, int]:
    """Returns the seconds and the git processes of a flow with so many tasks, one at a time."""
    stage = Stage(ScratchRepo(work.at))
    ids: list[Json] = [{"id": f"t{work.done + number}"} for number in range(tasks)]

    def play(_: Assignment) -> Script:
        return Script(files=work.changes())

    began, before = time.perf_counter(), processes_started()
    state = trio.run(functools.partial(stage.play, dispatch_spec(max_concurrent=1), play, ids))
    took = time.perf_counter() - began
    if state.status != "complete":
        raise SystemExit(f"the flow ended as {state.status}")
    return took, processes_started() - before


def _plain(work: Work, tasks: int) -> tuple[float, float]:
    """Returns the seconds of so many tasks by plain git, and the git processes for each."""
    began, gits = time.perf_counter(), 0

    def git(*words: str, at: Path = work.at, given: bytes = b"") -> str:
        nonlocal gits
        gits += 1
        done = subprocess.run(["git", *words], cwd=at, input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    for _ in range(tasks):
        name = f"plain-{work.done}"
        place = work.at.parent / name
        git("worktree", "add", "-q", "-b", name, str(place), repositories.BRANCH)
        for path, content in work.changes().items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(content)
        git("add", "-A", at=place)
        git("commit", "-q", "-m", name, at=place)
        git("merge", "-q", "--no-ff", "--no-edit", name)
        for number in range(NOTES):
            blob = git("hash-object", "-w", "--stdin", given=b"{}\n" * 700 + b"%d" % number)
            tree = git("mktree", given=f"100644 blob {blob}\tstate.json\n".encode())
            git("update-ref", f"refs/notes/{name}", git("commit-tree", "-m", "note", tree))
        git("worktree", "remove", "--force", str(place))
    return time.perf_counter() - began, gits / tasks


def _check(work: Work) -> None:
    """Raises SystemExit where a file of a task did not land."""
    made = repositories.git(work.at, "ls-tree", "-r", "--name-only", "HEAD", "made").splitlines()
    left = repositories.git(work.at, "status", "--porcelain")
    if len(made) != work.done or left:
        raise SystemExit(f"{work.done} tasks were done, {len(made)} landed; the checkout has: {left}")


def _told(times: list[float]) -> dict[str, float]:
    found = {"median": statistics.median(times), "min": min(times), "max": max(times)}
    return {name: rounded(value) for name, value in found.items()} | {"rounds": len(times)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(suite.environment(Path(home)))
        (Path(home) / "tmp").mkdir()
        tempfile.tempdir = None
        print(json.dumps(measure(options.repository.resolve(), options.rounds), indent=1))


if __name__ == "__main__":
    main()
