"""Runners that outlive whoever started them, over real standard input and output."""

from __future__ import annotations

import json
from typing import Any

import trio
from mcp import Client

from tests.support.client import call, client_of
from tests.support.shell import SPEC, Shell

CLIENTS = """
version: "0.3"
contracts: {Plan: {tasks: {type: array}}}
flows:
  m:
    input: {}
    steps:
      - {id: plan, type: decompose, agent: claude, intent: split, output_contract: Plan}
      - id: build
        type: parallel_dispatch
        source: $.steps.plan.output.tasks
        intent_template: "do {task.id}"
      - {id: close, intent: close, depends_on: [build]}
"""
WRITES = "default=sh -c 'echo hi > $STRATUM_TASK.txt'"
SLOW = "default=sh -c 'echo hi > $STRATUM_TASK.txt; : > $HOME/at-$STRATUM_TASK; sleep 60'"


async def settled(client: Client, flow: str) -> dict[str, Any]:
    while True:
        answer = await call(client, "stratum_parallel_wait", flow_id=flow, seconds=10)
        if answer["status"] == "settled":
            return answer


async def dispatched(client: Client, *tasks: str) -> str:
    flow = (await call(client, "stratum_plan", spec=CLIENTS, flow="m", inputs={}))["flow_id"]
    graph = {"tasks": [{"id": task} for task in tasks]}
    answer = await call(client, "stratum_step_done", flow_id=flow, step_id="plan", result=graph)
    assert answer["status"] == "parallel_dispatch"
    return str(flow)


async def test_a_whole_flow_goes_on_when_its_client_has_left(shell: Shell) -> None:
    shell.repo.write("gate", "")
    tasks = {"tasks": [{"id": "x"}, {"id": "y"}]}
    waits = "default=sh -c 'while [ -e " + str(shell.repo.path / "gate") + " ]; do sleep 0.05; done; "
    agent = waits + "echo hi > $STRATUM_TASK.txt'"
    async with client_of(shell) as client:
        started = await call(client, "stratum_execute", spec=SPEC, inputs=tasks, agents=[agent])
        flow = started["flow_id"]
        assert (started["status"], started["over"]) == ("started", False)
    (shell.repo.path / "gate").unlink()
    lines: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        lines.append(message or "")

    async with client_of(shell) as client:
        answer = await client.call_tool(
            "stratum_parallel_wait", {"flow_id": flow, "seconds": 30}, progress_callback=hear
        )
        found = answer.structured_content
        assert found is not None
        assert (found["status"], found["flow_status"]) == ("settled", "complete")
        assert found["summary"] == {"merged": 2}
        assert lines
        over = await call(client, "stratum_parallel_cancel", flow_id=flow)
        assert over["error_type"] == "flow_already_complete"
    assert (shell.repo.path / "x.txt").is_file()


async def test_the_tasks_of_a_clients_step_are_done_here_and_the_client_goes_on(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await dispatched(client, "a", "b")
        refused = await call(client, "stratum_parallel_start", flow_id=flow, step_id="plan", agents=[WRITES])
        assert refused["error_type"] == "step_mismatch"
        started = await call(client, "stratum_parallel_start", flow_id=flow, step_id="build", agents=[WRITES])
        assert started["status"] == "started"
        assert (await settled(client, flow))["current_step_id"] == "close"
        told = await call(client, "stratum_resume", flow_id=flow)
        assert (told["status"], told["step_id"]) == ("execute_step", "close")
        refused = await call(client, "stratum_parallel_start", flow_id=flow, agents=[WRITES])
        assert refused["error_type"] == "wrong_step_type"
        ended = await call(client, "stratum_step_done", flow_id=flow, step_id="close", result={})
        assert ended["status"] == "complete"
    assert (shell.repo.path / "a.txt").is_file()
    assert shell.repo.git("for-each-ref", "refs/stratum/leases") == ""


async def test_a_runner_keeps_others_out_and_hears_of_a_cancel(shell: Shell) -> None:
    async with client_of(shell) as client, client_of(shell) as other:
        flow = await dispatched(client, "a", "b")
        await call(client, "stratum_parallel_start", flow_id=flow, agents=[SLOW])
        again = await call(other, "stratum_parallel_start", flow_id=flow, agents=[SLOW])
        assert (again["status"], again["runner"]) == ("already_started", "alive")
        busy = await call(other, "stratum_skip_step", flow_id=flow, step_id="build", reason="x")
        assert busy["error_type"] == "flow_busy"
        unknown = await call(other, "stratum_parallel_cancel", flow_id=flow, task_id="zz")
        assert unknown["error_type"] == "unknown_task"
        with trio.fail_after(20):
            while not all((shell.home / f"at-{task}").exists() for task in "ab"):
                await trio.sleep(0.05)
        await call(other, "stratum_parallel_cancel", flow_id=flow, why="enough")
        assert (await settled(client, flow))["flow_status"] == "cancelled"
        told = await call(client, "stratum_resume", flow_id=flow)
        assert told["error_type"] == "cancelled"
    kept = shell.repo.git("for-each-ref", "--format=%(refname)", "refs/stratum/attempts")
    assert len(kept.splitlines()) == 2


async def test_a_client_can_cancel_what_it_does_itself(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await dispatched(client, "a")
        (row,) = (await call(client, "stratum_resume", flow_id=flow))["batch"]
        with open(f"{row['path']}/begun.txt", "w", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
            file.write("x\n")
        await call(client, "stratum_parallel_cancel", flow_id=flow, why="enough")
        told = await call(client, "stratum_resume", flow_id=flow)
        assert told["error_type"] == "cancelled"
    kept = shell.repo.git("for-each-ref", "--format=%(objectname)", "refs/stratum/attempts")
    assert shell.repo.show(f"{kept.strip()}:begun.txt") == "x"


async def test_a_landing_that_was_blocked_is_made_later(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await dispatched(client, "a")
        (row,) = (await call(client, "stratum_resume", flow_id=flow))["batch"]
        with open(f"{row['path']}/new.txt", "w", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
            file.write("theirs\n")
        shell.repo.write("new.txt", "mine\n")
        report = [{"task_id": "a", "status": "complete", "result": {}}]
        done = {"flow_id": flow, "step_id": "build", "task_results": report, "merge_status": "clean"}
        blocked = await call(client, "stratum_parallel_done", **done)
        assert blocked["error_type"] == "landing_blocked"
        still = await call(client, "stratum_parallel_land", flow_id=flow)
        assert still["status"] == "blocked"
        (shell.repo.path / "new.txt").unlink()
        assert (await call(client, "stratum_parallel_land", flow_id=flow))["status"] == "landed"
        nothing = await call(client, "stratum_parallel_land", flow_id=flow)
        assert nothing["error_type"] == "nothing_to_land"
    assert (shell.repo.path / "new.txt").read_text(encoding="utf-8") == "theirs\n"


async def test_what_cannot_be_run_is_refused_before_anything_begins(shell: Shell) -> None:
    async with client_of(shell) as client:
        bad = await call(client, "stratum_execute", spec="a: [", inputs={})
        assert bad["error_type"] == "ir_parse_error"
        unserved = (
            SPEC.replace("task.id", "task.id").replace('"0.4"', '"0.4"')
            + "  b: {steps: [{id: x, flow: main}]}\n"
        )
        refused = await call(client, "stratum_execute", spec=unserved, inputs={"tasks": []})
        assert refused["error_type"] == "ir_semantic_error"
        missing = await call(client, "stratum_execute", spec=SPEC, inputs={"tasks": [{"id": "x"}]})
        assert missing["status"] == "error"
        assert json.dumps(missing)
        assert (await call(client, "stratum_flows"))["flows"] == []


async def test_a_client_is_told_who_collides_while_it_works(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await dispatched(client, "a", "b", "c")
        for row in (await call(client, "stratum_resume", flow_id=flow))["batch"]:
            name = "own.txt" if row["task_id"] == "c" else "same.txt"
            with open(f"{row['path']}/{name}", "w", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
                file.write(row["task_id"])
        told = await call(client, "stratum_parallel_status", flow_id=flow)
        assert [(row["tasks"], row["paths"]) for row in told["collisions"]] == [(["a", "b"], ["same.txt"])]
        assert told["landing_order"] == ["a", "b", "c"]
    assert not list((shell.home / "state" / "stratum-git").glob("*/radar/*"))
