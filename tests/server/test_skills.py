"""The skills that are shipped: each can be driven as it is, by a client that does what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from stratum_git.app.skills import SKILLS, shipped_skill, shipped_skills
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program, unserved_by_client
from stratum_git.core.skill import read_skill
from stratum_git.model.state import Program
from tests.server.driven import Answer, decided, done, reported, row
from tests.support.contracts import conforms
from tests.support.portal import Portal

NAMES = tuple(
    f"stratum-{name}"
    for name in (
        "debug", "fanout", "feature", "migrate", "onboard", "plan", "refactor", "review", "speckit", "test",
    )
)  # fmt: skip
ALIKE = ("stratum-migrate", "stratum-plan", "stratum-refactor")
"""Skills whose flows are much like that of stratum-feature; they are driven in the long runs."""
READERS = {"stratum-review", "stratum-onboard"}
"""Skills that are to leave the files as they are."""
OF_A_TYPE = {"string": "said", "boolean": True, "integer": 1, "number": 1, "array": ["one"], "object": {}}
SAID: Mapping[str, Mapping[str, Any]] = {
    "evidence": {}, "verdict": {"verdict": "ruled_out"}, "behaviour_changed": {"behaviour_changed": False},
    "left": {"left": 0}, "path": {"path": "a.txt"},
}  # fmt: skip
"""What is said of a field, where not anything would do."""


def _result(fields: Mapping[str, str], tasks: list[Answer]) -> Answer:
    found: Answer = {name: OF_A_TYPE[kind] for name, kind in fields.items()}
    for name in fields:
        found |= SAID.get(name, {})
    return found | ({"tasks": tasks} if "tasks" in fields else {})


def _tasks(spec: str) -> list[Answer]:
    """Returns as many tasks as are needed, with all that a template of *spec* names."""
    fields = set(re.findall(r"\{task\.(\w+)\}", spec)) - {"id"}
    said = {name: f"the {name}" for name in fields}
    least = 3 if "len(result.tasks) >= 3" in spec else 2
    return [{"id": f"t{number}", **said} for number in range(least)]


def _work(answer: Answer, step: Any, contracts: Mapping[str, Any]) -> list[Answer]:
    """Does the tasks of a batch, as subagents would."""
    rows = []
    for task in answer["batch"]:
        place = Path(task["path"])
        if answer["isolation"] != "none":
            (place / f"{task['task_id']}.txt").write_text(f"done: {task['intent']}\n")
        declared = {} if step.work.task_contract is None else contracts[step.work.task_contract]
        fields = {name: field.type for name, field in declared.items()}
        rows.append(row(task["task_id"], result=_result(fields, []) or None))
    return rows


def _drive(server: Portal, program: Program, spec: str, answer: Answer) -> list[str]:
    """Does what a flow is told until it is over; returns the steps in their order."""
    seen: list[str] = []
    while answer["status"] not in {"complete", "error"}:
        assert len(seen) < 30, seen
        flow, name = answer["flow_id"], answer["step_id"]
        seen.append(name)
        match answer["status"]:
            case "execute_step":
                if "MEMORY.md" in str(answer["ensure"]):
                    server.repo.write(".claude/memory/MEMORY.md", "[build] make\n[map] all is here\n")
                answer = done(server, flow, name, _result(answer["output_fields"], _tasks(spec)))
            case "parallel_dispatch":
                rows = _work(answer, program.steps[name], program.spec.contracts)
                answer = reported(server, flow, *rows, step=name)
            case "await_gate":
                answer = decided(server, flow, name, "approve")
            case other:
                pytest.fail(f"{name}: {other}: {answer}")
    assert answer["status"] == "complete", answer
    return seen


def _program(spec: str) -> Program:
    loaded = load_spec(spec)
    assert (loaded.problems, loaded.warnings) == ((), ())
    assert loaded.spec is not None
    program = compile_program(loaded.spec, "main")
    assert isinstance(program, Program)
    assert unserved_by_client(program) == ()
    return program


def _inputs(program: Program, spec: str) -> Answer:
    goal = {"goal": "g", "change": "c", "defect": "d", "folder": "specs/one", "tasks": _tasks(spec)}
    return {key: goal[key] for key in program.flow.input if key in goal}


@pytest.mark.parametrize("name", ALIKE)
def test_a_skill_can_be_planned_as_it_is(server: Portal, name: str) -> None:
    (spec,) = shipped_skill(name).specs
    program = _program(spec)
    first = server.call("stratum_plan", spec=spec, flow="main", inputs=_inputs(program, spec))
    assert (first["status"], first["step_id"]) == ("execute_step", program.order[0])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.soak) if name in ALIKE else name for name in NAMES]
)
def test_a_skill_can_be_driven_to_its_end(server: Portal, name: str) -> None:
    (spec,) = shipped_skill(name).specs
    program = _program(spec)
    inputs = _inputs(program, spec)
    before = server.repo.git("rev-parse", "HEAD")
    first = server.call("stratum_plan", spec=spec, flow="main", inputs=inputs)
    seen = _drive(server, program, spec, first)
    assert dict.fromkeys(seen) == dict.fromkeys(program.order)
    lands = any(getattr(s.work, "merge", "") == "sequential_apply" for s in program.flow.steps)
    changed = name not in READERS | {"stratum-debug", "stratum-speckit"}
    assert (server.repo.git("rev-parse", "HEAD") != before) == changed
    assert lands == (name not in {"stratum-debug", "stratum-speckit"})


def test_a_review_that_finds_nothing_comes_to_its_end(server: Portal) -> None:
    (spec,) = shipped_skill("stratum-review").specs
    answer = server.call("stratum_plan", spec=spec, flow="main", inputs={"change": "c"})
    flow = answer["flow_id"]
    done(server, flow, "passes", {"tasks": _tasks(spec)})
    reported(server, flow, *(row(f"t{n}", result={"findings": []}) for n in range(3)), step="read")
    answer = done(server, flow, "claims", {"tasks": []})
    assert (answer["status"], answer["step_id"], answer["inputs"]["doubted"]) == (
        "execute_step",
        "report",
        None,
    )


def test_all_ten_are_there_and_say_when_they_are_for() -> None:
    skills = shipped_skills()
    assert tuple(skill.name for skill in skills) == NAMES
    for skill in skills:
        assert skill.facts["name"] == skill.name
        assert 120 < len(skill.description) < 1024
        assert "Use " in skill.description
        assert skill.facts["argument-hint"]
        assert skill.words("<what was said>").count("<what was said>") == 1


def test_skills_are_short_and_say_the_same_where_they_say_the_same() -> None:
    texts = {name: (SKILLS / name / "SKILL.md").read_text() for name in NAMES}
    assert {name: text.count("\n") for name, text in texts.items() if text.count("\n") > 150} == {}
    told = {
        text.partition("## How to drive it\n")[2].partition("\n## ")[0].strip() for text in texts.values()
    }
    assert [len(told), "" in told] == [1, False]


def test_a_file_without_a_head_is_a_skill_too() -> None:
    assert read_skill("bare", "Do it: $ARGUMENTS").words("now") == "Do it: now\n"


def test_what_skills_call_is_there(server: Portal) -> None:
    named = {name for skill in shipped_skills() for name in re.findall(r"`(stratum_\w+)", skill.body)}
    listed = trio.from_thread.run(server.client.list_tools, trio_token=server.token)
    assert "stratum_estimate" in named
    assert named - {tool.name for tool in listed.tools} == set()


def test_at_the_gate_the_plan_is_told_with_its_tasks(server: Portal) -> None:
    (spec,) = shipped_skill("stratum-plan").specs
    flow = server.call("stratum_plan", spec=spec, flow="main", inputs={"goal": "g"})["flow_id"]
    full = [
        {"id": "a", "description": "x"},
        {"id": "b", "description": "x"},
        {"id": "c", "description": "x", "depends_on": ["a"]},
    ]
    done(server, flow, "plan", {"tasks": full, "not_done": []})
    told = server.call("stratum_estimate", flow_id=flow)
    conforms({key: value for key, value in told.items() if key != "flow_id"}, "estimate.v1")
    assert [step["step_id"] for step in told["steps"]] == ["approve", "build", "check"]
    assert (told["steps"][1]["tasks"]["likely"], told["steps"][1]["longest_chain"]) == (3, ["a", "c"])
    assert "2. build: 3 tasks, each in a worktree of its own" in told["text"]
    other = server.call("stratum_estimate", spec=spec, flow="main", inputs={"goal": "g"})
    assert (other["driver"], len(other["steps"])) == ("client", 4)
    refused = server.call("stratum_estimate", spec="version: 3")
    assert (refused["status"], refused["error_type"]) == ("error", "invalid_spec")
