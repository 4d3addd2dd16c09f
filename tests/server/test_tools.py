"""The tools, over real standard input and output, as a client calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.client import call, client_of
from tests.support.contracts import conforms
from tests.support.shell import SPEC, Shell

WORKFLOW = """\
version: "0.3"
workflow: {name: build, description: Builds, input: {topic: {type: string, required: true}}}
flows:
  build:
    input: {topic: {type: string}}
    steps: [{id: x, intent: do}]
"""
TASK = """\
# Task: Set up [P]
Some body.

## Acceptance Criteria
- [ ] file src/app.py exists
- [ ] code reads well
"""


README = Path(__file__).parents[2] / "README.md"
ORIGINAL = {
    f"stratum_{name}"
    for name in (
        "validate", "plan", "resume", "step_done", "parallel_done", "skip_step", "gate_resolve", "audit",
        "check_timeouts", "iteration_start", "iteration_report", "iteration_abort", "commit", "revert",
        "compile_speckit", "draft_pipeline", "list_workflows",
    )
}  # fmt: skip
OURS = {
    f"stratum_{name}"
    for name in (
        "execute", "parallel_start", "parallel_status", "parallel_wait", "parallel_cancel", "parallel_land",
        "task_claim", "task_renew", "task_complete", "task_abandon", "task_log", "task_diff", "events",
        "conflicts", "doctor", "flows", "checkpoint_diff", "conflict_resolve", "land", "undo",
        "estimate", "agent_run", "agent_continue", "agent_verify", "agent_close", "agent_sessions",
    )
}  # fmt: skip
READS = {
    f"stratum_{name}"
    for name in (
        "validate", "audit", "compile_speckit", "list_workflows", "parallel_status", "parallel_wait",
        "task_log", "task_diff", "events", "conflicts", "doctor", "flows", "checkpoint_diff",
        "estimate", "agent_sessions",
    )
}  # fmt: skip


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_generations_of_clients_see_the_tools(shell: Shell, mode: str) -> None:
    async with client_of(shell, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == ORIGINAL | OURS
    words = README.read_text(encoding="utf-8")
    for name, tool in tools.items():
        assert f"`{name}`" in words, f"{name} is not in the README"
        assert tool.description, name
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is (name in READS), name
        assert tool.output_schema is not None
        assert tool.output_schema["additionalProperties"] is True
    sent = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools.values()]
    assert len(json.dumps(sent)) < 32_000, "what a client is told of tools, its model reads"


async def test_specs_are_checked_listed_compiled_and_drafted(shell: Shell) -> None:
    shell.repo.write("flows/a.stratum.yaml", WORKFLOW)
    shell.repo.write("flows/b.stratum.yaml", WORKFLOW)
    shell.repo.write("flows/c.stratum.yaml", "a: [")
    shell.repo.write("tasks/01-setup.md", TASK)
    async with client_of(shell) as client:
        assert await call(client, "stratum_validate", spec=WORKFLOW) == {"valid": True, "errors": []}
        wrong = await call(client, "stratum_validate", spec=WORKFLOW.replace("id: x", "id: x, colour: red"))
        assert wrong["valid"] is False
        assert wrong["errors"][0]["error_type"] == "ir_validation_error"
        assert wrong["errors"][0]["line"] == 6
        listed = await call(client, "stratum_list_workflows", workflows_dir="flows")
        assert [w["name"] for w in listed["workflows"]] == ["build"]
        assert listed["workflows"][0]["input"] == {"topic": {"type": "string", "required": True}}
        assert listed["errors"][0].startswith("Duplicate workflow name 'build': ")
        assert listed["errors"][1].startswith("c.stratum.yaml: line ")
        made = await call(client, "stratum_compile_speckit", tasks_dir="tasks")
        assert (made["status"], made["steps"][0]["judgment"]) == ("ok", ["code reads well"])
        assert (await call(client, "stratum_validate", spec=made["yaml"]))["valid"] is True
        saved = await call(client, "stratum_draft_pipeline", draft={"phases": [{"name": "x"}]})
    path = shell.repo.path / ".stratum/pipeline-draft.json"
    assert saved == {"status": "saved", "path": str(path)}
    assert json.loads(path.read_text()) == {"name": "my-pipeline", "phases": [{"name": "x"}]}
    assert [p.name for p in path.parent.iterdir()] == ["pipeline-draft.json"]


async def test_a_flow_is_looked_at_from_its_events_to_its_conflicts(shell: Shell) -> None:
    agent = shell.agent('echo "by $STRATUM_TASK"; echo "$STRATUM_TASK" > same.txt')
    spec = shell.spec(SPEC + "        require: 1\n        on_quorum: keep\n")
    assert shell.run("run", spec, shell.tasks({"id": "x"}, {"id": "y"}), agent).code == 0
    flow = shell.flow()
    async with client_of(shell) as client:
        flows = await call(client, "stratum_flows")
        assert [(f["flow_id"], f["status"]) for f in flows["flows"]] == [(flow, "complete")]
        first = await call(client, "stratum_events", flow_id=flow, limit=2)
        rest = await call(client, "stratum_events", flow_id=flow, cursor=first["cursor"])
        subjects = [event["subject"] for event in (*first["events"], *rest["events"])]
        assert len(first["events"]) == 2
        assert len(subjects) == first["total"] == rest["cursor"]
        assert subjects[-1] == "The checkouts follow main"
        patch = await call(client, "stratum_task_diff", flow_id=flow, task_id="x", limit=10)
        assert (patch["next_cursor"], len(patch["text"])) == (10, 10)
        log = await call(client, "stratum_task_log", flow_id=flow, task_id="x")
        assert (log["text"], log["next_cursor"]) == ("by x\n", None)
        found = await call(client, "stratum_conflicts", flow_id=flow, task_id="y")
        (parked,) = found["conflicts"]
        beyond = await call(client, "stratum_conflicts", flow_id=flow, cursor=found["cursor"])
        assert (beyond["conflicts"], beyond["total"]) == ([], 1)
        assert (await call(client, "stratum_conflicts", flow_id=flow, task_id="z"))["status"] == "error"
    conforms(found["conflicts"], "conflicts.v1")
    assert (parked["task_id"], parked["paths"], parked["intent"]) == ("y", ["same.txt"], "do y")
    (hunk,) = parked["files"][0]["hunks"]
    assert (hunk["ours"]["lines"], hunk["theirs"]["lines"]) == (["x\n"], ["y\n"])
    assert "<<<<<<<" in shell.repo.show(f"{parked['conflict']}:same.txt")
    assert shell.repo.git("rev-parse", parked["ref"]) == parked["conflict"]


async def test_what_cannot_be_done_is_an_answer_and_what_is_called_wrongly_an_error(shell: Shell) -> None:
    async with client_of(shell) as client:
        for tool, arguments, kind in (
            ("stratum_events", {"flow_id": "none"}, "flow_not_found"),
            ("stratum_task_diff", {"flow_id": "none", "task_id": "x"}, "flow_not_found"),
            ("stratum_task_log", {"flow_id": "none", "task_id": "x"}, "flow_not_found"),
            ("stratum_conflicts", {"flow_id": "../../heads/main"}, "flow_not_found"),
            ("stratum_compile_speckit", {"tasks_dir": "nowhere"}, "directory_not_found"),
            ("stratum_compile_speckit", {"tasks_dir": "."}, "no_tasks"),
        ):
            answer = await call(client, tool, **arguments)
            assert (answer["status"], answer["error_type"]) == ("error", kind), tool
            assert answer["message"]
        assert (await client.call_tool("stratum_events", {})).is_error
        assert (await client.call_tool("stratum_draft_pipeline", {"draft": 3})).is_error
        assert (await client.call_tool("none", {})).is_error
        # It goes on after all of that.
        assert (await call(client, "stratum_flows"))["flows"] == []
