"""The user's own git at work in the middle of a run: gc, prune, repack, pack-refs, reflog expire.

    python -m tests.soak.users_git [--count N]

Runs of many tasks, one after another, beside a loop of these. Each run has to land everything, and the
repository has to be sound in the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle

from tests.soak.ledger import in_scratch
from tests.support.shell import Shell

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("gc", "-q", "--prune=now"),
    ("prune", "--expire=now"),
    ("pack-refs", "--all", "--prune"),
    ("worktree", "prune", "--expire=now"),
    ("repack", "-adq"),
    ("reflog", "expire", "--expire=now", "--all"),
    ("maintenance", "run", "--quiet"),
)
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
        task_retries: 1
        max_concurrent: 4
"""
AGENT = """\
[ "$STRATUM_ATTEMPT" = 2 ] || [ "$STRATUM_TASK" != t3 ] || exit 1
echo "$STRATUM_FLOW $STRATUM_TASK" > "$STRATUM_TASK.txt"
"""


def play(shell: Shell, runs: int, tasks: int, commands: Sequence[tuple[str, ...]] = COMMANDS) -> list[str]:
    """Runs flows beside the user's git and returns what went wrong, in words."""
    wrong: list[str] = []
    shell.repo.commit("first", {"a.txt": "a\n"})
    rows = [{"id": f"t{n}", "depends_on": [f"t{n - 4}"] if n > 4 else []} for n in range(tasks)]
    words = ("run", shell.spec(SPEC), shell.tasks(*rows), shell.agent(AGENT), "--quiet")  # type: ignore[arg-type]
    with working(shell, commands) as done:
        for number in range(runs):
            before = set(shell.flows())
            said = shell.run(*words, "--target", f"run-{number}", timeout=300)
            if said.code != 0:
                wrong.append(f"run {number}: {said.code} {said.out} {said.err}")
                continue
            (flow,) = set(shell.flows()) - before
            landed = shell.repo.files(f"run-{number}")
            wrong += [f"{flow}: t{n} is missing" for n in range(tasks) if f"t{n}.txt" not in landed]
    wrong += [f"fsck: {line}" for line in sound(shell)]
    print(f"{done[0]} times git, {len(wrong)} wrong", file=sys.stderr)
    return wrong


@contextmanager
def working(shell: Shell, commands: Sequence[tuple[str, ...]]) -> Iterator[list[int]]:
    """Runs the user's git again and again meanwhile; gives how often."""
    is_over, done = threading.Event(), [0]

    def work() -> None:
        for command in cycle(commands):
            if is_over.is_set():
                return
            subprocess.run(["git", *command], cwd=shell.repo.path, capture_output=True, check=False)
            done[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        is_over.set()
        thread.join()


def sound(shell: Shell) -> list[str]:
    """Returns what git says is wrong with the repository."""
    done = subprocess.run(
        ["git", "fsck", "--no-dangling", "--connectivity-only"],
        cwd=shell.repo.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def main() -> int:
    """Plays it for as many runs as are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50)
    count, begun = parser.parse_args().count, time.monotonic()
    wrong = in_scratch(lambda shell: play(shell, count, 16))
    for what in wrong:
        print(what, file=sys.stderr)
    row = {"what": "runs beside the user's git", "runs": count, "tasks": 16 * count, "wrong": len(wrong)}
    print(json.dumps({**row, "seconds": round(time.monotonic() - begun, 1)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
