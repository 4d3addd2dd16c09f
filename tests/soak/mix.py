"""Everybody at once in one repository: runners, servers with clients, a terminal, and a user's own git.

Each does what comes to his mind, with dice of his own from a seed that is printed. Somebody looks on all the
time; at the end every flow is brought to its end, and what is there is compared with what everybody did.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from stratum_git.model.ids import Json
from tests.support.crew import AGENT, Clerk, Client, Runner
from tests.support.portal import serving, settle_in
from tests.support.user import User
from tests.support.world import Actor, World

ENDED = {"complete", "failed", "killed", "cancelled"}


def watch(world: World) -> None:
    """Looks on: a flow only ever goes forward."""
    known: dict[str, str] = {}
    while not world.stop.is_set():
        for flow, tip in world.flows().items():
            before = known.get(flow)
            if before not in {None, tip} and before not in world.lines("rev-list", "--first-parent", tip):
                world.blame(f"{flow} went from {before} to {tip}, which does not follow from it")
            known[flow] = tip
        for flow in known.keys() - world.flows().keys():
            world.blame(f"the flow {flow} is gone")
        world.count("looks")
        world.stop.wait(0.1)


def play(folder: Path, seed: int, seconds: float, *, restless: bool = False) -> World:
    """Lets everybody do what he likes for *seconds*, then tidies up and looks what is there."""
    world = World(settle_in(folder))
    with ExitStack() as stack:
        portals = [stack.enter_context(serving(world.shell)) for _ in range(2)]
        user = User(world, random.Random(seed), "user", is_restless=restless)
        crew: list[Actor] = [
            user,
            *(Runner(world, random.Random(seed + n), f"r{n}") for n in (1, 2)),
            *(Client(world, random.Random(seed + 9 + n), f"c{n}", p) for n, p in enumerate(portals)),
            Clerk(world, random.Random(seed + 20), "clerk"),
        ]
        threads = [threading.Thread(target=actor.live) for actor in crew]
        threads.append(threading.Thread(target=watch, args=(world,)))
        for thread in threads:
            thread.start()
        world.stop.wait(seconds)
        world.stop.set()
        for thread in threads:
            thread.join()
        print("all have stopped", file=sys.stderr, flush=True)
        finish(world)
    for trouble in aftermath(world, user):
        world.blame(trouble)
    return world


def finish(world: World) -> None:
    """Brings every flow to its end, as a user would."""
    agent = world.shell.home / "agent.sh"
    agent.write_text(AGENT)
    for flow in [flow for flow, status in _statuses(world).items() if status not in ENDED]:
        for words in (("resume", flow, f"--agent=default=sh {agent}"), ("cancel", flow)):
            said = world.shell.run(*words, timeout=120)
            if said.code not in {0, 1, 2}:
                world.blame(f"{words} at the end: {said}")
    for flow, status in _statuses(world).items():
        world.count(f"flow {status}")
        if status not in ENDED:
            world.blame(f"{flow} cannot be brought to its end: {status}")


def _statuses(world: World) -> dict[str, str]:
    found = world.shell.run("query", "flows").json()
    assert isinstance(found, list), found
    return {str(row["flow_id"]): str(row["status"]) for row in found if isinstance(row, dict)}


def aftermath(world: World, user: User) -> Iterator[str]:
    """Yields what is not as it should be."""
    user.same()
    landed = Counter(
        world.lines(
            "log",
            "--format=%(trailers:key=Stratum-Flow,valueonly,separator=)/%(trailers:key=Stratum-Task,valueonly,separator=)",
            "main",
        )
    )
    yield from (f"{what} landed {times} times" for what, times in landed.items() if what != "/" and times > 1)
    world.figures["landed"] = sum(times for what, times in landed.items() if what != "/")
    history = set(world.lines("rev-list", "main"))
    yield from (
        f"the user's commit {oid} is not on main any more" for oid in world.commits if oid not in history
    )
    for tag, oid in user.tags.items():
        if world.lines("rev-parse", tag) != [oid]:
            yield f"the tag {tag} was moved"
    if world.lines("stash", "list"):
        yield "there is something in the stash"
    leases = world.lines("for-each-ref", "refs/stratum/leases")
    if leases:
        yield f"leases are left: {leases}"
    yield from _leftovers(world)
    fsck = world.git("fsck", "--no-dangling", "--no-progress")
    if fsck.returncode or fsck.stdout.strip():
        yield f"fsck: {fsck.stdout}{fsck.stderr}"


def _leftovers(world: World) -> Iterator[str]:
    for record in (world.shell.home / "state").glob("**/slots/*.json"):
        if "occupant" in json.loads(record.read_text()):
            yield f"a slot is not vacant: {record.read_text()}"
    dirt = world.lines("status", "--porcelain")
    if any(row[3:] != "a.txt" for row in dirt):
        yield f"the user's checkout is not as he left it: {dirt[:20]}"
    locks = [str(path) for path in (world.shell.repo.path / ".git").rglob("*.lock")]
    if locks:
        yield f"locks are left: {locks}"


def figures(seconds: float, seed: int, *, restless: bool = False) -> dict[str, Json]:
    """Plays for *seconds*, and returns the figures."""
    begun = time.monotonic()
    print(f"seed {seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="mix-") as folder:
        world = play(Path(folder).resolve(), seed, seconds, restless=restless)
    for what, times in sorted(world.figures.items()):
        print(f"{times:6} {what}", file=sys.stderr)
    for line in world.wrong:
        print(f"wrong: {line}", file=sys.stderr)
    flows = sum(times for what, times in world.figures.items() if what.startswith("flow "))
    acts = sum(times for what, times in world.figures.items() if what.split(" ")[0] in ACTORS)
    return {
        "what": "everybody at once",
        "seed": seed,
        "acts": acts,
        "flows": flows,
        "landed": world.figures["landed"],
        "user_commits": len(world.commits),
        "claims": len(world.claims),
        "looks": world.figures["looks"],
        "wrong": len(world.wrong),
        "seconds": round(time.monotonic() - begun, 1),
    }


ACTORS = {"user", "runner", "clerk", "client"}


def main() -> int:
    """Plays, and prints the figures; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long (default: 300)")
    parser.add_argument("--seed", type=int, default=None, help="of the dice; it is printed")
    parser.add_argument(
        "--restless", action="store_true", help="the user also switches and stashes (known gap)"
    )
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    found = figures(given.seconds, seed, restless=given.restless)
    print(json.dumps(found))
    return int(bool(found["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
