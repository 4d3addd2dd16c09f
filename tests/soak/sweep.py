"""Kills the program at each of its git calls: before, during and after it, and at each word to a git.

``python -m tests.soak.sweep [--count N] [--seed S]``
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from tests.soak.launcher import Launcher, launching
from tests.soak.scene import Fault, Kind, Result, Scene, faults, make_template, play, result_of, stage

MODES = ("before", "during", "after", "word")
# A number belongs to whoever makes the file of that name: several gits are started at once.
WRAPPER = """\
#!/bin/sh
[ -n "$SOAK_CALLS" ] || exec @GIT@ "$@"
if [ "$SOAK_MODE" = word ]; then
  case " $* " in
  *" --stdin "* | *" --batch"*) exec @PYTHON@ -I -S "${0%/*}/words.py" @GIT@ "$@" ;;
  esac
  exec @GIT@ "$@"
fi
n=1
[ ! -e "$SOAK_CALLS/next" ] || read -r n < "$SOAK_CALLS/next"
while ! (set -C; : > "$SOAK_CALLS/$n") 2> /dev/null; do n=$((n + 1)); done
echo $((n + 1)) > "$SOAK_CALLS/next"
[ "$n" = "$SOAK_AT" ] || exec @GIT@ "$@"
echo "$*" > "$SOAK_CALLS/call"
case $SOAK_MODE in
before) kill -9 $PPID ;;
during)
  kill -9 $PPID
  sleep "$SOAK_LAG"
  exec @GIT@ "$@" ;;
after)
  @GIT@ "$@"
  code=$?
  kill -9 $PPID
  exit $code ;;
esac
"""
WORDS = '''
"""Stands between the program and a git that listens; ends the program before one of their words arrives."""
import os, select, signal, subprocess, sys

def number():
    folder, n = os.environ["SOAK_CALLS"], 1
    while True:
        try:
            os.close(os.open("%s/%d" % (folder, n), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            n += 1
        else:
            return n

def is_last(what):
    if str(number()) != os.environ["SOAK_AT"]:
        return False
    with open(os.environ["SOAK_CALLS"] + "/call", "w") as file:
        file.write(what)
    os.kill(parent, signal.SIGKILL)
    return True

parent = os.getppid()
git = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
asked, said = git.stdin.fileno(), git.stdout.fileno()
listening = [0, said]
while said in listening:
    ready = select.select(listening, [], [])[0]
    for source in ready:
        data = os.read(source, 1 << 20)
        if not data:
            listening.remove(source)
            if source == 0:
                git.stdin.close()
        elif is_last("%r %s" % (data[-60:], sys.argv)):
            git.stdin.close()
            git.stdout.read()
            git.wait()
            os._exit(1)
        else:
            os.write(asked if source == 0 else 1, data)
os._exit(git.wait())
'''
LAG = "0.15"
"""Seconds that a git of a killed program takes its time; whoever resumes comes before it is done."""


@dataclass
class Tally:
    """What came of all runs."""

    runs: int = 0
    kills: int = 0
    faults: list[Fault] = field(default_factory=list)

    def figures(self, what: str, seconds: float) -> dict[str, object]:
        """Returns the figures, flat."""
        counts = {kind: sum(fault.kind == kind for fault in self.faults) for kind in get_args(Kind)}
        return {"what": what, "runs": self.runs, "kills": self.kills, **counts, "seconds": round(seconds, 1)}


@dataclass(frozen=True)
class Theatre:
    """What scenes are played with: a template, a git that kills, and what comes of an undisturbed flow."""

    folder: Path
    launcher: Launcher
    reference: Result
    calls: dict[str, int]

    def scene(self, name: str) -> Scene:
        """Returns a fresh scene."""
        return stage(self.folder / "template", self.folder / name, self.launcher)

    def trap(self, scene: Scene, mode: str, at: int, number: int = 0) -> dict[str, str]:
        """Returns the environment in which call *at* is the last; 0 only counts."""
        calls = scene.folder / f"calls-{number}"
        calls.mkdir()
        path = f"{self.folder / 'bin'}:{scene.environment['PATH']}"
        return {
            "PATH": path,
            "SOAK_CALLS": str(calls),
            "SOAK_MODE": mode,
            "SOAK_AT": str(at),
            "SOAK_LAG": LAG,
        }


@contextmanager
def theatre() -> Iterator[Theatre]:
    """Makes a theatre; all of it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="stratum-soak-"))
    try:
        make_template(folder / "template")
        (folder / "bin").mkdir()
        text = WRAPPER.replace("@GIT@", str(shutil.which("git"))).replace("@PYTHON@", sys.executable)
        (folder / "bin/git").write_text(text)
        (folder / "bin/git").chmod(0o755)
        (folder / "bin/words.py").write_text(WORDS)
        with launching() as launcher:
            bare = Theatre(folder, launcher, Result(None, "", (), (), ()), {})
            yield _rehearsed(bare)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rehearsed(bare: Theatre) -> Theatre:
    """Plays undisturbed: what comes of it is the measure, and how many calls it takes."""
    calls, results = {}, set()
    for mode in ("before", "word"):
        scene = bare.scene(f"rehearsal-{mode}")
        trap = bare.trap(scene, mode, 0)
        played = play(scene, (trap,))
        results.add(result_of(scene))
        assert not (found := faults(scene, played, result_of(scene))), found
        calls[mode] = sum(path.name.isdigit() for path in Path(trap["SOAK_CALLS"]).iterdir())
    assert len(results) == 1, results
    counts = {mode: calls["word" if mode == "word" else "before"] for mode in MODES}
    return Theatre(bare.folder, bare.launcher, results.pop(), counts)


def disturbed(theatre: Theatre, name: str, kills: Sequence[tuple[str, int]], tally: Tally) -> None:
    """Plays a scene in which the program is killed at each of *kills*, one after the other."""
    scene = theatre.scene(name)
    traps = tuple(theatre.trap(scene, mode, at, i) for i, (mode, at) in enumerate(kills))
    try:
        played = play(scene, traps)
        found = faults(scene, played, theatre.reference)
    except AssertionError as error:
        played, found = None, [Fault("failed", str(error))]
    tally.runs += 1
    tally.kills += 0 if played is None else played.kills
    where = f"{list(kills)} {[_call(trap) for trap in traps]}"
    for fault in found:
        print(f"{where}: {fault.kind}: {fault.words}", file=sys.stderr, flush=True)
    tally.faults += found
    if not found:
        shutil.rmtree(scene.folder)


def _call(trap: dict[str, str]) -> str:
    path = Path(trap["SOAK_CALLS"]) / "call"
    words = path.read_text().split() if path.exists() else ["not reached"]
    return " ".join(word for word in words if word not in {"-c", "--no-pager"} and "=" not in word)[:120]


def plans(theatre: Theatre, count: int, seed: int) -> list[list[tuple[str, int]]]:
    """Returns which kills to make: all single ones, or *count* of all kinds, some of them two in a row."""
    rng = random.Random(seed)
    single = [[(mode, at)] for mode in MODES for at in range(1, theatre.calls[mode] + 1)]
    if count <= 0 or count > len(single):
        double = [[*kill, (rng.choice(MODES), rng.randint(1, 40))] for kill in single[::4]]
        return single + double
    picked: list[list[tuple[str, int]]] = []
    for i in range(count):
        mode, last = MODES[i % len(MODES)], theatre.calls[MODES[i % len(MODES)]]
        # Each from a stretch of its own, so that few cover all of the run.
        low, high = last * i // count, last * (i + 1) // count
        kill = (mode, rng.randint(low + 1, max(low + 1, high)))
        picked.append([kill, (rng.choice(MODES), rng.randint(1, 40))] if i % 3 == 2 else [kill])
    return picked


def sweep(count: int, seed: int) -> Tally:
    """Kills at *count* places, or at all of them when that is 0."""
    tally = Tally()
    with theatre() as here:
        todo = plans(here, count, seed)
        for number, kills in enumerate(todo, 1):
            disturbed(here, f"scene-{number}", kills, tally)
            if number % 20 == 0:
                print(f"{number} of {len(todo)}, {len(tally.faults)} faults", file=sys.stderr)
    return tally


def main() -> int:
    """Runs the sweep and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=0, help="how many places; 0 is all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    tally = sweep(options.count, options.seed)
    print(json.dumps(tally.figures("kills by git call", time.monotonic() - began)))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
