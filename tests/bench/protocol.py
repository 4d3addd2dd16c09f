"""What the MCP server costs beside the work itself, measured; by hand: ``python -m tests.bench.protocol``.

Prints four figures and what they are held against, each ratio from calls that were made in turn:

* a flow of 1,000 steps over real standard input and output: its last 50 steps beside the first 50 of another
  flow in the same server, and all of it beside another server of the protocol, that of ``--beside``;
* a call that does next to nothing, beside an echo on a bare server of the same SDK;
* the seconds from the start of the process to the list of its tools;
* ``query flows`` with 200 flows of 100 steps, the whole process.

The disk counts: name one that is quiet with ``TMPDIR``. On ext4 files are made slowly for five minutes after
very many were deleted, which is what the last figure, or a test run, leaves behind.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stratum_git.app.desk import Desk
from stratum_git.app.surroundings import Surroundings
from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.dispatch.clock import now
from stratum_git.git.flushing import flush
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import RefSession
from stratum_git.git.repository import head_of
from stratum_git.model.ids import FlowId, StepId
from stratum_git.model.messages import Answered, Event, Started
from stratum_git.model.state import FlowState, Program
from stratum_git.store.flows import Entry, FlowLog
from tests.bench.peer import Peer

PROGRAM = (sys.executable, "-m", "stratum_git")
EDGE = 50
TINY = 'version: "0.3"'

BARE = """\
from typing import Any
from mcp.server import MCPServer
server = MCPServer("bare", log_level="WARNING")
@server.tool()
async def echo(spec: str) -> dict[str, Any]:
    "Return what was said."
    return {"valid": True, "errors": []}
server.run()
"""


class Place:
    """A scratch folder with a repository of one commit, and a home."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repo = root / "repo"
        self.environment = os.environ | {
            "HOME": str(root),
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
        for words in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "first"]):
            subprocess.run(["git", *words], cwd=self.repo, env=self.environment, check=True)

    def ours(self) -> Peer:
        """Starts the server of this project."""
        return self.peer(*PROGRAM, "mcp")

    def peer(self, *command: str) -> Peer:
        """Starts any server."""
        return Peer(command, self.repo, self.environment)


class Drive:
    """A flow of steps that are done one after another over a server."""

    def __init__(self, peer: Peer, steps: int) -> None:
        self._peer = peer
        seconds, self.answer = peer.timed("stratum_plan", spec=spec_of(steps), flow="main", inputs={"n": 1})
        self._flow = self.answer["flow_id"]
        self.planned = seconds
        self.seconds: list[float] = []

    def step(self) -> float:
        """Does the next step; returns the seconds that took."""
        at = self.answer["step_id"]
        result = {"summary": f"did {at}", "files": [f"src/{at}.py"], "ok": True}
        seconds, self.answer = self._peer.timed(
            "stratum_step_done", flow_id=self._flow, step_id=at, result=result
        )
        self.seconds.append(seconds)
        return seconds

    @property
    def whole(self) -> float:
        """The seconds of all calls."""
        return self.planned + sum(self.seconds)


def spec_of(steps: int) -> str:
    """Returns a flow of inline steps, each after the one before it."""
    lines = ['version: "0.3"', "flows:", "  main:", "    input: {n: {type: number}}", "    steps:"]
    for n in range(1, steps + 1):
        lines.append(f"      - id: s{n:04}")
        lines.append(f"        intent: Do part {n} of the work, and say what you did.")
        lines.append("        agent: claude")
        if n > 1:
            lines.append(f"        depends_on: [s{n - 1:04}]")
    return "\n".join(lines) + "\n"


def measure_flow(root: Path, steps: int, beside: list[str]) -> None:
    """Prints what a long flow costs."""
    place = Place(root)
    with place.ours() as peer:
        flow = Drive(peer, steps)
        if beside:
            with place.peer(*beside) as their:
                other = Drive(their, steps)
                turns(flow, other, steps - EDGE)
                last, first = edges(flow, Drive(peer, steps))
                turns(other, other, EDGE)
            theirs = (
                f"the other {other.whole:.1f} s; {other.whole / flow.whole:.2f} times faster (at least 4)"
            )
        else:
            turns(flow, flow, steps - EDGE)
            last, first = edges(flow, Drive(peer, steps))
            theirs = "beside nothing"
    if flow.answer["status"] != "complete":
        raise SystemExit(f"the flow did not end: {flow.answer}")
    typical = statistics.median(flow.seconds) * 1000
    print(f"{steps} steps: {flow.whole:.1f} s, median {typical:.1f} ms, plan {flow.planned:.2f} s; {theirs}")
    medians = statistics.median(last) / statistics.median(first)
    ratio = sum(last) / sum(first)
    print(f"  last {EDGE} / first {EDGE}: {ratio:.2f}, of their medians {medians:.2f} (at most 1.2)")
    alone = sum(flow.seconds[-EDGE:]) / sum(flow.seconds[:EDGE])
    print(f"  within the one flow, not in turn: {alone:.2f}")
    print(f"  a file and its name put on this disk: {statistics.median(floor(root)):.2f} ms")


def turns(one: Drive, other: Drive, steps: int) -> None:
    """Does steps of two flows in turn, fifty of each: whoever comes after another finds cold caches."""
    for start in range(0, steps, EDGE):
        for drive in dict.fromkeys((one, other)):
            for _ in range(min(EDGE, steps - start)):
                drive.step()


def edges(flow: Drive, fresh: Drive) -> tuple[list[float], list[float]]:
    """Returns the seconds of the last steps of *flow* and of the first ones of *fresh*, done in turn."""
    last, first = [], []
    for _ in range(EDGE):
        last.append(flow.step())
        first.append(fresh.step())
    return last, first


def floor(root: Path) -> list[float]:
    """Returns the milliseconds in which files were written and flushed, and their directory after each."""
    times = []
    for number in range(EDGE):
        began = time.perf_counter()
        (root / f"floor{number}").write_text("x")
        flush([root / f"floor{number}"])
        flush([root])
        times.append((time.perf_counter() - began) * 1000)
    return times


def measure_call(root: Path, calls: int) -> None:
    """Prints what a call costs that does next to nothing."""
    place = Place(root)
    with place.ours() as peer, place.peer(sys.executable, "-c", BARE) as bare:
        mine, plain = [], []
        for number in range(calls + 20):
            ours, _ = peer.timed("stratum_validate", spec=TINY)
            echo, _ = bare.timed("echo", spec=TINY)
            if number >= 20:
                mine.append(ours * 1000)
                plain.append(echo * 1000)
    a, b = statistics.median(mine), statistics.median(plain)
    print(f"a call: {a:.2f} ms; an echo on a bare server {b:.2f} ms; ratio {a / b:.2f} (at most 1.2)")


def measure_start(root: Path, rounds: int) -> None:
    """Prints how long a client waits for the tools."""
    place, mine, plain = Place(root), [], []
    for _ in range(rounds):
        with place.ours() as peer:
            mine.append(peer.greeting)
        with place.peer(sys.executable, "-c", BARE) as bare:
            plain.append(bare.greeting)
    ours, theirs = statistics.median(mine), statistics.median(plain)
    print(f"tools listed after {ours:.2f} s (at most 1.5); those of a bare server after {theirs:.2f} s")


def measure_query(root: Path, flows: int, steps: int, rounds: int) -> None:
    """Prints how long ``query flows`` takes with many flows."""
    place = Place(root)
    make_flows(place, flows, steps)
    times, bare = [], []
    for _ in range(rounds):
        times.append(_run(place, *PROGRAM, "query", "flows"))
        bare.append(_run(place, sys.executable, "-c", "import json, subprocess, argparse, pathlib"))
    took, least = statistics.median(times), statistics.median(bare)
    print(f"query flows, {flows} of {steps} steps: {took:.3f} s (at most 0.3); an interpreter {least:.3f} s")


def make_flows(place: Place, flows: int, steps: int) -> None:
    """Writes flows that were done to their last step, past the protocol and without flushing."""
    spec = spec_of(steps)
    loaded = load_spec(spec).spec
    program = None if loaded is None else compile_program(loaded, "main")
    if not isinstance(program, Program):
        raise SystemExit("the spec is not one that can be run")
    desk = Desk(Surroundings(place.repo, place.environment))
    context = desk.context
    writer = ObjectWriter(context.repo, durable=False)
    with RefSession(context.repo, "bench", durable=False) as session:
        for number in range(flows):
            entries = _done(desk, program, FlowId(f"{number:016x}"))
            log = FlowLog(context.repo, writer, context.identity, spec, session)
            log.append(FlowId(f"{number:016x}"), None, entries)
    desk.close()


def _done(desk: Desk, program: Program, flow: FlowId) -> list[Entry]:
    head = head_of(desk.context.repo)
    target = head.branch
    if target is None:
        raise SystemExit("no branch is checked out")
    started = Started(now(), "client", flow, "main", {"n": 1}, head.oid, target, driver="client")
    state, effects = begin(program, started)
    entries = [Entry(started, state, effects)]
    while state.cursor is not None:
        event = (desk.found_out(state) or [_answer(state, state.cursor)])[0]
        before = state
        state, effects = advance(before, event)
        if state is before:
            raise SystemExit(f"nothing came of {event}")
        entries.append(Entry(event, state, effects))
    return entries


def _answer(state: FlowState, step: StepId) -> Event:
    return Answered(now(), "client", step, {"ok": True, "seq": state.seq}, "ok")


def _run(place: Place, *command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=place.repo, env=place.environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", metavar="COMMAND", default="", help="another server of the protocol")
    parser.add_argument("--only", choices=("flow", "call", "start", "query"), help="one figure")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--flows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        if options.only in {None, "start"}:
            measure_start(root / "start", options.rounds)
        if options.only in {None, "call"}:
            measure_call(root / "call", options.calls)
        if options.only in {None, "query"}:
            measure_query(root / "query", options.flows, 100, options.rounds)
        if options.only in {None, "flow"}:
            measure_flow(root / "flow", options.steps, shlex.split(options.beside))


if __name__ == "__main__":
    main()
