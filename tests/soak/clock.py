"""Clocks that jump: servers and runs whose wall clock is set by hours, while workers hold leases.

Each round has a fresh flow of tasks, and servers with clocks of their own that are set at random. Workers
claim, dawdle beyond their lease, renew, and report, late ones too. What counts is one result for each task.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from mcp import Client

from stratum_git.model.ids import Json
from tests.support.client import call, client_of
from tests.support.portal import settle_in
from tests.support.shifted import ShiftedShell

HOURS = (-400, -5, -1, 0, 0, 1, 5, 400)
LATE = {"lease_lost", "lease_expired"}
TASKS = 6
MORE: dict[str, dict[str, Any]] = {
    "complete": {"status": "complete", "result": {}},
    "renew": {"seconds": 30},
    "abandon": {"reason": "tired"},
}
SPEC = """
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: build, type: parallel_dispatch, source: $.input.tasks, intent_template: "do {task.id}",
         max_concurrent: 20, task_retries: 20}
"""


@dataclass
class Seen:
    """What was counted."""

    figures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Day:
    """One flow, and those who work on it."""

    flow: str
    shells: tuple[ShiftedShell, ...]
    dice: random.Random
    seen: Seen
    accepted: dict[str, str] = field(default_factory=dict)

    async def work(self, client: Client, name: str) -> None:
        """Does tasks until the flow is over."""
        while True:
            self._jump()
            seconds = self.dice.choice((0.4, 30.0))
            task = await call(client, "stratum_task_claim", worker=name, flow_id=self.flow, seconds=seconds)
            if task["status"] == "claimed":
                await self._do(client, task, name, seconds)
            elif task["status"] != "idle":
                self.seen.wrong.append(f"a claim was refused: {task}")
            elif await self._is_over(client):
                return
            else:
                await trio.sleep(0.05)

    async def _do(self, client: Client, task: dict[str, Any], name: str, seconds: float) -> None:
        place = Path(task["path"]) / f"{task['task_id']}.txt"
        place.write_text(f"{name} {task['attempt']}\n")
        is_late = seconds < 1 and self.dice.random() < 0.6
        if is_late:
            await trio.sleep(seconds + 0.2)
            # He does not know it yet, and goes on: nobody else may be in there now.
            if place.exists() and place.read_text() != f"{name} {task['attempt']}\n":
                self.seen.wrong.append(f"{task['task_id']}: two in one place: {place.read_text()!r}")
        self._jump()
        verb = self.dice.choice(("complete", "complete", "complete", "renew", "abandon"))
        answer = await self._say(client, verb, task)
        if verb == "renew" and answer["status"] == "renewed":
            answer = await self._say(client, "complete", task)
        self._note(task, name, answer, is_late=is_late, seconds=seconds)

    async def _say(self, client: Client, verb: str, task: dict[str, Any]) -> dict[str, Any]:
        while True:
            answer = await call(client, f"stratum_task_{verb}", lease=task["lease"], **MORE[verb])
            if answer.get("error_type") != "place_busy":
                return answer
            await trio.sleep(0.05)

    def _note(
        self, task: dict[str, Any], name: str, answer: dict[str, Any], *, is_late: bool, seconds: float
    ) -> None:
        kind = str(answer.get("error_type", answer["status"]))
        self.seen.figures[kind] += 1
        if kind == "accepted":
            if is_late:
                self.seen.wrong.append(f"{task['task_id']}: a late report was accepted")
            if task["task_id"] in self.accepted:
                self.seen.wrong.append(f"{task['task_id']} was accepted twice")
            self.accepted[task["task_id"]] = f"{name} {task['attempt']}"
        elif kind in LATE:
            if seconds > 1:
                self.seen.wrong.append(f"{task['task_id']}: {name} was in time and refused: {answer}")
            if not answer.get("next"):
                self.seen.wrong.append(f"a refusal that does not say what to do: {answer}")
        elif kind != "abandoned":
            self.seen.wrong.append(f"{task['task_id']}: {answer}")

    def _jump(self) -> None:
        if self.dice.random() < 0.4:
            self.dice.choice(self.shells).set(self.dice.choice(HOURS) * 3600)
            self.seen.figures["jumps"] += 1

    async def _is_over(self, client: Client) -> bool:
        state = await call(client, "stratum_parallel_status", flow_id=self.flow)
        return bool(state["over"])


async def one_round(folder: Path, seed: int, seen: Seen) -> None:
    """Plays one flow with three servers to its end, and looks at what is there then."""
    dice = random.Random(seed)
    user = settle_in(folder)
    shells = tuple(ShiftedShell(user.home, user.repo, name) for name in ("one", "two", "three"))
    tasks = [{"id": f"t{n}"} for n in range(TASKS)]
    with trio.fail_after(300):
        async with client_of(shells[0]) as a, client_of(shells[1]) as b, client_of(shells[2]) as c:
            flow = (await call(a, "stratum_plan", spec=SPEC, flow="main", inputs={"tasks": tasks}))["flow_id"]
            day = Day(flow, shells, dice, seen)
            async with trio.open_nursery() as nursery:
                for name, client in zip(("a", "b", "c"), (a, b, c), strict=True):
                    nursery.start_soon(day.work, client, name)
            await _looked_at(day, a)
    for shell in shells:
        shell.set(-400 * 3600)
    _aftermath(day)


async def _looked_at(day: Day, client: Client) -> None:
    """Looks at the flow as its readers do, whatever the clock says."""
    audit = await call(client, "stratum_audit", flow_id=day.flow)
    if audit["status"] != "complete" or audit["total_duration_ms"] < 0:
        day.seen.wrong.append(f"the audit says {audit['status']}, {audit['total_duration_ms']} ms")
    events = await call(client, "stratum_events", flow_id=day.flow)
    if not events.get("events"):
        day.seen.wrong.append(f"no events: {events}")


def _aftermath(day: Day) -> None:
    shell = day.shells[0]
    seen, git = day.seen, shell.repo.git
    for task, text in day.accepted.items():
        landed = git("show", f"main:{task}.txt", check=False)
        if landed != text:
            seen.wrong.append(f"{task}: {landed!r} landed, and {text!r} was accepted")
    landings = Counter(git("log", "--format=%(trailers:key=Stratum-Task,valueonly)", "main").split())
    seen.figures["landed"] += landings.total()
    if landings != Counter({f"t{n}": 1 for n in range(TASKS)}):
        seen.wrong.append(f"landed: {dict(landings)}")
    if git("for-each-ref", "refs/stratum/leases"):
        seen.wrong.append("a lease is left")
    fsck = git("fsck", "--no-dangling", "--no-progress", check=False)
    if fsck:
        seen.wrong.append(f"fsck: {fsck}")
    for words in (("log", day.flow), ("query", "flows"), ("query", "flow", day.flow, "--long"), ("doctor",)):
        said = shell.run(*words)
        if said.code:
            seen.wrong.append(f"{words}: {said}")


def rounds(count: int, seed: int) -> dict[str, Json]:
    """Plays *count* rounds and returns the figures."""
    seen, begun = Seen(), time.monotonic()
    for number in range(count):
        with tempfile.TemporaryDirectory(prefix="clock-") as folder:
            trio.run(partial(one_round, Path(folder).resolve(), seed + number, seen))
        print(f"round {number + 1} of {count}, seed {seed + number}: {dict(seen.figures)}", file=sys.stderr)
        for line in seen.wrong:
            print(f"wrong: {line}", file=sys.stderr)
    wrong = len(seen.wrong)
    seconds = round(time.monotonic() - begun, 1)
    late = sum(seen.figures[kind] for kind in LATE)
    return {
        "what": "clock jumps",
        "rounds": count,
        "seed": seed,
        "jumps": seen.figures["jumps"],
        "accepted": seen.figures["accepted"],
        "late_refused": late,
        "landed": seen.figures["landed"],
        "wrong": wrong,
        "seconds": seconds,
    }


def main() -> int:
    """Plays the rounds and prints the figures; 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="rounds (default: 50)")
    parser.add_argument("--seed", type=int, default=None, help="the first round's; it is printed")
    given = parser.parse_args()
    found = rounds(given.count, random.randrange(10**6) if given.seed is None else given.seed)
    print(json.dumps(found))
    return int(bool(found["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
