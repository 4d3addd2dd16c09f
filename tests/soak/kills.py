"""Kills at random instants: the program, what it starts, what those start; alone, and two in one blow.

``python -m tests.soak.kills [--count N] [--seed S]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from stratum_git.slots.mounts import detach
from tests.soak.scene import OVER, ROUNDS, SPEC, TASKS, Fault, Played, Scene, faults, processes
from tests.soak.sweep import Tally, Theatre, theatre
from tests.soak.visitor import play_visited, visit
from tests.support.launcher import Ended, Started

Kinds: TypeAlias = tuple[tuple[str, ...], ...]
KINDS: Kinds = (
    ("runner",),
    ("starter",),
    ("tether",),
    ("agent",),
    ("runner", "tether"),
    ("runner", "starter"),
    ("runner", "agent"),
    ("tether", "agent"),
    ("runner", "starter", "tether"),
)
OF_GIT: Kinds = (("git",), ("runner", "git"))
PER_SCENE = 4
COSTLY = frozenset({("agent",), ("git",)})
"""Cost a task one of its retries: one of them in a scene is within its limits."""
HOLDERS = frozenset({("starter",), ("tether",), ("tether", "agent")})
LENGTH = 0.9
"""Seconds of a command, about: kills come in that time."""


@dataclass(frozen=True)
class Facts:
    """A process: its parent, and its command line."""

    parent: int
    words: str


def snapshot() -> dict[int, Facts]:
    """Returns the processes that are alive."""
    found = {}
    for name in (path.name for path in Path("/proc").iterdir()):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
            words = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if fields[0] not in "ZX":
                found[int(name)] = Facts(int(fields[1]), words)
    return found


def family(runner: int) -> dict[str, list[int]]:
    """Returns the processes of a runner by what they are to it."""
    alive = snapshot()
    children: dict[int, list[int]] = {}
    for pid, facts in alive.items():
        children.setdefault(facts.parent, []).append(pid)
    found: dict[str, list[int]] = {"runner": [runner] if runner in alive else []}
    own = children.get(runner, [])
    found["git"] = [pid for pid in own if alive[pid].words.startswith("git ")]
    found["starter"] = [pid for pid in own if "spawn/server.py" in alive[pid].words]
    found["tether"] = [pid for starter in found["starter"] for pid in children.get(starter, [])]
    found["agent"] = [pid for tether in found["tether"] for pid in children.get(tether, [])]
    return found


@dataclass
class Killer:
    """Kills as chance has it, and notes whom."""

    rng: random.Random
    kinds: Kinds = KINDS
    left: int = PER_SCENE
    killed: list[tuple[str, ...]] = field(default_factory=list)

    def strike(self, started: Started) -> bool:
        """Waits for a while and kills somebody, if that one comes; returns whether it did."""
        kind = self._kind()
        time.sleep(self.rng.uniform(0, LENGTH))
        while not started.is_over():
            found = family(started.pid)
            if all(found[name] for name in kind):
                for name in kind:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.rng.choice(found[name]), signal.SIGKILL)
                self.hit(kind)
                return True
            time.sleep(0.002)
        return False

    def shoot(self, server: Started) -> None:
        """Kills a server after a while, if that one still is at work."""
        if self.left > 0:
            time.sleep(self.rng.uniform(0, 2 * LENGTH))
            # It may end in the moment between.
            with contextlib.suppress(ProcessLookupError):
                if not server.is_over():
                    os.kill(server.pid, signal.SIGKILL)
                    self.hit(("server",))

    def hit(self, kind: tuple[str, ...]) -> None:
        """Notes a kill."""
        self.killed.append(kind)
        self.left -= 1

    def _kind(self) -> tuple[str, ...]:
        spent = COSTLY if any(kind in COSTLY for kind in self.killed) else frozenset()
        held = HOLDERS if sum(kind in HOLDERS for kind in self.killed) > 1 else frozenset()
        return self.rng.choice([kind for kind in self.kinds if kind not in spent | held])


def harassed(scene: Scene, killer: Killer) -> Played:
    """Brings the flow to its end while somebody is killed again and again."""
    ends: list[Ended] = []
    for _ in range(ROUNDS + PER_SCENE):
        state = scene.look()
        if state is not None and state.status in OVER:
            break
        started = scene.start(*scene.verb(state))
        struck = killer.left > 0 and killer.strike(started)
        ended = started.wait()
        # What a command says that was hit counts only if it says that it is a mistake of its own.
        if not struck or ended.code not in {2, 3}:
            ends.append(ended)
    if (state := scene.look()) is not None:
        ends.append(scene.start(*scene.verb(state)).wait())
    return Played(tuple(ends))


def visited(scene: Scene, killer: Killer) -> Played:
    """Has a client bring the flow to its end while its server is killed again and again."""
    return play_visited(
        scene, strike=lambda server: threading.Thread(target=killer.shoot, args=(server,)).start()
    )


def left_alone(scene: Scene, killer: Killer) -> Played:
    """Has a server start a runner of its own, kills that one, and goes on from there."""
    session = visit(scene, {})
    agent = f"default={scene.folder / 'agent'}"
    said = session.call("stratum_execute", spec=SPEC, flow="main", inputs={"tasks": TASKS}, agents=[agent])
    assert said["status"] == "started", said
    session.leave()
    deadline = time.monotonic() + killer.rng.uniform(0, 2 * LENGTH)
    while time.monotonic() < deadline and not _runners(scene):
        time.sleep(0.01)
    time.sleep(killer.rng.uniform(0, LENGTH))
    for pid in _runners(scene):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killer.hit(("detached",))
    return harassed(scene, killer)


def _runners(scene: Scene) -> list[int]:
    rows = [row.split() for row in processes(scene)]
    return [int(row[0]) for row in rows if row[-1].startswith("default=") and "resume" in row]


def one(here: Theatre, number: int, killer: Killer, tally: Tally) -> list[tuple[str, ...]]:
    """Plays one scene with kills in it; returns whom they hit."""
    scene = here.scene(f"kills-{number}")
    act, way = WAYS[number % len(WAYS)]
    try:
        found = faults(scene, way(scene, killer), here.acts[act].reference)
    except AssertionError as error:
        found = [Fault("failed", str(error))]
    tally.runs += 1
    tally.kills += len(killer.killed)
    for fault in found:
        print(f"scene {number} {killer.killed}: {fault.kind}: {fault.words}", file=sys.stderr, flush=True)
    tally.faults += found
    if not found:
        detach(scene.folder)
        shutil.rmtree(scene.folder)
    return killer.killed


WAYS: tuple[tuple[str, Callable[[Scene, Killer], Played]], ...] = (
    ("runner", harassed),
    ("runner", harassed),
    ("client", visited),
    ("runner", harassed),
    ("runner", harassed),
    ("runner", left_alone),
    ("runner", harassed),
    ("client", visited),
)


def rampage(
    count: int, seed: int, kinds: tuple[tuple[str, ...], ...] = KINDS
) -> tuple[Tally, Mapping[str, int]]:
    """Kills *count* times or a few times more; returns what came of it, and how often each kind was hit."""
    tally, hit, rng = Tally(), Counter[str](), random.Random(seed)
    with theatre() as here:
        while tally.kills < count:
            killed = one(here, tally.runs, Killer(rng, kinds), tally)
            hit.update("+".join(kind) for kind in killed)
            if tally.runs % 10 == 0:
                print(f"{tally.kills} of {count} kills, {len(tally.faults)} faults", file=sys.stderr)
    return tally, hit


def main() -> int:
    """Kills and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--git", action="store_true", help="kill the program's gits, too")
    options = parser.parse_args()
    began = time.monotonic()
    tally, hit = rampage(options.count, options.seed, (*KINDS, *(OF_GIT if options.git else ())))
    print(json.dumps(tally.figures("kills at random", time.monotonic() - began) | dict(hit)))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
