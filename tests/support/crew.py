"""Who works with the program: runners in terminals, clients of servers, somebody at the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.portal import Portal
from tests.support.world import Act, Actor

SPEC = """\
version: "0.4"
functions:
  review: {{mode: gate}}
flows:
  main:
    input: {{tasks: {{type: array}}}}
    steps:
      - {{id: build, type: parallel_dispatch, source: $.input.tasks, intent_template: "do {{task.id}}",
         max_concurrent: 3, task_retries: 1, require: {require}}}
{gate}
"""
GATE = """
      - {id: review, function: review, depends_on: [build], on_approve: null, on_revise: build, on_kill: null}
"""
AGENT = """\
case $STRATUM_TASK in
  *bad*) echo half > half-$STRATUM_TASK.txt; exit 3 ;;
  *shared*) echo $STRATUM_TASK >> shared.txt ;;
  *slow*) sleep 0.3 ;;
esac
echo $STRATUM_FLOW > made-$STRATUM_TASK.txt
case $STRATUM_TASK in *commit*) git add -A && git commit -qm "by $STRATUM_TASK" ;; esac
"""
CALM = {0, 1, 2, 3, 130}
"""Exit codes that say something; 70 is a bug."""
FOUND_BUSY = {
    "flow_busy", "task_claimed", "lease_lost", "lease_expired", "place_busy", "step_mismatch",
    "flow_complete", "flow_already_complete", "step_not_open", "wrong_step_type", "retries_exhausted",
    "unknown_task",
    "flow_not_found", "nothing_to_land", "cancelled", "invalid_step",
}  # fmt: skip
"""What a server may answer to somebody whose flow others are at as well."""


@dataclass
class Runner(Actor):
    """Runs flows in a terminal, one after another."""

    number: int = 0

    def acts(self) -> list[Act]:
        return [self.run]

    def run(self) -> None:
        self.number += 1
        kinds = ("plain", "shared", "bad", "slow", "commit")
        tasks = [f"{self.name}-{self.number}-{self.dice.choice(kinds)}-{n}" for n in range(3)]
        spec = SPEC.format(require=self.dice.choice(("all", "any", "2")), gate="")
        said = self.program(
            "run",
            self.file("spec.yaml", spec),
            f"--input=tasks=@{self.file('tasks.json', json.dumps([{'id': task} for task in tasks]))}",
            f"--agent=default=sh {self.file('agent.sh', AGENT)}",
        )
        self.world.count(f"run ended with {said}")

    def file(self, name: str, text: str) -> Path:
        path = self.world.shell.home / f"{self.name}-{name}"
        path.write_text(text)
        return path

    def program(self, *words: object) -> int:
        said = self.world.shell.run(*map(str, words), timeout=300)
        if said.code not in CALM or "Traceback" in said.out + said.err:
            self.world.blame(f"{words} ended with {said.code}: {said.err[-2000:]}")
        if said.code == 3:
            self.world.blame(f"{words[0]} found the world failed: {said.err[-600:]}")
        return said.code


@dataclass
class Clerk(Runner):
    """Asks, cancels, resumes and decides at the command line, whatever flow it is."""

    def acts(self) -> list[Act]:
        return [self.query, self.log, self.doctor, self.cancel, self.resume, self.gate, self.diff, self.query]

    def flow(self) -> str:
        return self.dice.choice(list(self.world.flows()) or ["none"])

    def query(self) -> None:
        self.program("query", self.dice.choice(("flows", "gates")))

    def log(self) -> None:
        self.program("log", self.flow())

    def doctor(self) -> None:
        self.program("doctor")

    def cancel(self) -> None:
        if self.dice.random() < 0.3:
            self.program("cancel", self.flow())

    def resume(self) -> None:
        self.program("resume", self.flow(), f"--agent=default=sh {self.file('agent.sh', AGENT)}")

    def gate(self) -> None:
        self.program("gate", self.dice.choice(("approve", "revise", "reject")), self.flow(), "review")

    def diff(self) -> None:
        self.program("diff", self.flow(), "nothing")


@dataclass
class Client(Actor):
    """Drives flows through a server of its own, and works at the tasks of others."""

    portal: Portal | None = None
    number: int = 0
    mine: list[str] = field(default_factory=list)

    def acts(self) -> list[Act]:
        return [self.plan, self.batch, self.batch, self.work, self.work, self.work, self.look, self.cancel]

    def call(self, tool: str, **given: Any) -> dict[str, Any]:
        assert self.portal is not None
        answer = self.portal.call(f"stratum_{tool}", **given)
        kind = answer.get("error_type")
        if kind is not None:
            self.world.count(f"answer {kind}")
            if kind not in FOUND_BUSY and answer.get("status") == "error":
                self.world.blame(f"{tool} {given} was answered {answer}"[:1500])
        return answer

    def plan(self) -> None:
        if len(self.mine) > 3:
            self.mine.pop(0)
        self.number += 1
        tasks = [{"id": f"{self.name}-{self.number}-{n}"} for n in range(4)]
        spec = SPEC.format(require="all", gate=self.dice.choice(("", GATE)))
        answer = self.call("plan", spec=spec, flow="main", inputs={"tasks": tasks})
        if "flow_id" in answer:
            self.mine.append(answer["flow_id"])

    def batch(self) -> None:
        if not self.mine:
            return
        flow = self.dice.choice(self.mine)
        rows = self.call("resume", flow_id=flow).get("batch", [])[:2]
        for row in rows:
            self.write(row, flow)
        if rows:
            told = [
                {
                    "task_id": row["task_id"],
                    "status": self.dice.choice(("complete", "complete", "failed")),
                    "result": {},
                }
                for row in rows
            ]
            self.call("parallel_done", flow_id=flow, step_id="build", task_results=told, merge_status="clean")

    def work(self) -> None:
        seconds = self.dice.choice((0.3, 60.0, 60.0))
        task = self.call("task_claim", worker=self.name, seconds=seconds)
        if task["status"] != "claimed":
            return
        key = (task["flow_id"], task["task_id"], task["attempt"])
        with self.world.lock:
            if key in self.world.claims or task["path"] in self.world.inside:
                self.world.wrong.append(f"given out twice: {key} in {task['path']}")
            self.world.claims.add(key)
            self.world.inside.add(task["path"])
        self.write(task, task["flow_id"])
        if seconds < 1:
            self.world.stop.wait(0.5)
        if self.dice.random() < 0.3:
            self.call("task_renew", lease=task["lease"], seconds=60)
        if self.dice.random() < 0.2:
            self.leave(task)
            self.call("task_abandon", lease=task["lease"], reason="tired")
        elif self.dice.random() < 0.9:
            self.leave(task)
            self.call("task_complete", lease=task["lease"], status="complete", result={})
        else:
            # He is never heard of again. Nobody else may get his place while his lease runs.
            self.world.count("worker gone")

    def leave(self, task: dict[str, Any]) -> None:
        with self.world.lock:
            self.world.inside.discard(task["path"])

    def write(self, row: dict[str, Any], flow: str) -> None:
        # Whoever is late finds that his place is gone, which is as it should be.
        place = Path(row["path"])
        if place.is_dir():
            try:
                (place / f"made-{row['task_id']}.txt").write_text(f"{flow}\n")
            except FileNotFoundError:
                self.world.count("place gone")

    def look(self) -> None:
        flow = self.dice.choice(list(self.world.flows()) or ["none"])
        self.call(self.dice.choice(("events", "parallel_status", "conflicts")), flow_id=flow)

    def cancel(self) -> None:
        if self.mine and self.dice.random() < 0.3:
            self.call("parallel_cancel", flow_id=self.dice.choice(self.mine))
