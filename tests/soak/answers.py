"""Servers that are killed while workers report at once: what was answered is not lost, nor done twice.

``python -m tests.soak.answers [--count N] [--seed S]``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.mortal import Mortal, mortals
from tests.support.portal import settle_in
from tests.support.programs import wait_until_gone
from tests.support.shell import Shell

Answer = dict[str, Any]
TASKS = tuple(f"t{number}" for number in range(8))
LONGEST = 0.5
"""Seconds after which a server is killed, at most; eight reports take about half of it."""
SPEC = """
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        max_concurrent: 20
"""


def killed(shell: Shell, place: Path, draw: random.Random) -> int:
    """Kills a server amid reports and has another one go on; returns how many reports had been answered.

    Raises AssertionError where one of them is lost, or the flow does not come to its end.
    """
    with mortals(shell, place) as servers:
        first = next(servers)
        flow = _asked(first, "stratum_plan", spec=SPEC, flow="main", inputs={"tasks": _tasks()})["flow_id"]
        rows = [_asked(first, "stratum_task_claim", worker="w", flow_id=flow) for _ in TASKS]
        for row in rows:
            Path(row["path"], f"{flow}-{row['task_id']}.txt").write_text("done\n", encoding="utf-8")
        for number, row in enumerate(rows):
            _report(first, row, 10 + number)
        time.sleep(draw.uniform(0, LONGEST))
        answered = {row["task_id"] for row in _last_words(first, rows)}
        second = next(servers)
        for task in answered:
            log = _asked(second, "stratum_events", flow_id=flow)["events"]
            ends = [event for event in log if event["subject"].startswith(f"build/{task}#1: complete")]
            assert len(ends) == 1, f"{task} was answered and is not in the history: {log}"
        for row in rows:
            told = _asked(second, "stratum_task_complete", lease=row["lease"], status="complete", result={})
            assert told["status"] == "accepted" or told["error_type"] == "lease_lost", told
            assert told["status"] == "error" or row["task_id"] not in answered, "a report was taken twice"
        end = _asked(second, "stratum_resume", flow_id=flow)
        assert end["status"] == "complete", end
        second.kill()
    there = set(shell.repo.git("ls-tree", "--name-only", "main").splitlines())
    assert there >= {f"{flow}-{task}.txt" for task in TASKS}
    return len(answered)


def _tasks() -> list[dict[str, str]]:
    return [{"id": task} for task in TASKS]


def _asked(server: Mortal, tool: str, **arguments: object) -> Answer:
    server.ask(tool, **arguments)
    found: Answer = server.answer()["result"]["structuredContent"]
    return found


def _report(server: Mortal, row: Answer, number: int) -> None:
    given = {"lease": row["lease"], "status": "complete", "result": {}}
    server.send("tools/call", {"name": "stratum_task_complete", "arguments": given}, number)


def _last_words(server: Mortal, rows: list[Answer]) -> list[Answer]:
    """Kills a server; returns the rows to whose reports it had said yes."""
    os.kill(server.pid, signal.SIGKILL)
    lines = server.answers.read().split(b"\n")
    wait_until_gone(server.pid)
    with suppress(BrokenPipeError):
        server.requests.close()
    server.answers.close()
    # The last line may be cut off: nobody was told that.
    told = [json.loads(line) for line in lines[:-1]]
    return [
        rows[said["id"] - 10] for said in told if said["result"]["structuredContent"]["status"] == "accepted"
    ]


def main() -> int:
    """Kills as many servers as asked for; returns 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw, answered = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for number in range(options.count):
            place = Path(folder) / f"round-{number}"
            place.mkdir()
            answered += killed(settle_in(place), place, draw)
    total = options.count * len(TASKS)
    sys.stdout.write(
        f"{options.count} servers killed, {answered} of {total} reports answered before, 0 lost\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
