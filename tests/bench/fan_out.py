"""A fan-out from the first process to the last, beside others who can do it, in turn:

    .venv/bin/python -m tests.bench.fan_out REPOSITORY [--tasks N] [--rounds N]

Every task is a small program that changes four files and makes one, eight at a time, and all of it ends up
in the checkout of one branch. The ways:

* ``ours``: ``stratum-git run``, everything it promises included
* ``loop``: a shell loop of ``git worktree add``, commit, merge in the checkout, ``git worktree remove``
* ``parallel``: the same with GNU parallel for all but the merges; without it ``xargs`` stands in for it
* ``stratum_mcp``: the executor of stratum-mcp 0.2.114 with a stand-in for its agent, and a client that
  commits the diffs it answers with (``mcp_peer.py``)

Each has a clone of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench import mcp_peer, repositories, suite
from tests.bench.rounds import Samples, Took, Way, alternate, rounded, started

AT_ONCE = 8
TOUCHED = 4
TASKS = {1_000: 16, 10_000: 8, 50_000: 8}
"""Up to how many files how many tasks; four beyond."""
MOST_ROUNDS = 2
SMALL, LARGE = 1_000, 50_000
MANY = 1000
"""Tasks of the run whose memory is measured."""

SPEC = f"""\
version: "0.4"
flows:
  main:
    input: {{tasks: {{type: array}}}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {{task.id}}"
        max_concurrent: {AT_ONCE}
"""

AGENT = """\
#!/bin/sh
while read -r path; do
    mkdir -p "$(dirname "$path")"
    echo "by $STRATUM_TASK" >> "$path"
done < "$LISTS/$STRATUM_TASK"
"""

ADD = """\
# Git's own races: who comes second tries again.
until git worktree add -q -b "$1" "../$1" main 2>/dev/null; do
    git branch -qD "$1" 2>/dev/null || sleep 0.05
done
cd "../$1" && STRATUM_TASK="$1" ../agent && git add -A && git commit -qm "$1"
"""
LOOP = """\
set -e
for name in $(cat "$1"); do
    sh ../add.sh "$name"
    git merge -q --no-edit "$name"
    git worktree remove "../$name"
done
"""
SPREAD = """\
set -e
if [ "$2" = parallel ]; then
    parallel --will-cite -j 8 sh ../add.sh < "$1"
else
    xargs -P 8 -n 1 sh ../add.sh < "$1"
fi
for name in $(cat "$1"); do git merge -q --no-edit "$name"; done
if [ "$2" = parallel ]; then
    parallel --will-cite -j 8 git worktree remove ../{} < "$1"
else
    xargs -P 8 -I {} git worktree remove ../{} < "$1"
fi
"""

CHILD = """\
import sys
from stratum_git.cli.main import main
from stratum_git.git.process import processes_started
code = main(sys.argv[1:])
print("FIGURES", processes_started())
sys.exit(code)
"""
BARE = (sys.executable, "-c", "import trio")


@dataclass
class Place:
    """A clone in which one way does its tasks; no two of all its rounds touch the same file."""

    root: Path
    paths: list[str]
    environment: dict[str, str]
    tasks: int
    done: int = field(default=0)

    @property
    def repo(self) -> Path:
        """Returns the clone."""
        return self.root / "repo"

    def names(self) -> list[str]:
        """Returns the names of the next tasks, whose files are noted for the agent."""
        found = []
        for _ in range(self.tasks):
            name, first = f"t{self.done}", self.done * TOUCHED % (len(self.paths) - TOUCHED)
            made = f"made/{self.done // 20}/{name}.txt"
            rows = [*self.paths[first : first + TOUCHED], made]
            (self.root / "lists" / name).write_text("".join(f"{row}\n" for row in rows))
            self.done += 1
            found.append(name)
        return found

    def check(self) -> None:
        """Raises SystemExit where something did not land."""
        made = repositories.git(self.repo, "ls-tree", "-r", "--name-only", "HEAD", "made").splitlines()
        left = repositories.git(self.repo, "status", "--porcelain")
        if len(made) != self.done or left:
            raise SystemExit(
                f"{self.root.name}: {len(made)} of {self.done} landed; the checkout has {left!r}"
            )


def measure(repository: Path, rounds: int) -> dict[str, Any]:
    """Returns milliseconds a task of each way, our ratios to them, git processes, and memory in MiB."""
    with tempfile.TemporaryDirectory(prefix="bench-fan-out-", ignore_cleanup_errors=True) as folder:
        ours, places, ways, missing = _ways(Path(folder).resolve(), repository)
        large = len(ours.paths) > LARGE
        samples = alternate(ways, 1 if large else rounds, warm=int(len(ours.paths) < SMALL))
        for place in places:
            place.check()
        figures = _figures(samples, ours)
    return figures | ({"not_measured": missing} if missing else {})


def _ways(top: Path, repository: Path) -> tuple[Place, list[Place], dict[str, Way], str]:
    spread = "parallel" if shutil.which("parallel") else "xargs"
    peer, missing = mcp_peer.found()
    names = ("ours", "loop", spread, *(("stratum_mcp",) if peer is not None else ()))
    places = {name: _place(top / name, repository) for name in names}
    ways: dict[str, Way] = {
        "ours": lambda: _ours(places["ours"]),
        "loop": lambda: _shell(places["loop"], "loop.sh"),
        spread: lambda: _shell(places[spread], "spread.sh", spread),
    }
    if peer is not None:
        ways["stratum_mcp"] = lambda: _peer(places["stratum_mcp"], peer)
    return places["ours"], list(places.values()), ways, missing


def _place(root: Path, repository: Path) -> Place:
    (root / "lists").mkdir(parents=True)
    repositories.clone(repository, root / "repo")
    for name, text in (("agent", AGENT), ("add.sh", ADD), ("loop.sh", LOOP), ("spread.sh", SPREAD)):
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    (root / "spec.yaml").write_text(SPEC)
    (root / "home").mkdir()
    rows = repositories.git(root / "repo", "ls-files", "-s", "-z").split("\0")[:-1]
    plain = [row.partition("\t")[2] for row in rows if row.startswith("100644")]
    paths = [path for path in plain if path.endswith((".js", ".ts", ".py", ".java", ".md", ".txt"))] or plain
    tasks = next((count for most, count in TASKS.items() if len(rows) <= most), 4)
    environment = {**suite.environment(root / "home"), "LISTS": str(root / "lists")}
    (root / "home" / "tmp").mkdir()
    return Place(root, paths, environment, tasks)


def _ours(place: Place) -> Took:
    (place.root / "tasks.json").write_text(json.dumps([{"id": name} for name in place.names()]))
    agent = f"default={place.root / 'agent'}"
    words = ("run", "../spec.yaml", "--input", "tasks=@../tasks.json", "--agent", agent, "--quiet")
    return started((sys.executable, "-c", CHILD, *words), place.repo, place.environment)


def _shell(place: Place, script: str, *words: str) -> Took:
    (place.root / "names").write_text("".join(f"{name}\n" for name in place.names()))
    return started(("sh", f"../{script}", "../names", *words), place.repo, place.environment)


def _peer(place: Place, program: str) -> Took:
    words = (sys.executable, "-m", "tests.bench.mcp_peer", program, str(place.repo), *place.names())
    return started(words, suite.ROOT, place.environment)


def _figures(samples: Samples, ours: Place) -> dict[str, Any]:
    found: dict[str, Any] = {"tasks": ours.tasks, "at_once": AT_ONCE}
    for name, all_of in samples.of.items():
        times = [took.wall * 1000 / ours.tasks for took in all_of]
        found[f"{name}_task_ms"] = rounded(statistics.median(times))
        found[f"{name}_task_cpu_ms"] = rounded(samples.cpu_ms(name) / ours.tasks)
        found[f"{name}_peak_mib"] = samples.peak_mib(name)
        if name != "ours":
            found[f"ours_{name}_ratio"] = samples.ratio("ours", name)
    gits = [int(took.said.split(b"FIGURES")[1]) / ours.tasks for took in samples.of["ours"]]
    return found | {"ours_task_gits": rounded(statistics.median(gits))}


def memory(repository: Path) -> dict[str, float]:
    """Returns the peak of a run of very many tasks, beside an interpreter with trio alone, in MiB."""
    with _alone(repository) as place:
        place.tasks = MANY
        took = _ours(place)
        bare = started(BARE, place.repo, place.environment)
    return {
        "many_tasks": MANY,
        "many_tasks_s": rounded(took.wall),
        "many_tasks_peak_mib": rounded(took.peak / 1024),
        "trio_peak_mib": rounded(bare.peak / 1024),
    }


@contextmanager
def _alone(repository: Path) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="bench-many-", ignore_cleanup_errors=True) as folder:
        yield _place(Path(folder).resolve() / "ours", repository)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="only the memory of a run of 1,000 tasks")
    options = parser.parse_args()
    repository = options.repository.resolve()
    with tempfile.TemporaryDirectory() as home:
        peers = os.environ.get(mcp_peer.VARIABLE, "")
        os.environ.update({**suite.environment(Path(home)), mcp_peer.VARIABLE: peers})
        (Path(home) / "tmp").mkdir()
        tempfile.tempdir = None
        found = memory(repository) if options.memory else measure(repository, options.rounds)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
