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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from stratum_git.slots.mounts import detach
from tests.soak.scene import Fault, Kind, Played, Result, Scene, faults, make_template, play, result_of, stage
from tests.soak.visitor import play_visited
from tests.support.launcher import Launcher, launching

MODES = ("before", "during", "after", "word")
# A number belongs to whoever makes the file of that name: several gits are started at once.
WRAPPER = """\
#!/bin/sh
[ -n "$SOAK_CALLS" ] || exec @GIT@ "$@"
if [ "$SOAK_MODE" != word ]; then
  n=1
  [ ! -e "$SOAK_CALLS/next" ] || read -r n < "$SOAK_CALLS/next"
  while ! (set -C; : > "$SOAK_CALLS/$n") 2> /dev/null; do n=$((n + 1)); done
  echo $((n + 1)) > "$SOAK_CALLS/next"
fi
case "$SOAK_MODE $* " in
word*" --stdin "* | word*" --batch"* | count*" --stdin "* | count*" --batch"*)
  exec @PYTHON@ -I -S "${0%/*}/words.py" @GIT@ "$@" ;;
word*) exec @GIT@ "$@" ;;
esac
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
    folder, n = os.environ["SOAK_CALLS"] + "/words", 1
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
ACTS = {"runner": play, "client": play_visited}
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
class Act:
    """A way to bring the flow to its end, what comes of it undisturbed, and how many calls it takes."""

    play: Callable[[Scene, tuple[Mapping[str, str], ...]], Played]
    reference: Result
    calls: Mapping[str, int]


@dataclass(frozen=True)
class Theatre:
    """What scenes are played with: a template, a git that kills, and ways to play."""

    folder: Path
    launcher: Launcher
    acts: Mapping[str, Act]

    def scene(self, name: str) -> Scene:
        """Returns a fresh scene."""
        return stage(self.folder / "template", self.folder / name, self.launcher)

    def trap(self, scene: Scene, mode: str, at: int, number: int = 0) -> dict[str, str]:
        """Returns the environment in which call *at* is the last; 0 only counts."""
        calls = scene.folder / f"calls-{number}"
        (calls / "words").mkdir(parents=True)
        path = f"{self.folder / 'bin'}:{scene.environment['PATH']}"
        return {
            "PATH": path,
            "SOAK_CALLS": str(calls),
            "SOAK_MODE": mode,
            "SOAK_AT": str(at),
            "SOAK_LAG": LAG,
        }


@contextmanager
def theatre(acts: Sequence[str] = tuple(ACTS)) -> Iterator[Theatre]:
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
            bare = Theatre(folder, launcher, {})
            yield Theatre(folder, launcher, {name: _rehearsed(bare, name) for name in acts})
    finally:
        detach(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _rehearsed(bare: Theatre, act: str) -> Act:
    """Plays undisturbed: what comes of it is the measure, and how many calls it takes."""
    scene = bare.scene(f"rehearsal-{act}")
    trap = bare.trap(scene, "count", 0)
    played = ACTS[act](scene, (trap,))
    result = result_of(scene)
    assert not (found := faults(scene, played, result)), found
    folders = [Path(trap["SOAK_CALLS"]), Path(trap["SOAK_CALLS"], "words")]
    calls, words = (sum(path.name.isdigit() for path in folder.iterdir()) for folder in folders)
    return Act(ACTS[act], result, {mode: words if mode == "word" else calls for mode in MODES})


def disturbed(here: Theatre, name: str, plan: Plan, tally: Tally) -> None:
    """Plays a scene in which the program is killed at each place of *plan*, one after the other."""
    scene, act = here.scene(name), here.acts[plan.act]
    traps = tuple(here.trap(scene, mode, at, i) for i, (mode, at) in enumerate(plan.kills))
    try:
        played = act.play(scene, traps)
        found = faults(scene, played, act.reference)
    except AssertionError as error:
        played, found = None, [Fault("failed", str(error))]
    tally.runs += 1
    tally.kills += 0 if played is None else played.kills
    where = f"{plan} {[_call(trap) for trap in traps]}"
    for fault in found:
        print(f"{where}: {fault.kind}: {fault.words}", file=sys.stderr, flush=True)
    tally.faults += found
    if not found:
        detach(scene.folder)
        shutil.rmtree(scene.folder)


def _call(trap: dict[str, str]) -> str:
    path = Path(trap["SOAK_CALLS"]) / "call"
    words = path.read_text().split() if path.exists() else ["not reached"]
    return " ".join(word for word in words if word not in {"-c", "--no-pager"} and "=" not in word)[:120]


@dataclass(frozen=True)
class Plan:
    """Where to kill whoever brings a flow to its end so."""

    act: str
    kills: tuple[tuple[str, int], ...]


def plans(here: Theatre, count: int, seed: int) -> list[Plan]:
    """Returns where to kill: at every place alone, or at *count* of them; some of them twice in a row."""
    rng = random.Random(seed)
    single = [
        Plan(name, ((mode, at),))
        for name, act in here.acts.items()
        for mode in MODES
        for at in range(1, act.calls[mode] + 1)
    ]
    # Each from a stretch of its own, so that few cover all of it.
    length = len(single) / count if count else 1
    some = [single[int(length * (i + rng.random()))] for i in range(count)] if count else single
    twice = some[:: 3 if count else 4]
    return [*some, *(Plan(p.act, (*p.kills, (rng.choice(MODES), rng.randint(1, 40)))) for p in twice)]


def sweep(count: int, seed: int, acts: Sequence[str] = tuple(ACTS)) -> Tally:
    """Kills at *count* places, or at all of them when that is 0."""
    tally = Tally()
    with theatre(acts) as here:
        todo = plans(here, count, seed)
        for number, plan in enumerate(todo, 1):
            disturbed(here, f"scene-{number}", plan, tally)
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
