"""Budgets of flows that a client drives: it tells what things cost, and is told when nothing is left."""

from __future__ import annotations

from typing import Any

from tests.server.driven import Answer, dispatch, plan, row, spec
from tests.server.test_batches import leases, places, write
from tests.support.portal import Portal

NEW = '"0.4"'


def newest(text: str) -> str:
    return text.replace('"0.3"', NEW, 1)


def told(server: Portal, flow: str, step: str, usage: Answer | None = None) -> Answer:
    return server.call("stratum_step_done", flow_id=flow, step_id=step, result={}, usage=usage)


def test_a_client_that_tells_its_costs_is_stopped_by_the_budget(server: Portal) -> None:
    text = newest(spec("intent: a", "intent: b", "intent: c", budget="{usd: 1}"))
    flow = str(plan(server, text)["flow_id"])
    assert told(server, flow, "s1", {"usd": 0.6, "tokens": 100, "turns": 3})["step_id"] == "s2"
    over = told(server, flow, "s2", {"usd": 0.5})
    assert (over["status"], over["error_type"]) == ("error", "budget_exhausted")
    assert over["message"] == "the budget of the flow is spent: 1.10 of 1 usd, in 0 dispatches"
    assert server.call("stratum_resume", flow_id=flow)["error_type"] == "budget_exhausted"
    status = server.call("stratum_parallel_status", flow_id=flow)
    assert status["flow_status"] == "failed"
    assert status["spent"]["usd"] == 1.1
    assert "It cost 0.60 usd, 100 tokens, 3 turns." in server.shell.run("log", flow).out


def test_tasks_that_are_handed_out_are_taken_back_and_their_work_is_kept(server: Portal) -> None:
    text = newest(spec(dispatch(max_concurrent=2), budget="{tokens: 50}"))
    said = plan(server, text, {"tasks": [{"id": "x"}, {"id": "y"}, {"id": "z"}]})
    flow, where = str(said["flow_id"]), places(said)
    for task in ("x", "y"):
        write(where[task], f"{task}.txt")
    done = server.call(
        "stratum_parallel_done",
        flow_id=flow,
        step_id="s1",
        task_results=[{**row("x"), "usage": {"tokens": 60, "usd": "much"}}],
        merge_status="clean",
    )
    assert done["error_type"] == "budget_exhausted"
    assert done["violations"][0] == "the budget of the flow is spent: 60 of 50 tokens, in 2 dispatches"
    assert leases(server.shell.repo, flow) == []
    assert "y.txt" in server.shell.repo.files(f"refs/stratum/attempts/{flow}/s1/y/1")
    long: Any = server.shell.run("query", "flow", flow, "--long", "--json").json()
    assert long["error_type"] == "budget_exhausted"
    x, y, z = long["steps"][0]["tasks"]
    assert x["usage"] == {"tokens": 60}
    assert (y["state"], z["state"]) == ("stopped", "stopped")


def test_before_0_4_a_budget_of_a_client_is_not_held(server: Portal) -> None:
    flow = str(plan(server, spec("intent: a", "intent: b", budget="{usd: 1}"))["flow_id"])
    assert told(server, flow, "s1", {"usd": 5})["step_id"] == "s2"


def test_a_flow_within_costs_what_its_own_steps_cost(server: Portal) -> None:
    text = newest(spec("flow: inner", "intent: b", budget="{usd: 1}"))
    text += "  inner:\n    input: {}\n    steps:\n      - {id: i1, intent: x}\n"
    said = plan(server, text)
    flow, child = str(said["parent_flow_id"]), str(said["child_flow_id"])
    told(server, child, "i1", {"usd": 2})
    over = told(server, flow, "s1")
    assert over["error_type"] == "budget_exhausted"
