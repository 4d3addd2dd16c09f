"""Whatever the program prints as JSON keeps the contract that is shipped with it."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from stratum_git.model import messages, state
from stratum_git.model.ids import Json
from stratum_git.resources import contracts
from tests.support.contracts import conforms, contract
from tests.support.shell import Shell, interrupt, wait_for

FLOWS = """\
version: "0.4"
contracts:
  T: {tasks: {type: array}}
functions:
  review: {mode: gate, timeout: 60}
  ask: {mode: gate}
  work: {mode: compute, intent: Do it, output: R}
flows:
  plain:
    steps:
      - {id: plan, type: decompose, agent: default, intent: Plan it, output_contract: T, skip_if: "1 == 2"}
      - {id: idle, agent: default, intent: Nothing, skip_if: "1 == 1", depends_on: [plan]}
      - {id: build, type: parallel_dispatch, source: $.steps.plan.output.tasks, intent_template: Do it}
      - id: pass
        function: ask
        depends_on: [build]
        policy: flag
        on_approve: null
        on_revise: plan
        on_kill: null
  gated:
    max_rounds: 1
    steps:
      - {id: write, agent: default, intent: Write it}
      - {id: look, function: ask, depends_on: [write], on_approve: last, on_revise: write, on_kill: tidy}
      - {id: last, agent: default, intent: End it, depends_on: [look]}
      - {id: tidy, agent: default, intent: Tidy it, depends_on: [last]}
"""
AGENT = """\
echo "$STRATUM_STEP$STRATUM_ATTEMPT" >> "$STRATUM_STEP-$STRATUM_TASK.txt"
echo '{"tasks": [{"id": "x"}, {"id": "y"}]}'
"""
ANSWERS: dict[str, str] = {
    "query flows": "query-flows.v1",
    "query flow": "flow-state.v1",
    "query gates": "query-gates.v1",
    "query flows --long": "query-flows-long.v1",
    "query flow --long": "query-flow-long.v1",
    "log --json": "events.v1",
}


def spec(shell: Shell) -> str:
    return shell.spec(FLOWS.replace("  work: {mode: compute, intent: Do it, output: R}\n", ""))


def look(shell: Shell, *flows: str) -> dict[str, dict[str, Json]]:
    """Asks everything that can be asked of *flows*, or else of all; returns their states by their ids."""
    states: dict[str, dict[str, Json]] = {}
    for words, name in ANSWERS.items():
        verb, *rest = words.split()
        if words in {"query flows", "query gates", "query flows --long"}:
            conforms(shell.run(verb, *rest).json(), name)
            continue
        for flow in flows or shell.flows():
            options = [word for word in rest if word.startswith("-")]
            kind = [word for word in rest if word not in options]
            said = shell.run(verb, *kind, flow, *options)
            assert (said.code, said.err) == (0, "")
            conforms(said.json(), name)
            if name == "flow-state.v1":
                state = said.json()
                assert isinstance(state, dict)
                states[flow] = state
    for one in states.values():
        for record in records(one):
            conforms(record, "audit-record.v1")
    return states


def records(state: dict[str, Json]) -> list[dict[str, Json]]:
    rounds = state["rounds"]
    assert isinstance(rounds, list)
    found: list[dict[str, Json]] = json.loads(json.dumps([*rounds, state["records"]]))
    return [record for part in found for record in part]  # type: ignore[misc]


def test_flows_in_every_state_keep_the_contracts(shell: Shell) -> None:
    conforms(shell.run("query", "flows").json(), "query-flows.v1")
    conforms(shell.run("query", "gates").json(), "query-gates.v1")
    agent = shell.agent(AGENT)
    complete = shell.run("run", spec(shell), "--flow", "plain", "--json", "--quiet", agent)
    assert complete.code == 0, complete.out
    conforms(complete.json(), "run-result.v1")
    failed = shell.run("run", spec(shell), "--flow", "plain", "--json", "--quiet", shell.agent("exit 3"))
    assert failed.code == 1
    conforms(failed.json(), "run-result.v1")
    waits = shell.run("run", spec(shell), "--flow", "gated", "--json", "--quiet", shell.agent(AGENT))
    assert waits.code == 1
    flow = waits.json()["flow_id"]  # type: ignore[call-overload, index]
    assert isinstance(flow, str)
    states = look(shell)
    assert sorted(str(state["status"]) for state in states.values()) == [
        "awaiting_gate",
        "complete",
        "failed",
    ]
    kinds = {record["type"] for state in states.values() for record in records(state)}
    assert kinds == {"step", "skip", "policy"}

    revised = shell.run("gate", "revise", flow, "look", "--note", "once more", "--resolved-by", "agent")
    conforms(revised.json(), "gate-mutation.v1")
    shell.run("resume", flow, agent, "--quiet")
    states = look(shell, flow)
    assert states[flow]["rounds_count"] == 1
    assert records(states[flow])[1]["resolved_by"] == "agent"

    rejected = shell.run("gate", "reject", flow, "look", "--resolved-by", "system")
    conforms(rejected.json(), "gate-mutation.v1")
    assert look(shell, flow)[flow]["status"] == "killed"
    shell.run("resume", flow, agent, "--quiet")
    state = look(shell, flow)[flow]
    assert [state["status"], state["terminal_status"], state["current_step_id"]] == ["killed", "killed", None]
    over = shell.run("gate", "approve", flow, "look")
    conforms(over.json(), "gate-conflict.v1")


def test_a_flow_in_the_middle_of_its_work_keeps_the_contracts(shell: Shell) -> None:
    slow = shell.agent(f'touch "$HOME/at-$STRATUM_STEP"\n{AGENT}[ "$STRATUM_STEP" = plan ] || sleep 60')
    process = shell.start("run", spec(shell), "--flow", "plain", slow)
    wait_for(shell.home / "at-build")
    (state,) = look(shell).values()
    assert [state["status"], state["current_step_id"]] == ["running", "build"]
    refs = shell.repo.git("for-each-ref", "--format=%(refname)", "refs/stratum/leases").split()
    assert len(refs) == 2
    for ref in refs:
        conforms(json.loads(shell.repo.show(ref)), "lease.v1")
    interrupt(process)
    look(shell)
    conforms(shell.run("cancel", shell.flow(), "--json", "--quiet").json(), "run-result.v1")
    (state,) = look(shell).values()
    assert [state["status"], state["terminal_status"]] == ["cancelled", "cancelled"]


def test_a_blocked_flow_and_results_in_conflict_keep_the_contracts(shell: Shell) -> None:
    tasks = '{"tasks": [{"id": "x"}, {"id": "y"}]}'
    both = shell.agent(f"echo \"$STRATUM_TASK\" > same.txt\necho '{tasks}'")
    assert shell.run("run", spec(shell), "--flow", "plain", both).code == 1
    shell.repo.write("a.txt", "mine\n")
    shell.run("run", spec(shell), "--flow", "gated", shell.agent("echo theirs > a.txt"))
    assert {str(state["status"]) for state in look(shell).values()} == {"failed", "blocked"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("query flow none", 1),
        ("query flow", 2),
        ("query gates --long", 2),
        ("query nothing", 2),
        ("query", 2),
        ("gate approve none look", 1),
        ("gate approve none", 2),
        ("gate perhaps none look", 2),
        ("gate approve none look --resolved-by me", 2),
        ("log none --json", 2),
        ("run none.yaml --json", 2),
        ("run SPEC --json", 2),
        ("run SPEC --json --colour", 2),
        ("run BAD --json", 2),
        ("resume none --json", 2),
        ("cancel none --json", 2),
        ("validate none.yaml --json", 2),
        ("validate --json", 2),
    ],
)
def test_errors_keep_their_contract(shell: Shell, words: str, code: int) -> None:
    bad = str(shell.file("bad.yaml", 'version: "0.4"\nflows: {a: {steps: [{id: b}, {}]}}\n'))
    stands = {"SPEC": spec(shell), "BAD": bad}
    said = shell.run(*(stands.get(word, word) for word in words.split()))
    assert (said.code, said.err) == (code, "")
    conforms(said.json(), "error.v1")


def test_checked_files_keep_their_contract(shell: Shell) -> None:
    bad = str(shell.file("bad.yaml", "version: 0.3\nflows:\n  a:\n    steps:\n      - {id: 1}\n"))
    said = shell.run("validate", spec(shell), bad, str(shell.file("worse.yaml", "a: [")), "--json")
    assert said.code == 1
    conforms(said.json(), "validate-result.v1")


def test_every_event_and_outcome_is_in_the_contract() -> None:
    trailers = contract("events.v1").schema["items"]["properties"]["trailers"]["properties"]  # type: ignore[index]
    assert trailers["Stratum-Event"]["enum"] == [kind.__name__ for kind in get_args(messages.Event)]
    assert trailers["Stratum-Outcome"]["enum"] == [kind.__name__ for kind in get_args(messages.Outcome)]


def test_every_state_of_steps_and_tasks_is_in_the_contract() -> None:
    steps = json.loads(json.dumps(contract("query-flow-long.v1").schema))["properties"]["steps"]["items"]
    tasks = steps["properties"]["tasks"]["items"]["properties"]
    assert set(steps["properties"]["state"]["enum"]) == {*map(word, get_args(state.StepState))}
    assert set(tasks["state"]["enum"]) == {*map(word, get_args(state.TaskState))}
    told = {field.name for kind in get_args(state.TaskState) for field in fields(kind)} - {"output", "done"}
    assert {*tasks} == {"task_id", "state", "candidates", "chosen", "attempts", *told}
    assert tasks["kind"]["enum"] == [*get_args(messages.RejectionKind)]


def word(kind: type) -> str:
    """How a state is called in an answer."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def test_every_contract_is_a_schema_in_the_table_and_closed() -> None:
    table = re.findall(r"^\| `(.*?)\.schema\.json`", (contracts() / "README.md").read_text(), re.MULTILINE)
    names = [path.name.removesuffix(".schema.json") for path in sorted(Path(contracts()).glob("*.json"))]
    assert sorted(table) == names
    unheard_of: Json = {"unheard-of": [{"unheard-of": True}]}
    for name in names:
        assert not contract(name).is_valid(unheard_of), name
        assert not contract(name).is_valid([unheard_of]), name
