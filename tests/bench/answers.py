"""What it costs a server to answer calls that come together, beside the same ones after another.

Over a server's own pipe, in bare lines. ``step_32``: a step is reported of each of thirty-two flows.
``complete_32``: workers report as many tasks of one flow; ``claim_32``: they take them; ``gather_32``: the
client reports as many tasks of its own, each by itself. ``empty_32``: calls that come to nothing, which is
what the protocol takes. ``alone`` is one after another, ``together`` all at once, ``two`` at once to two
servers. By hand: ``python -m tests.bench.answers``, with the names of those that are wanted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.peer import Answer, Peer
from tests.bench.suite import environment
from tests.support.shell import PROGRAM

MANY = 32
FILES = (250,)
MOST_ROUNDS = 5
SPEC = """
version: "0.4"
flows:
  fan:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        max_concurrent: 64
  steps:
    input: {}
    steps:
      - {id: one, intent: first}
      - {id: two, intent: second, depends_on: [one]}
      - {id: three, intent: third, depends_on: [two]}
"""

Call = tuple[str, Answer]
Work = Callable[[Peer], tuple[Sequence[Call], str]]
"""Prepares thirty-two calls; with the flow that is to be cancelled afterwards, if there is one."""


NAMES = ("empty", "step", "claim", "complete", "gather")


def measure(repository: Path, rounds: int, names: Sequence[str] = NAMES) -> dict[str, float]:
    """Returns medians in ms and rates; works in a repository of its own beside *repository*."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=repository.parent) as folder, ExitStack() as stack:
        scratch = Path(folder)
        place, world = _scratch(scratch), environment(scratch)
        (scratch / "tmp").mkdir()
        peers = [stack.enter_context(Peer([*PROGRAM, "mcp"], place, world)) for _ in range(2)]
        # Whatever a server loads with its first call.
        peers[0].call("stratum_plan", spec=SPEC, flow="steps", inputs={})
        for name in names:
            found |= _compared(name, peers, WORKS[name], rounds)
    return found


def _compared(name: str, peers: Sequence[Peer], work: Work, rounds: int) -> dict[str, float]:
    """Returns what thirty-two calls take each way; each round prepares them anew."""
    ways = {"alone": peers[:1], "together": peers[:1], "two": peers}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, served in ways.items():
            calls, flow = work(peers[0])
            began = time.perf_counter()
            if way == "alone":
                answers = [peers[0].call(tool, **arguments) for tool, arguments in calls]
            else:
                answers = _at_once(served, calls)
            taken[way].append(time.perf_counter() - began)
            wrong = [answer for answer in answers if answer.get("status") == "error" and name != "empty"]
            if wrong:
                raise SystemExit(f"{name}, {way}: {len(wrong)} refused, such as {wrong[0]}")
            if flow:
                # Its slots go: what is mounted could not be deleted afterwards.
                peers[0].call("stratum_parallel_cancel", flow_id=flow)
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    return {
        **{f"{name}_{MANY}_{way}_ms": seconds * 1000 for way, seconds in medians.items()},
        f"{name}_rate": medians["alone"] / medians["together"],
        f"{name}_two_rate": medians["alone"] / medians["two"],
    }


def _at_once(peers: Sequence[Peer], calls: Sequence[Call]) -> list[Answer]:
    """Sends all of *calls*, in turn to each of *peers*, and returns the answers once the last is there."""
    asked = [(peers[n % len(peers)], peers[n % len(peers)].send(*call)) for n, call in enumerate(calls)]
    return [peer.answer(number) for peer, number in asked]


def _empty(peer: Peer) -> tuple[list[Call], str]:
    del peer
    return [("stratum_task_renew", {"lease": "nobody's"})] * MANY, ""


def _steps(peer: Peer) -> tuple[list[Call], str]:
    begun = [peer.call("stratum_plan", spec=SPEC, flow="steps", inputs={}) for _ in range(MANY)]
    given = {"step_id": "one", "result": {"ok": True}}
    return [("stratum_step_done", {"flow_id": one["flow_id"], **given}) for one in begun], ""


def _planned(peer: Peer) -> Answer:
    # One more than is done, so that nothing lands.
    tasks = [{"id": f"t{n}"} for n in range(MANY + 1)]
    return peer.call("stratum_plan", spec=SPEC, flow="fan", inputs={"tasks": tasks})


def _claims(peer: Peer) -> tuple[list[Call], str]:
    flow = str(_planned(peer)["flow_id"])
    return [("stratum_task_claim", {"flow_id": flow, "worker": f"w{n}"}) for n in range(MANY)], flow


def _completes(peer: Peer) -> tuple[list[Call], str]:
    calls, flow = _claims(peer)
    rows = [peer.call(tool, **arguments) for tool, arguments in calls]
    _done(rows)
    given = {"status": "complete", "result": {}}
    return [("stratum_task_complete", {"lease": row["lease"], **given}) for row in rows], flow


def _gathers(peer: Peer) -> tuple[list[Call], str]:
    begun = _planned(peer)
    _done(begun["batch"])
    flow = str(begun["flow_id"])
    given = {"flow_id": flow, "step_id": "build", "merge_status": "clean"}
    rows = [{"task_id": f"t{n}", "status": "complete", "result": {}} for n in range(MANY)]
    return [("stratum_parallel_done", {**given, "task_results": [row]}) for row in rows], flow


def _done(rows: Sequence[Answer]) -> None:
    for row in rows:
        Path(row["path"], f"{row['task_id']}.txt").write_text("done\n", encoding="utf-8")


def _scratch(folder: Path) -> Path:
    place = folder / "repo"
    place.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", place], check=True)
    who = ("-c", "user.name=b", "-c", "user.email=b@x")
    subprocess.run(["git", "-C", place, *who, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    return place


WORKS: Mapping[str, Work] = {
    "empty": _empty,
    "step": _steps,
    "claim": _claims,
    "complete": _completes,
    "gather": _gathers,
}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path.cwd(), 3, sys.argv[1:] or NAMES), indent=1) + "\n")
