"""Kills runs of a user who is not root, whose slots only the run sees: at random instants, again and again.

``python -m tests.soak.private [--count N] [--seed S]``

Agents write words into their slots, and then note them elsewhere. In the end each word is in some commit,
every task has landed, and no process, mount or layer is left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.model.ids import Json
from tests.support.commoner import Commoner, commoner

TASKS = 20
AGENT = """
n=0
for wait in 0.05 0.1 0.2; do
  n=$((n + 1))
  word=$STRATUM_TASK-$STRATUM_ATTEMPT-$n-$$
  echo $word >> work-$STRATUM_TASK
  echo $word >> LEDGER/$STRATUM_TASK
  [ $n != 2 ] || git add -A
  sleep $wait
done
rm -rf dir && mkdir dir && echo $STRATUM_TASK > dir/only-$STRATUM_TASK
stat -f -c %T . >> LEDGER/kinds
"""
WHOM = ("runner", "runner", "everybody", "starter", "runner and starter")
END = 90.0


@dataclass
class Figures:
    """What came of it."""

    kills: int = 0
    words: int = 0
    lost: list[str] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    private: int = 0


def rampage(count: int, seed: int, tasks: int = TASKS) -> Figures:
    """Kills runs until there were *count* kills, lets the last one go on to its end, and looks."""
    chance, figures = random.Random(seed), Figures()
    with commoner() as user:
        while figures.kills < count:
            _scene(user, chance, figures, count, tasks)
    return figures


def _scene(user: Commoner, chance: random.Random, figures: Figures, count: int, tasks: int) -> None:
    ledger = user.home / f"ledger-{figures.kills}"
    user.do("mkdir", "-p", str(ledger))
    agent = user.agent(AGENT.replace("LEDGER", str(ledger)))
    graph: list[Json] = [{"id": f"t{number}"} for number in range(tasks)]
    given = user.tasks(*graph)
    known = set(user.flows())
    process = user.start("run", user.spec(), given, agent, "--quiet")
    flow = ""
    for _ in range(min(8, count - figures.kills)):
        _kill_later(process, user, chance, ledger)
        figures.kills += 1
        flow = flow or next(iter(set(user.flows()) - known), "")
        words = ("resume", flow) if flow else ("run", user.spec(), given)
        process = user.start(*words, agent, "--quiet")
    said = process.communicate(timeout=END)
    flow = flow or next(iter(set(user.flows()) - known))
    # It may have come to its end before the last kill.
    if process.returncode not in {0, 2} or _status(user, flow) != "complete":
        figures.unlike.append(f"{process.returncode}: {said}")
    _look(user, ledger, tasks, figures)


def _kill_later(process: subprocess.Popen[str], user: Commoner, chance: random.Random, ledger: Path) -> None:
    # Most while agents are at work; it takes a while to begin, or to take up, a flow.
    begun, deadline = _size(ledger), time.monotonic() + chance.choice((1.0, 20.0, 20.0, 20.0))
    while _size(ledger) == begun and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(chance.random())
    whom, own = chance.choice(WHOM), process.pid
    starters = [pid for pid in user.processes() if b"server.py" in _words(pid)]
    victims = {
        "runner": [own],
        "everybody": user.processes(),
        "starter": starters,
        "runner and starter": [own, *starters],
    }[whom]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if whom == "starter":
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=END)


def _size(ledger: Path) -> int:
    return sum(path.stat().st_size for path in ledger.iterdir())


def _status(user: Commoner, flow: str) -> str:
    row = user.run("query", "flow", flow).json()
    assert isinstance(row, dict)
    return str(row["status"])


def _look(user: Commoner, ledger: Path, tasks: int, figures: Figures) -> None:
    kinds = (ledger / "kinds").read_text().split()
    figures.private += sum(kind == "overlayfs" for kind in kinds)
    words = {word for path in ledger.glob("t*") for word in path.read_text().split()}
    figures.words += len(words)
    found = user.repo.git("log", "--all", "-p", "--unified=0", "--format=", "--", "work-*")
    figures.lost += sorted(word for word in words if f"+{word}" not in found)
    files = set(user.repo.files())
    figures.unlike += [f"work-t{n} has not landed" for n in range(tasks) if f"work-t{n}" not in files]
    deadline = time.monotonic() + 10
    while user.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    figures.left += [f"{pid}: {_words(pid)!r}" for pid in user.processes()]
    figures.left += [
        row for row in Path("/proc/self/mountinfo").read_text().splitlines() if str(user.home) in row
    ]
    user.run("gc", "--older-than", "0s")
    state = next((user.home / "state/stratum-git").iterdir())
    figures.left += [str(path) for path in (state / "layers").iterdir()]
    figures.left += [row for row in user.repo.git("worktree", "list").splitlines()[1:] if "slot-" not in row]


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def main() -> int:
    """Prints the figures; returns 1 when something was lost or left."""
    asked = argparse.ArgumentParser(prog="python -m tests.soak.private", description=__doc__)
    asked.add_argument("--count", type=int, default=100)
    asked.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    options = asked.parse_args()
    figures = rampage(options.count, options.seed)
    bad = [*figures.lost, *figures.unlike, *figures.left]
    for line in bad:
        print(line, file=sys.stderr)
    what = f"{figures.kills} kills of runs in namespaces, seed {options.seed}; {figures.words} words written"
    told = f"lost {len(figures.lost)}, unlike {len(figures.unlike)}, left {len(figures.left)}"
    print(json.dumps({"what": what, "result": told, "in a namespace": figures.private}))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
