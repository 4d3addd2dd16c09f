"""What a fan-out costs beside the work itself, measured; by hand: ``python -m tests.bench.fan_out``.

Prints three figures and what they are held against:

* seconds per task that does nothing, 50 of them 8 at a time, beside a shell loop of ``git worktree add``,
  commit, merge and ``git worktree remove``; both from their first process to their last, in turn, each on a
  fresh copy of one repository;
* git processes per task;
* peak memory of a run of 1,000 tasks, beside an interpreter that has imported trio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """\
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        max_concurrent: 8
"""

AGENT = """\
#!/bin/sh
echo x > "$STRATUM_TASK.txt"
"""

LOOP = """\
set -e
for i in $(seq $1); do
    git worktree add -q -b "wt-$i" "../wt-$i" main
    (cd "../wt-$i" && STRATUM_TASK="t$i" ../agent && git add -A && git commit -qm "t$i")
    git merge -q --no-edit "wt-$i"
    git worktree remove "../wt-$i"
done
"""

CHILD = """\
import resource, sys
from stratum_git.cli.main import main
from stratum_git.git.process import processes_started
code = main(sys.argv[1:])
print("FIGURES", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, processes_started())
sys.exit(code)
"""

BARE = "import resource, trio; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


class Place:
    """A scratch folder with a repository of twenty files, an agent, a spec and tasks."""

    def __init__(self, root: Path, tasks: int) -> None:
        self.root = root
        self.repo = root / "repo"
        self.environment = os.environ | {
            "XDG_STATE_HOME": str(root / "state"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": "bench@x"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        }
        self.repo.mkdir(parents=True)
        for number in range(20):
            (self.repo / f"file{number}").write_text(f"{number}\n" * 20)
        for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "first"]):
            subprocess.run(["git", *words], cwd=self.repo, env=self.environment, check=True)
        (root / "agent").write_text(AGENT)
        (root / "agent").chmod(0o755)
        (root / "spec.yaml").write_text(SPEC)
        (root / "tasks.json").write_text(json.dumps([{"id": f"t{n}"} for n in range(1, tasks + 1)]))
        (root / "loop.sh").write_text(LOOP)

    def run(self, *command: str) -> tuple[float, str]:
        """Returns the seconds that a command took, and what it printed."""
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=self.repo, env=self.environment, check=False, capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        if done.returncode != 0:
            raise SystemExit(f"{command} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return seconds, done.stdout

    def fan_out(self) -> tuple[float, int, int]:
        """Returns the seconds of a run, its peak memory in KiB and how many git processes it started."""
        agent = f"default={self.root / 'agent'}"
        words = ("run", "../spec.yaml", "--input", "tasks=@../tasks.json", "--agent", agent, "--quiet")
        seconds, said = self.run(sys.executable, "-c", CHILD, *words)
        peak, processes = map(int, said.split("FIGURES")[1].split())
        return seconds, peak, processes


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--many", type=int, default=1000, help="tasks of the run whose memory is measured")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ours, theirs, processes = [], [], 0
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            place = Place(Path(scratch) / f"ours-{number}", options.tasks)
            seconds, _, processes = place.fan_out()
            ours.append(seconds)
            place = Place(Path(scratch) / f"loop-{number}", options.tasks)
            theirs.append(place.run("sh", "../loop.sh", str(options.tasks))[0])
    mine, loop = (statistics.median(times) / options.tasks * 1000 for times in (ours, theirs))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"per task of {options.tasks}: {mine:.1f} ms; shell loop {loop:.1f} ms; ratio {ratio:.2f}")
    print(f"git processes per task: {processes / options.tasks:.1f} (to be at most 12)")
    if options.many:
        with tempfile.TemporaryDirectory() as scratch:
            place = Place(Path(scratch) / "many", options.many)
            seconds, peak, _ = place.fan_out()
            bare = int(place.run(sys.executable, "-c", BARE)[1])
        above = (peak - bare) / 1024
        print(f"{options.many} tasks: {seconds:.0f} s, peak {peak / 1024:.0f} MiB")
        print(f"that is {above:.0f} MiB above trio alone (to be at most 60)")


if __name__ == "__main__":
    main()
