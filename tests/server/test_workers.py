"""Pull workers over real standard input and output: one task, one worker, and nobody's work is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import trio
from mcp import Client

from tests.support.client import call, client_of
from tests.support.shell import Shell

SPEC = """
version: "0.3"
flows:
  m:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        max_concurrent: 20
"""


async def planned(client: Client, tasks: list[dict[str, Any]]) -> str:
    answer = await call(client, "stratum_plan", spec=SPEC, flow="m", inputs={"tasks": tasks})
    assert answer["status"] == "parallel_dispatch"
    return str(answer["flow_id"])


async def do(client: Client, task: dict[str, Any], text: str = "x\n") -> dict[str, Any]:
    Path(task["path"], f"{task['task_id']}.txt").write_text(text, encoding="utf-8")
    return await call(client, "stratum_task_complete", lease=task["lease"], status="complete", result={})


async def test_workers_take_each_task_once_and_the_last_report_lands_them(shell: Shell) -> None:
    claimed: Counter[str] = Counter()

    async def work(name: str, flow: str) -> None:
        async with client_of(shell) as client:
            while (task := await call(client, "stratum_task_claim", worker=name, flow_id=flow))[
                "status"
            ] == "claimed":
                claimed[task["task_id"]] += 1
                assert (await do(client, task))["status"] == "accepted"

    async with client_of(shell) as client:
        flow = await planned(client, [{"id": f"t{n}"} for n in range(12)])
        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(work, f"w{n}", flow)
        state = await call(client, "stratum_parallel_status", flow_id=flow)
    assert claimed == Counter({f"t{n}": 1 for n in range(12)})
    assert (state["flow_status"], state["summary"]) == ("complete", {"merged": 12})
    assert shell.repo.git("for-each-ref", "refs/stratum/leases") == ""
    assert all((shell.repo.path / f"t{n}.txt").is_file() for n in range(12))


async def test_whoever_is_late_is_refused_and_his_work_is_kept(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await planned(client, [{"id": "a"}])
        late = await call(client, "stratum_task_claim", worker="late", seconds=0.3)
        Path(late["path"], "half.txt").write_text("half\n", encoding="utf-8")
        await trio.sleep(0.4)
        refused = await call(client, "stratum_task_renew", lease=late["lease"])
        assert refused["error_type"] == "lease_expired"
        quick = await call(client, "stratum_task_claim", worker="quick", flow_id=flow)
        assert (quick["status"], quick["attempt"]) == ("claimed", 2)
        for tool, more in (
            ("stratum_task_complete", {"status": "complete", "result": {}}),
            ("stratum_task_renew", {}),
            ("stratum_task_abandon", {"reason": "x"}),
        ):
            refused = await call(client, tool, lease=late["lease"], **more)
            assert (refused["error_type"], refused["status"]) == ("lease_lost", "error"), tool
            assert refused["next"]
        assert (await do(client, quick))["status"] == "accepted"
        audit = await call(client, "stratum_audit", flow_id=flow)
    assert audit["status"] == "complete"
    kept = shell.repo.git("for-each-ref", "--format=%(refname)", f"refs/stratum/attempts/{flow}")
    assert kept.splitlines() == [f"refs/stratum/attempts/{flow}/build/a/1"]
    assert shell.repo.show(f"{kept.strip()}:half.txt") == "half"
    assert not (shell.repo.path / "half.txt").exists()


async def test_a_lease_keeps_its_name_when_it_is_renewed(shell: Shell) -> None:
    async with client_of(shell) as client:
        await planned(client, [{"id": "a"}])
        task = await call(client, "stratum_task_claim", worker="w", seconds=5)
        again = await call(client, "stratum_task_renew", lease=task["lease"], seconds=500)
        assert again["expires_at"] > task["expires_at"] + 400
        assert (await do(client, task))["status"] == "accepted"


async def test_what_is_given_back_is_offered_again(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await planned(client, [{"id": "a"}])
        task = await call(client, "stratum_task_claim", worker="first")
        busy = await call(client, "stratum_task_claim", worker="second")
        assert busy["status"] == "idle"
        Path(task["path"], "begun.txt").write_text("x\n", encoding="utf-8")
        given = await call(client, "stratum_task_abandon", lease=task["lease"], reason="tired")
        assert shell.repo.show(f"{given['kept']}:begun.txt") == "x"
        again = await call(client, "stratum_task_claim", worker="second", flow_id=flow)
        assert (again["status"], again["attempt"]) == ("claimed", 2)
        assert not Path(again["path"], "begun.txt").exists()


async def test_a_claim_of_complete_is_checked(shell: Shell) -> None:
    async with client_of(shell) as client:
        await planned(client, [{"id": "a", "files_owned": ["a.txt"]}])
        task = await call(client, "stratum_task_claim", worker="w")
        assert (await do(client, task))["status"] == "accepted"
        await planned(client, [{"id": "b", "files_owned": ["c.txt"]}])
        task = await call(client, "stratum_task_claim", worker="w")
        refused = await do(client, task)
    assert (refused["status"], refused["reason"]) == ("rejected", "scope")


async def test_a_task_of_a_worker_is_nobody_elses(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await planned(client, [{"id": "a"}, {"id": "b"}])
        task = await call(client, "stratum_task_claim", worker="w", flow_id=flow)
        (row,) = (await call(client, "stratum_resume", flow_id=flow))["batch"]
        assert {row["task_id"], task["task_id"]} == {"a", "b"}
        report = [{"task_id": task["task_id"], "status": "complete", "result": {}}]
        done = {"flow_id": flow, "step_id": "build", "task_results": report, "merge_status": "clean"}
        assert (await call(client, "stratum_parallel_done", **done))["error_type"] == "task_claimed"
        refused = await call(client, "stratum_parallel_start", flow_id=flow, agents=["default=true"])
        assert refused["error_type"] == "task_claimed"


async def test_a_runner_that_takes_tasks_over_is_not_disturbed_by_who_had_them(shell: Shell) -> None:
    async with client_of(shell) as client:
        plan = {"spec": SPEC, "flow": "m", "inputs": {"tasks": [{"id": "a"}]}}
        answer = await call(client, "stratum_plan", **plan)
        (row,) = answer["batch"]
        Path(row["path"], "half.txt").write_text("half\n", encoding="utf-8")
        agents = ["default=sh -c 'pwd > a.txt'"]
        await call(client, "stratum_parallel_start", flow_id=answer["flow_id"], agents=agents)
        state = {"status": "waiting"}
        while state["status"] == "waiting":
            state = await call(client, "stratum_parallel_wait", flow_id=answer["flow_id"], seconds=20)
    assert state["flow_status"] == "complete"
    assert not Path(row["path"]).exists()
    assert shell.repo.show("main:a.txt") != row["path"]
    kept = shell.repo.git("for-each-ref", "--format=%(refname)", "refs/stratum/attempts")
    assert shell.repo.show(f"{kept}:half.txt") == "half"


async def test_nonsense_is_refused(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = await planned(client, [{"id": "a"}])
        task = await call(client, "stratum_task_claim", worker="w")
        for tool, arguments, kind in (
            ("stratum_task_claim", {"worker": " "}, "invalid_worker"),
            ("stratum_task_claim", {"worker": "w", "seconds": 0}, "invalid_seconds"),
            ("stratum_task_claim", {"worker": "w", "flow_id": "../x"}, "flow_not_found"),
            ("stratum_task_renew", {"lease": "nonsense"}, "lease_not_found"),
            ("stratum_task_renew", {"lease": f"{flow}/build/a/1-0"}, "lease_lost"),
            ("stratum_task_renew", {"lease": "../../../x"}, "flow_not_found"),
            (
                "stratum_task_complete",
                {"lease": task["lease"], "status": "done", "result": {}},
                "invalid_status",
            ),
        ):
            assert (await call(client, tool, **arguments))["error_type"] == kind, tool
        assert json.dumps(await do(client, task))
