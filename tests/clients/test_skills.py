"""Claude Code uses our skills and agents: what `stratum-git install` put there, as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from stratum_git.core.skill import SPEC
from stratum_git.fakes.conversation import Conversation, Said
from stratum_git.fakes.scripting import Turn
from tests.clients.around import gates
from tests.clients.conftest import Move
from tests.clients.story import SERVER, Block, row_of
from tests.support.clients import House

pytestmark = pytest.mark.soak
WORK = "OUR-TASK"
SUBAGENT = {"has_tools": True, "first_user": f"{WORK} "}
BY_TASK: dict[str, dict[str, Any]] = {
    "correctness": {"findings": []},
    "security": {"findings": []},
    "design": {"findings": []},
}


@dataclass(frozen=True)
class Driver:
    """Does what a skill says, with the spec that stands in it: ``agent`` does the tasks."""

    inputs: Mapping[str, Any]
    tasks: list[dict[str, Any]]
    agent: str
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    server: str = SERVER

    def __call__(self, told: Conversation) -> Turn:
        if "still connecting" in told.last_tool_result:
            return [{"type": "tool_use", "name": "WaitForMcpServers", "input": {}}]
        ours = [row for row in map(_ours, told.last_results) if row is not None]
        if ours:
            return self._next(ours[-1])
        if any(_ours(one) for one in told.results):
            return self._report(told)
        if "go on" in told.last_prompt:
            return [self._call("resume", flow_id=told.last_prompt.split()[-1])]
        spec = [found["spec"] for found in SPEC.finditer(told.all_text)][-1]
        return [self._call("plan", spec=spec, flow="main", inputs=dict(self.inputs))]

    def _call(self, tool: str, **arguments: Any) -> Block:
        return {"type": "tool_use", "name": f"{self.server}stratum_{tool}", "input": arguments}

    def _next(self, row: dict[str, Any]) -> Turn:
        flow = row.get("flow_id")
        match row:
            case {"text": text, "steps": _}:
                return f"{text}\nShall I?"
            case {"status": "execute_step", "step_id": step, "output_fields": fields}:
                result = {name: _value(kind) for name, kind in fields.items()}
                result |= self.results.get(step, {})
                if "tasks" in fields and step not in self.results:
                    result["tasks"] = self.tasks
                return [self._call("step_done", flow_id=flow, step_id=step, result=result)]
            case {"status": "parallel_dispatch", "batch": [_, *_] as batch}:
                return [self._subagent(one) for one in batch]
            case {"status": "await_gate"}:
                return [self._call("estimate", flow_id=flow)]
            case _:
                return f"end: {row.get('status')} {json.dumps(row)[:500]}"

    def _subagent(self, one: Mapping[str, Any]) -> Block:
        prompt = f"{WORK} {one['task_id']} in {one['path']} : {one['intent']}"
        words = {"description": one["task_id"], "prompt": prompt, "subagent_type": self.agent}
        return {"type": "tool_use", "name": "Agent", "input": {**words, "run_in_background": False}}

    def _report(self, told: Conversation) -> Turn:
        rows = [row for row in map(_ours, reversed(told.results)) if row is not None]
        said = next((row for row in rows if row.get("batch")), None)
        if said is None:
            return f"I do not know what to do: {told.last_tool_result[:1000]}"
        done = [
            {
                "task_id": one["task_id"],
                "status": "complete",
                "result": BY_TASK.get(one["task_id"], {"summary": "done"}),
            }
            for one in said["batch"]
        ]
        given = {"flow_id": said["flow_id"], "step_id": said["step_id"], "task_results": done}
        return [self._call("parallel_done", **given, merge_status="clean")]


def _ours(said: Said) -> dict[str, Any] | None:
    row = row_of(said)
    return row if row is not None and ("status" in row or "steps" in row) else None


def _value(kind: str) -> Any:
    return {"boolean": True, "integer": 1, "array": []}.get(kind, "said")


def writing() -> list[Turn]:
    """Returns what a worker does: it writes the page that its task is named after."""
    place = rf"{{{{reall:{WORK} \w+ in (\S+)}}}}"
    name = rf"{{{{reall:{WORK} (\w+) in}}}}"
    write = {"command": f"echo page > {place}/{name}.md"}
    return [[{"type": "tool_use", "name": "Bash", "input": write}], '{"summary": "done"}']


def settle(house: House) -> str:
    """Installs what a user installs, and commits it; returns the commit."""
    house.install()
    return house.repo.head()


@pytest.mark.parametrize("version", ["latest", "older"])
def test_a_plan_is_shown_and_nothing_done_before_a_yes(claude: Move, version: str) -> None:
    tasks = [
        {"id": name, "description": f"Write {name}", "files_owned": [f"{name}.md"]} for name in ("uno", "due")
    ]
    worker = writing()
    driver = Driver({"goal": "two pages"}, tasks, "stratum-worker")
    house = claude(
        version,
        {
            "lanes": [
                {"name": "worker", "match": SUBAGENT, "turns": worker},
                {"name": "main", "match": {"has_tools": True}, "play": driver},
            ]
        },
    )
    before = settle(house)
    run = house.claude("/stratum-plan two pages").wait()
    said = run.result["result"]
    assert "1. approve: waits for a decision" in said, run.told()
    assert "2. build: 2 tasks, each in a worktree of its own" in said
    assert (house.repo.head(), house.repo.git("status", "--porcelain")) == (before, "")
    assert house.repo.git("worktree", "list").count("\n") == 0
    first = json.dumps(house.api.to("main")[0].body, ensure_ascii=False)
    assert "Goal: two pages" in first
    (gate,) = gates(house)
    assert house.shell.run("gate", "approve", gate["flow_id"], gate["step_id"]).code == 0
    again = house.claude(f"go on with {gate['flow_id']}").wait()
    assert again.result["result"].startswith("end: complete"), again.told()
    assert house.repo.files("main") == sorted({*house.repo.files(before), "uno.md", "due.md"})
    told = [json.dumps(one.body) for one in house.api.to("worker")]
    assert all("You do one task." in text for text in told), "it is our agent that works"


@pytest.mark.parametrize("version", ["latest", "older"])
def test_a_review_reads_and_can_do_nothing_else(claude: Move, version: str) -> None:
    tasks = [{"id": name, "focus": name, "patch": "p"} for name in BY_TASK]
    results: dict[str, dict[str, Any]] = {"claims": {"tasks": []}}
    driver = Driver({"change": "HEAD"}, tasks, "stratum-reviewer", results)
    house = claude(
        version,
        {
            "lanes": [
                {"name": "reader", "match": SUBAGENT, "turns": ['{"findings": []}']},
                {"name": "main", "match": {"has_tools": True}, "play": driver},
            ]
        },
    )
    before = settle(house)
    run = house.claude("/stratum-review HEAD").wait()
    assert run.result["result"].startswith("end: complete"), run.told()
    assert (house.repo.head(), house.repo.git("status", "--porcelain")) == (before, "")
    readers = house.api.to("reader")
    assert len(readers) == len(BY_TASK)
    for one in readers:
        assert sorted(tool["name"] for tool in one.body["tools"]) == ["Glob", "Grep", "Read"]


@pytest.mark.parametrize("version", ["latest", "older"])
def test_a_plugin_brings_skills_agents_and_tools(claude: Move, version: str) -> None:
    tasks = [{"id": name, "description": f"Write {name}"} for name in ("uno", "due")]
    inputs = {"tasks": tasks, "context": "pages"}
    driver = Driver(inputs, tasks, "stratum:stratum-worker", server="mcp__plugin_stratum_stratum__")
    house = claude(
        version,
        {
            "lanes": [
                {"name": "worker", "match": SUBAGENT, "turns": writing()},
                {"name": "main", "match": {"has_tools": True}, "play": driver},
            ]
        },
    )
    plugin = house.place / "plugin"
    assert house.shell.run("install", "--plugin", str(plugin)).code == 0
    run = house.claude("/stratum:stratum-fanout two pages", "--plugin-dir", str(plugin)).wait()
    assert run.result["result"].startswith("end: complete"), run.told()
    assert {"uno.md", "due.md"} <= set(house.repo.files("main"))
    assert all("You do one task." in json.dumps(one.body) for one in house.api.to("worker"))
