"""Decisions at a gate: what is answered, what follows, and that of several one counts."""

from __future__ import annotations

import json

import pytest

from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import open_repository
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId
from stratum_git.model.messages import Answered, Started
from stratum_git.model.state import Program
from stratum_git.store.flows import Entry, FlowLog, Stored, load
from tests.support.contracts import conforms
from tests.support.shell import Said, Shell

SPEC = """\
version: "0.4"
functions:
  review: {mode: gate}
flows:
  main:
    max_rounds: 1
    steps:
      - {id: write, agent: default, intent: Write it}
      - {id: ask, function: review, depends_on: [write], on_approve: sure, on_revise: write, on_kill: tidy}
      - {id: sure, function: review, depends_on: [ask], on_approve: null, on_revise: write, on_kill: null}
      - {id: tidy, agent: default, intent: Tidy it, depends_on: [sure]}
"""
FLOW = FlowId("main-1")


@pytest.fixture
def flow(shell: Shell) -> FlowId:
    """A flow that a client drives and that waits at its first gate: no agent has to run for that."""
    loaded = load_spec(SPEC)
    assert loaded.spec is not None
    program = compile_program(loaded.spec, None)
    assert isinstance(program, Program)
    head, target = Oid(shell.repo.head()), RefName("refs/heads/main")
    started = Started(1.0, "c", FLOW, "main", {}, head, target, driver="client")
    append(shell, None, Entry(started, *begin(program, started)))
    client_writes(shell)
    return FLOW


def client_writes(shell: Shell) -> None:
    """The client reports the first step."""
    stored, _ = load(open_repository(shell.repo.path), FLOW)
    done = Answered(2.0, "c", StepId("write"), {}, "ok")
    append(shell, stored.tip, Entry(done, *advance(stored.state, done)))


def append(shell: Shell, tip: Oid | None, entry: Entry) -> None:
    repo = open_repository(shell.repo.path)
    with FlowLog(repo, ObjectWriter(repo, durable=False), Signature("c", "c@x", 0.0), SPEC) as log:
        assert isinstance(log.append(FLOW, tip, [entry]), Stored)


def state(shell: Shell) -> dict[str, Json]:
    found = shell.run("query", "flow", FLOW).json()
    assert isinstance(found, dict)
    return found


def decided(said: Said, step: str, outcome: str, result: str) -> None:
    assert said.json() == {
        "_schema_version": "1",
        "ok": True,
        "flow_id": FLOW,
        "step_id": step,
        "outcome": outcome,
        "result": result,
    }
    assert said.code == 0
    conforms(said.json(), "gate-mutation.v1")


def test_two_approvals_complete_the_flow(shell: Shell, flow: FlowId) -> None:
    first = shell.run("gate", "approve", flow, "ask", "--note", "fine", "--resolved-by", "agent")
    decided(first, "ask", "approve", "execute_step")
    assert [state(shell)["status"], state(shell)["current_step_id"]] == ["awaiting_gate", "sure"]
    decided(shell.run("gate", "approve", flow, "sure"), "sure", "approve", "complete")
    found = state(shell)
    assert [found["status"], found["terminal_status"], found["current_step_id"]] == ["complete", None, None]
    records = json.loads(json.dumps(found["records"]))[1:]
    told = [(r["step_id"], r["outcome"], r["rationale"], r["resolved_by"]) for r in records]
    assert told == [("ask", "approve", "fine", "agent"), ("sure", "approve", "", "human")]


def test_a_rejection_ends_the_flow_or_lets_it_clean_up(shell: Shell, flow: FlowId) -> None:
    decided(shell.run("gate", "reject", flow, "ask"), "ask", "kill", "execute_step")
    found = state(shell)
    assert [found["status"], found["terminal_status"], found["current_step_id"]] == [
        "killed",
        "killed",
        "tidy",
    ]


def test_a_rejection_without_anything_to_clean_up_is_the_end(shell: Shell, flow: FlowId) -> None:
    shell.run("gate", "approve", flow, "ask")
    decided(shell.run("gate", "reject", flow, "sure"), "sure", "kill", "killed")
    found = state(shell)
    assert [found["status"], found["current_step_id"], found["current_idx"]] == ["killed", None, 4]


@pytest.mark.parametrize("step", ["sure", "tidy", "none"])
def test_a_decision_about_another_step_is_a_conflict(shell: Shell, flow: FlowId, step: str) -> None:
    before = shell.traces()
    said = shell.run("gate", "approve", flow, step)
    detail = f"the flow is at ask, not at {step}"
    assert said.json() == {"conflict": True, "flow_id": flow, "step_id": step, "detail": detail}
    assert (said.code, said.err) == (2, "")
    assert shell.traces() == before


def test_a_decision_about_a_flow_that_is_over_is_a_conflict(shell: Shell, flow: FlowId) -> None:
    shell.run("gate", "approve", flow, "ask")
    shell.run("gate", "approve", flow, "sure")
    said = shell.run("gate", "reject", flow, "sure")
    assert said.code == 2
    assert json.loads(said.out)["detail"] == "the flow is over: it is complete"
    conforms(said.json(), "gate-conflict.v1")


def test_a_step_that_is_no_gate_is_an_error(shell: Shell, flow: FlowId) -> None:
    shell.run("gate", "revise", flow, "ask")
    said = shell.run("gate", "approve", flow, "write")
    assert said.code == 1
    assert said.error() == {"code": "not_a_gate_step", "message": "write is no gate"}


def test_rounds_beyond_the_last_are_refused_and_the_gate_still_waits(shell: Shell, flow: FlowId) -> None:
    decided(shell.run("gate", "revise", flow, "ask"), "ask", "revise", "execute_step")
    assert state(shell)["round"] == 1
    client_writes(shell)
    said = shell.run("gate", "revise", flow, "ask")
    assert said.code == 1
    assert said.error()["code"] == "max_rounds_exceeded"
    found = state(shell)
    assert [found["status"], found["round"], found["current_step_id"]] == ["awaiting_gate", 1, "ask"]
    decided(shell.run("gate", "approve", flow, "ask"), "ask", "approve", "execute_step")


def test_what_cannot_be_understood_is_no_conflict(shell: Shell, flow: FlowId) -> None:
    for words in (
        ("perhaps", flow, "ask"),
        ("approve", flow),
        ("approve", flow, "ask", "--resolved-by", "me"),
    ):
        said = shell.run("gate", *words)
        assert (said.code, said.err) == (2, "")
        assert said.error()["code"] == "USAGE"
        assert said.error()["hint"] == "see `stratum-git gate --help`"
    assert state(shell)["current_step_id"] == "ask"


def test_of_several_who_decide_at_once_one_does(shell: Shell, flow: FlowId) -> None:
    outcomes = ("approve", "reject", "revise", "approve", "reject", "revise")
    others = [shell.start("gate", outcome, flow, "ask") for outcome in outcomes]
    answers = [(process.communicate(timeout=60)[0], process.returncode) for process in others]
    assert sorted(code for _, code in answers) == [0, 2, 2, 2, 2, 2]
    for out, code in answers:
        conforms(json.loads(out), "gate-conflict.v1" if code else "gate-mutation.v1")
    winner = next(json.loads(out) for out, code in answers if code == 0)
    found = state(shell)
    rounds = json.loads(json.dumps([*found["rounds"], found["records"]]))  # type: ignore[misc]
    assert [r["outcome"] for part in rounds for r in part if r["type"] == "gate"] == [winner["outcome"]]


def test_whoever_runs_the_flow_goes_on_from_there(shell: Shell) -> None:
    agent = shell.agent('echo "$STRATUM_STEP" >> done.txt')
    assert shell.run("run", shell.spec(SPEC), agent, "--quiet").code == 1
    name = shell.flow()
    said = shell.run("gate", "reject", name, "ask")
    assert said.err == f"hint: `stratum-git resume {name}` goes on\n"
    assert shell.run("resume", name, agent, "--quiet").code == 1
    assert (shell.repo.path / "done.txt").read_text() == "write\ntidy\n"
    listed = shell.run("query", "flows").json()
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    assert [listed[0]["status"], listed[0]["terminal_status"]] == ["killed", "killed"]
