"""A client that outlives its MCP servers: it drives the flow of a scene, and does some tasks as a worker.

Where the server was killed in the middle of a call, nobody told the client what became of it. It starts
another server, asks where the flow is, and goes on from there; what it had done in its places it does not do
again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.soak.scene import OVER, SPEC, TASKS, Played, Scene
from tests.support.launcher import Ended, Started

Answer = dict[str, Any]
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
CALLS = 120
LEASE = 6.0
"""Seconds that a worker asks for: a claim that nobody heard the answer of is free again after that."""


class ServerDiedError(Exception):
    """The server was killed before it answered."""


@dataclass
class Session:
    """A server, and the pipes to it."""

    server: Started
    requests: IO[bytes]
    answers: IO[bytes]
    number: int = 0

    def call(self, tool: str, **arguments: object) -> Answer:
        """Returns what a tool answers; raises ServerDiedError."""
        self.number += 1
        self.send("tools/call", {"name": tool, "arguments": arguments}, self.number)
        row = self._heard()
        found: Answer = row["result"]["structuredContent"]
        return found

    def greet(self) -> None:
        self.send("initialize", HELLO, 0)
        self._heard()
        self.send("notifications/initialized", {})

    def send(self, method: str, params: object, number: int | None = None) -> None:
        row = {"jsonrpc": "2.0", "method": method, "params": params}
        try:
            self.requests.write(json.dumps(row | ({} if number is None else {"id": number})).encode() + b"\n")
            self.requests.flush()
        except BrokenPipeError as error:
            raise ServerDiedError from error

    def leave(self) -> Ended:
        """Closes the pipes, as a client does that has no more to ask, and waits for the server's end."""
        with suppress(BrokenPipeError):
            self.requests.close()
        ended = self.server.wait()
        self.answers.close()
        return ended

    def _heard(self) -> Answer:
        row = self.answers.readline()
        if not row.endswith(b"\n"):
            raise ServerDiedError
        found: Answer = json.loads(row)
        return found


def visit(scene: Scene, env: Mapping[str, str]) -> Session:
    """Starts a server and greets it; raises ServerDiedError."""
    server = scene.start("mcp", env=env, pipes=True)
    # Opened without waiting: a server that is killed first would never open its end.
    requests = (server.place / "in").open("wb")
    session = Session(server, requests, (server.place / "out").open("rb"))
    try:
        session.greet()
    except ServerDiedError:
        session.leave()
        raise
    return session


@dataclass
class Visitor:
    """Who does the flow: what it remembers is what it knows."""

    scene: Scene
    flow: str | None = None
    has_failed: bool = False
    leases: dict[str, str] = field(default_factory=dict)
    """The tasks that it has claimed as a worker, and for which lease."""
    last_status: str = ""

    def turn(self, session: Session) -> bool:
        """Does the next thing that there is to do; returns whether the flow is over."""
        if self.flow is None:
            self.flow = self.scene.flow()
        if self.flow is None:
            inputs = {"tasks": TASKS}
            self.flow = session.call("stratum_plan", spec=SPEC, flow="main", inputs=inputs)["flow_id"]
        answer = session.call("stratum_resume", flow_id=self.flow)
        self.last_status = str(answer.get("status"))
        step = str(answer.get("step_id"))
        if self.last_status in {"complete", "killed", "error"}:
            return True
        if self.last_status == "await_gate":
            words = {"outcome": "approve", "rationale": "good", "resolved_by": "human"}
            session.call("stratum_gate_resolve", flow_id=self.flow, step_id=step, **words)
        elif answer.get("step_mode") == "parallel_dispatch":
            self._tasks(session, step, answer["batch"])
        else:
            session.call("stratum_step_done", flow_id=self.flow, step_id=step, result={"done": True})
        return False

    def _tasks(self, session: Session, step: str, batch: list[Answer]) -> None:
        claim = session.call("stratum_task_claim", flow_id=self.flow, worker="visitor", seconds=LEASE)
        rows = [row for row in batch if row["task_id"] != claim.get("task_id")]
        if claim["status"] == "claimed":
            status = self._work(claim)
            session.call("stratum_task_complete", lease=claim["lease"], status=status, result={})
        elif not rows:
            # Somebody, of whom nobody knows any more, has claimed what there is.
            time.sleep(LEASE / 4)
        for row in rows[:2]:
            report = {"task_id": row["task_id"], "status": self._work(row), "result": {}}
            session.call(
                "stratum_parallel_done",
                flow_id=self.flow,
                step_id=step,
                task_results=[report],
                merge_status="clean",
            )

    def _work(self, row: Answer) -> str:
        task, place = row["task_id"], Path(row["path"])
        name = "shared" if task in {"left", "right"} else task
        (place / f"{name}.txt").write_text(f"{task}\n")
        if task == "shaky" and not self.has_failed:
            self.has_failed = True
            (place / "draft.txt").write_text(f"{self.scene.mark}\n")
            self.scene.tell("draft", self.scene.mark)
            return "failed"
        if (place / "draft.txt").exists():
            # Nobody heard that it had failed.
            self.scene.tell("clean", self.scene.mark)
            (place / "draft.txt").unlink()
        return "complete"


def play_visited(
    scene: Scene,
    traps: tuple[Mapping[str, str], ...] = (),
    strike: Callable[[Started], object] = lambda _: None,
) -> Played:
    """Has a client bring the flow to its end, with as many servers as that takes."""
    visitor, ends, armed = Visitor(scene), list[Ended](), 0
    session: Session | None = None
    for _ in range(CALLS):
        scene.look()
        try:
            if session is None:
                trap = traps[armed] if armed < len(traps) else {}
                session = visit(scene, trap)
                strike(session.server)
            if visitor.turn(session):
                break
        except ServerDiedError:
            ends.append(scene.started[-1].wait() if session is None else session.leave())
            session, armed = None, armed + 1
    state = scene.look()
    assert session is not None
    assert state is not None
    assert state.status in OVER, (visitor.last_status, state.status, state.cursor)
    ends.append(session.leave())
    if any(end.code == -9 for end in ends):
        # Whoever comes after a kill looks where the flow is, also when it has come to its end.
        last = visit(scene, {})
        last.call("stratum_resume", flow_id=state.flow)
        ends.append(last.leave())
    return Played(tuple(ends))
