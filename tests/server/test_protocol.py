"""What a client is told, in the protocol's words: every tool, every status, every refusal."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.server.driven import (
    Answer,
    decided,
    dispatch,
    done,
    plan,
    refs,
    reported,
    row,
    spec,
    tampered,
)
from tests.support.mortal import mortals
from tests.support.portal import Portal, serving
from tests.support.shell import Shell

GATE = "function: review, on_approve: null, on_revise: s1, on_kill: null"


def part(answer: Answer, *names: str) -> list[Any]:
    """Returns some of the entries of an answer, in order."""
    return [answer.get(name) for name in names]


# --- steps ------------------------------------------------------------------------------------------------


def test_every_kind_of_step_is_told_as_the_protocol_has_it(server: Portal) -> None:
    text = (
        spec(
            "function: make, inputs: {topic: $.input.topic}",
            'intent: write, model: small, output_contract: Out, retries: 2, ensure: ["result.ok == True"]',
            "type: decompose, agent: planner, intent: split, output_contract: Plan",
            "flow: within, inputs: {topic: $.input.topic}",
            "function: review, agent: boss, on_approve: s6, on_revise: s2, on_kill: null",
            dispatch(isolation="none", agent="coder").replace("$.input.tasks", "$.steps.s3.output.tasks"),
        ).replace("input: {tasks: {type: array}}", "input: {topic: {type: string}}")
        + "  within: {input: {topic: {type: string}}, steps: [{id: x, intent: inner}]}\n"
    )
    graph = [{"id": "t", "own": "kept"}]
    first = plan(server, text, {"topic": "git"})
    name = first["flow_id"]
    place = {"flow_id": name, "total_steps": 6}
    assert first == {
        **place, "status": "execute_step", "step_number": 1, "step_id": "s1", "step_mode": "function",
        "function": "make", "agent": None, "mode": "infer", "intent": "make it", "inputs": {"topic": "git"},
        "output_contract": "Out", "output_fields": {"ok": "boolean"}, "ensure": ["result.ok"],
        "retries_remaining": 2,
    }  # fmt: skip
    assert done(server, name, "s1", {"ok": True}) == {
        **place, "status": "execute_step", "step_number": 2, "step_id": "s2", "step_mode": "inline",
        "intent": "write", "agent": None, "inputs": {}, "output_contract": "Out",
        "output_fields": {"ok": "boolean"}, "ensure": ["result.ok == True"], "retries_remaining": 2,
        "model": "small",
    }  # fmt: skip
    assert done(server, name, "s2", {"ok": True}) == {
        **place, "status": "execute_step", "step_number": 3, "step_id": "s3", "step_mode": "decompose",
        "intent": "split", "agent": "planner", "inputs": {}, "output_contract": "Plan",
        "output_fields": {"tasks": "array"}, "ensure": [], "retries_remaining": 2,
    }  # fmt: skip
    inner = done(server, name, "s3", {"tasks": graph})
    child = inner["child_flow_id"]
    assert inner == {
        "status": "execute_flow", "parent_flow_id": name, "parent_step_id": "s4", "child_flow_id": child,
        "child_flow_name": "within", "step_number": 4, "total_steps": 6,
        "child_step": {
            "status": "execute_step", "flow_id": child, "step_number": 1, "total_steps": 1, "step_id": "x",
            "step_mode": "inline", "intent": "inner", "agent": None, "inputs": {}, "output_contract": None,
            "output_fields": {}, "ensure": [], "retries_remaining": 1, "model": None,
        },
    }  # fmt: skip
    ended = done(server, child, "x", {"made": 1})
    assert part(ended, "status", "flow_id", "output") == ["complete", child, {"made": 1}]
    assert done(server, name, "s4", ended) == {
        **place, "status": "await_gate", "step_number": 5, "step_id": "s5", "step_mode": "function",
        "function": "review", "agent": "boss", "on_approve": "s6", "on_revise": "s2", "on_kill": None,
        "timeout": 900,
    }  # fmt: skip
    fanned = decided(server, name, "s5", "approve")
    batch = fanned.pop("batch")
    assert fanned == {
        **place, "status": "parallel_dispatch", "step_number": 6, "step_id": "s6",
        "step_mode": "parallel_dispatch", "tasks": graph, "agent": "coder", "max_concurrent": 3,
        "isolation": "none", "require": "all", "merge": "sequential_apply",
        "intent_template": "do {task.id}", "ensure": [], "retries_remaining": 2,
    }  # fmt: skip
    assert [part(one, "task_id", "attempt", "path", "branch", "intent") for one in batch] == [
        ["t", 1, str(server.repo.path), None, "do t"]
    ]
    end = reported(server, name, row("t"), step="s6")
    assert part(end, "status", "flow_id") == ["complete", name]
    assert end["output"]["outcome"] == "complete"
    audit = server.call("stratum_audit", flow_id=name)
    assert part(audit, "status", "steps_completed", "total_steps", "round", "rounds", "flow_name") == [
        "complete", 6, 6, 0, [], "main",
    ]  # fmt: skip
    assert audit["trace"] == end["trace"]
    modes = ["function", "inline", "decompose", "flow", None, "parallel_dispatch"]
    assert [one.get("step_mode") for one in audit["trace"]] == modes
    assert [part(one, "function_name", "child_flow_id", "agent") for one in audit["trace"]][:4] == [
        ["make", None, None], ["", None, None], ["", None, "planner"], ["", child, None],
    ]  # fmt: skip
    assert part(audit["trace"][4], "type", "outcome", "rationale", "resolved_by") == [
        "gate", "approve", "because", "human",
    ]  # fmt: skip
    (within,) = audit["child_audits"]["s4"]
    assert part(within, "flow_id", "status") == [child, "complete"]
    assert (server.call("stratum_resume", flow_id=name))["status"] == "complete"
    assert (server.call("stratum_audit", flow_id=child))["status"] == "complete"


def test_what_is_wrong_with_a_result_is_told_and_the_last_try_ends_the_flow(server: Portal) -> None:
    schema = "{type: object, required: [n]}"
    text = spec(
        f"function: make, output_schema: {schema}",
        'intent: x, retries: 2, guardrails: ["rm -rf", "drop +table"]',
        'intent: x, ensure: ["result.n > 1"], on_fail: s2',
        "intent: x, retries: 2, ensure: [result.ok]",
    )
    name = (plan(server, text))["flow_id"]
    said = done(server, name, "s1", {"ok": True})
    assert part(said, "status", "step_id", "retries_remaining") == ["schema_failed", "s1", 1]
    assert said["violations"] == ["output_schema violation: 'n' is a required property"]
    assert (done(server, name, "s1", {"ok": True, "n": 1}))["step_id"] == "s2"
    said = done(server, name, "s2", {"cmd": "DROP  TABLE x; rm -rf /"})
    assert part(said, "status", "retries_remaining") == ["guardrail_blocked", 1]
    assert said["violations"] == ["guardrail matched: 'rm -rf'", "guardrail matched: 'drop +table'"]
    assert (done(server, name, "s2", {"cmd": "echo hello"}))["step_id"] == "s3"
    said = done(server, name, "s3", {"n": 1})
    assert part(said, "status", "step_id", "routed_from") == ["execute_step", "s2", "s3"]
    assert said["violations"] == ["ensure 'result.n > 1' failed"]
    # Asked again, it is told what to do, and no more what was wrong.
    assert "violations" not in server.call("stratum_resume", flow_id=name)
    assert (done(server, name, "s2", {}))["step_id"] == "s3"
    assert (done(server, name, "s3", {"n": 2}))["step_id"] == "s4"
    said = done(server, name, "s4", {"ok": False})
    assert part(said, "status", "retries_remaining") == ["ensure_failed", 1]
    said = done(server, name, "s4", {"ok": False})
    assert said == {
        "status": "error", "error_type": "retries_exhausted", "flow_id": name, "step_id": "s4",
        "step_mode": "inline", "agent": None, "message": "Step 's4' exhausted all retries",
        "violations": ["ensure 'result.ok' failed"],
    }  # fmt: skip
    before = refs(server.repo)
    again = done(server, name, "s4", {"ok": True})
    assert part(again, "status", "error_type") == ["error", "retries_exhausted"]
    assert again["next"][0]["tool"] == "stratum_audit"
    assert (server.call("stratum_resume", flow_id=name))["error_type"] == "retries_exhausted"
    assert (server.call("stratum_audit", flow_id=name))["status"] == "failed"
    assert refs(server.repo) == before


def test_the_sections_of_a_certificate_have_to_be_there(server: Portal) -> None:
    template = "{sections: [{id: a, label: Premises, description: what holds}], require_citations: true}"
    first = plan(server, spec(f"intent: think, retries: 3, reasoning_template: {template}"))
    assert "## Premises" in first["intent"]
    said = done(server, first["flow_id"], "s1", {"artifact": "nothing"})
    assert said["status"] == "ensure_failed"
    assert (done(server, first["flow_id"], "s1", {"artifact": "## Premises\n[P1] so"}))[
        "status"
    ] == "complete"


def test_a_plan_with_a_graph_that_makes_no_sense_is_sent_back_to_its_planner(server: Portal) -> None:
    text = spec(
        "type: decompose, agent: p, intent: x, output_contract: Plan",
        dispatch().replace("$.input.tasks", "$.steps.s1.output.tasks"),
    )
    name = (plan(server, text))["flow_id"]
    said = done(server, name, "s1", {"tasks": [{"id": "a", "depends_on": ["b"]}]})
    assert said["status"] == "ensure_failed"
    assert "b" in said["violations"][0]
    assert (done(server, name, "s1", {"tasks": [{"id": "a"}]}))["status"] == "parallel_dispatch"


def test_a_pattern_that_takes_for_ever_holds_up_nobody(server: Portal) -> None:
    name = plan(server, spec('intent: x, retries: 3, guardrails: ["(a+)+$"]'))["flow_id"]
    other = plan(server, spec("intent: x"))["flow_id"]
    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        slow = pool.submit(done, server, name, "s1", {"text": "a" * 5000 + "!"})
        while not slow.running():
            time.sleep(0.001)
        assert server.call("stratum_resume", flow_id=other)["step_id"] == "s1"
        looked = time.monotonic() - began
        said = slow.result()
        took = time.monotonic() - began
    assert said["status"] == "guardrail_blocked"
    assert "(a+)+$" in said["violations"][0]
    # How long it takes is for a busy machine to say; that nobody waited for it is not.
    assert looked < took < 20


def test_steps_are_left_out(server: Portal) -> None:
    text = spec("intent: x, skip_if: $.input.quick, skip_reason: quick", "intent: y", "intent: z")
    first = plan(server, text, {"quick": True})
    name = first["flow_id"]
    assert first["step_id"] == "s2"
    after = server.call("stratum_skip_step", flow_id=name, step_id="s2", reason="not now")
    assert after["step_id"] == "s3"
    end = server.call("stratum_skip_step", flow_id=name, step_id="s3", reason="nor now")
    assert part(end, "status", "output") == ["complete", None]
    assert [part(one, "type", "step_id", "skip_reason") for one in end["trace"]] == [
        ["skip", "s1", "quick"], ["skip", "s2", "not now"], ["skip", "s3", "nor now"],
    ]  # fmt: skip
    everything = plan(server, spec("intent: x, skip_if: $.input.quick"), {"quick": True})
    assert everything["status"] == "complete"


# --- gates ------------------------------------------------------------------------------------------------


def test_a_gate_sends_back_kills_and_approves(server: Portal) -> None:
    cleaning = "function: review, on_approve: null, on_revise: s1, on_kill: s3"
    name = (plan(server, spec("intent: x", cleaning, "intent: clean", max_rounds=1)))["flow_id"]
    assert (done(server, name, "s1"))["status"] == "await_gate"
    assert (decided(server, name, "s2", "revise"))["step_id"] == "s1"
    assert (done(server, name, "s1"))["status"] == "await_gate"
    said = decided(server, name, "s2", "revise")
    assert part(said, "status", "error_type", "round") == ["error", "max_rounds_exceeded", 1]
    cleanup = decided(server, name, "s2", "kill", resolved_by="agent")
    assert part(cleanup, "status", "step_id") == ["execute_step", "s3"]
    assert (server.call("stratum_resume", flow_id=name))["step_id"] == "s3"
    assert (server.call("stratum_audit", flow_id=name))["status"] == "killed"
    end = done(server, name, "s3", {"clean": True})
    assert part(end, "status", "output") == ["killed", {"clean": True}]
    audit = server.call("stratum_audit", flow_id=name)
    assert part(audit, "status", "round", "steps_completed") == ["killed", 1, 4]
    assert [one["outcome"] for one in audit["trace"] if one["type"] == "gate"] == ["revise", "kill"]
    (past,) = audit["rounds"]
    assert [past["round"], [one["type"] for one in past["steps"]]] == [0, ["step", "gate"]]
    assert {one["round_start_step_id"] for one in audit["trace"]} == {"s1"}

    name = (plan(server, spec("intent: x", GATE)))["flow_id"]
    done(server, name, "s1", {"x": 1})
    assert part(decided(server, name, "s2", "approve"), "status", "output") == ["complete", {"x": 1}]
    name = (plan(server, spec("intent: x", GATE)))["flow_id"]
    done(server, name, "s1")
    assert (decided(server, name, "s2", "kill"))["status"] == "killed"
    flagged = GATE.replace("null, on_revise", "s3, on_revise") + ", policy: flag"
    name = (plan(server, spec("intent: x", flagged, "intent: y")))["flow_id"]
    assert (done(server, name, "s1"))["step_id"] == "s3"
    audit = server.call("stratum_audit", flow_id=name)
    assert part(audit["trace"][1], "type", "effective_policy", "resolved_outcome") == [
        "policy", "flag", "approve",
    ]  # fmt: skip


def test_a_gate_whose_time_is_over_is_killed_however_often_the_server_changes(shell: Shell) -> None:
    with serving(shell) as server:
        slow = (plan(server, spec("intent: x", GATE)))["flow_id"]
        said = server.call("stratum_check_timeouts", flow_id=slow)
        assert part(said, "status", "message") == ["no_timeout", "Current step is not a gate step"]
        done(server, slow, "s1")
        left = (server.call("stratum_check_timeouts", flow_id=slow))["remaining_seconds"]
        quick = (plan(server, spec("intent: x", GATE.replace("review", "hurry"))))["flow_id"]
        done(server, quick, "s1")
    with serving(shell) as server:
        said = server.call("stratum_check_timeouts", flow_id=slow)
        assert said["status"] == "no_timeout"
        assert 890 < said["remaining_seconds"] < left < 900
        deadline = time.monotonic() + 5
        while (said := server.call("stratum_check_timeouts", flow_id=quick))["status"] == "no_timeout":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert part(said, "status", "reason") == ["killed", "timeout"]
        assert part(said["trace"][1], "outcome", "resolved_by", "rationale") == ["kill", "system", "timeout"]
        assert said["trace"][1]["duration_ms"] >= 1000
        said = server.call("stratum_check_timeouts", flow_id=quick)
        assert part(said, "status", "message") == ["no_timeout", "Flow is already complete"]


def test_whoever_decides_in_a_terminal_is_heard_at_the_next_call(server: Portal) -> None:
    name = (plan(server, spec("intent: x", GATE.replace("null, on_revise", "s3, on_revise"), "intent: y")))[
        "flow_id"
    ]
    done(server, name, "s1")
    assert server.shell.run("gate", "approve", name, "s2", "--note", "seen").code == 0
    assert (server.call("stratum_resume", flow_id=name))["step_id"] == "s3"
    assert (done(server, name, "s3"))["status"] == "complete"
    audit = server.call("stratum_audit", flow_id=name)
    assert part(audit["trace"][1], "outcome", "rationale") == ["approve", "seen"]


# --- loops ------------------------------------------------------------------------------------------------


def passed(server: Portal, name: str, result: object) -> Answer:
    return server.call("stratum_iteration_report", flow_id=name, step_id="s1", result=result)


def test_a_loop_goes_on_until_its_result_is_good_and_the_best_one_counts(server: Portal) -> None:
    text = spec(
        'intent: x, retries: 2, max_iterations: 4, score_expr: result.n, exit_criterion: "best_score > 8",'
        ' ensure: ["result.n >= 5"]',
        "intent: y",
    )
    name = (plan(server, text))["flow_id"]
    assert server.call("stratum_iteration_start", flow_id=name, step_id="s1") == {
        "status": "iteration_started", "flow_id": name, "step_id": "s1", "max_iterations": 4,
        "exit_criterion": "best_score > 8", "iteration": 0,
    }  # fmt: skip
    said = passed(server, name, {"n": 3})
    assert said == {
        "status": "iteration_continue", "flow_id": name, "step_id": "s1", "iteration": 1,
        "max_iterations": 4, "exit_criterion_met": False, "outcome": "continue",
    }  # fmt: skip
    assert (passed(server, name, {"n": 9, "x": 1}))["outcome"] == "exit_success"
    after = done(server, name, "s1", {"n": 1})
    assert after["step_id"] == "s2"
    end = done(server, name, "s2")
    assert end["output"] == {}
    audit = server.call("stratum_audit", flow_id=name)
    loops = audit["iterations"]["s1"]
    assert [part(one, "iteration", "outcome", "score") for one in loops] == [
        [1, "continue", 3], [2, "exit_success", 9],
    ]  # fmt: skip
    assert "result" not in loops[0]

    name = (plan(server, spec("intent: x, max_iterations: 4, score_expr: result.n")))["flow_id"]
    server.call("stratum_iteration_start", flow_id=name, step_id="s1")
    for n in (5, 4, 5):
        assert (passed(server, name, {"n": n}))["status"] == "iteration_continue"
    said = passed(server, name, {"n": 0})
    assert part(said, "status", "outcome", "final_result", "best_score", "best_iteration") == [
        "iteration_exit", "exit_stagnation", {"n": 5}, 5, 1,
    ]  # fmt: skip
    assert part(done(server, name, "s1", {"n": 0}), "status", "output") == ["complete", {"n": 5}]


def test_a_loop_without_a_score_ends_by_repetition_by_its_limit_or_by_hand(server: Portal) -> None:
    name = (plan(server, spec("intent: x, retries: 9, max_iterations: 3, ensure: [result.ok]")))["flow_id"]
    for results, outcome in ((("a", "b", "c"), "exit_max"), (("a", "a", "a"), "exit_stagnation")):
        server.call("stratum_iteration_start", flow_id=name, step_id="s1")
        said = [passed(server, name, {"r": result}) for result in results][-1]
        assert part(said, "outcome", "final_result") == [outcome, {"r": results[-1]}]
        busy = server.call("stratum_iteration_start", flow_id=name, step_id="s1")
        assert busy["error_type"] == "execution_error"
        assert (done(server, name, "s1", {"ok": False}))["status"] == "ensure_failed"
    server.call("stratum_iteration_start", flow_id=name, step_id="s1")
    passed(server, name, {"r": 1})
    said = server.call("stratum_iteration_abort", flow_id=name, step_id="s1", reason="no use")
    assert part(said, "status", "iteration", "reason") == ["iteration_aborted", 1, "no use"]
    # A loop that is left open ends with its step.
    done(server, name, "s1", {"ok": False})
    server.call("stratum_iteration_start", flow_id=name, step_id="s1")
    assert (done(server, name, "s1", {"ok": True}))["status"] == "complete"


def test_what_is_wrong_with_an_expression_of_a_loop_is_told(server: Portal) -> None:
    text = spec("intent: x, max_iterations: 3, score_expr: result.n, exit_criterion: result.m > 1")
    name = (plan(server, text))["flow_id"]
    server.call("stratum_iteration_start", flow_id=name, step_id="s1")
    said = passed(server, name, {"n": True})
    assert part(said, "outcome", "exit_criterion_met") == ["continue", False]
    assert "result.m" in said["exit_criterion_error"]
    (loop,) = (server.call("stratum_audit", flow_id=name))["iterations"]["s1"]
    assert loop["score"] is None
    assert "bool" in loop["score_error"]


# --- checkpoints ------------------------------------------------------------------------------------------


def test_a_flow_is_taken_back_to_a_name_also_by_another_server(shell: Shell) -> None:
    text = spec("intent: x, retries: 3, ensure: [result.ok]", "intent: y", "intent: z")
    with serving(shell) as server:
        name = (plan(server, text))["flow_id"]
        done(server, name, "s1", {"ok": False})
        said = server.call("stratum_commit", flow_id=name, label=" early ")
        assert part(said, "status", "label", "step_number", "current_step_id", "checkpoints") == [
            "committed", "early", 1, "s1", ["early"],
        ]  # fmt: skip
        done(server, name, "s1", {"ok": True})
        done(server, name, "s2", {"y": 1})
        server.call("stratum_commit", flow_id=name, label="late")
        assert (done(server, name, "s3"))["status"] == "complete"
        said = server.call("stratum_commit", flow_id=name, label="end")
        assert part(said, "step_number", "current_step_id", "checkpoints") == [
            4,
            None,
            ["early", "late", "end"],
        ]
    shell.repo.commit("meanwhile", {"new.txt": "x\n"})
    with serving(shell) as server:
        wrong = server.call("stratum_revert", flow_id=name, label="never")
        assert part(wrong, "error_type", "available") == ["checkpoint_not_found", ["early", "late", "end"]]
        said = server.call("stratum_revert", flow_id=name, label="late")
        assert part(said, "status", "step_id", "reverted_to") == ["execute_step", "s3", "late"]
        assert part(said["since"], "changed", "total") == [["new.txt"], 1]
        assert (server.call("stratum_audit", flow_id=name))["steps_completed"] == 2
        said = server.call("stratum_revert", flow_id=name, label="early")
        assert part(said, "status", "step_id", "retries_remaining", "reverted_to") == [
            "execute_step", "s1", 2, "early",
        ]  # fmt: skip
        end = server.call("stratum_revert", flow_id=name, label="end")
        assert part(end, "status", "reverted_to") == ["complete", None]
    assert (shell.repo.path / "new.txt").exists()


# --- what cannot be done ----------------------------------------------------------------------------------


def test_every_refusal_says_what_to_do_instead_and_changes_nothing(server: Portal) -> None:
    gated = spec("intent: x", GATE, max_rounds=1)
    fan = spec(dispatch())
    server.repo.write("twice/a b.md", "# A\n")
    server.repo.write("twice/a-b.md", "# B\n")
    server.repo.git("add", "twice")
    at_step = (plan(server, spec("intent: x", "intent: y")))["flow_id"]
    at_gate = (plan(server, gated))["flow_id"]
    done(server, at_gate, "s1")
    at_fan = (plan(server, fan, {"tasks": [{"id": "a"}]}))["flow_id"]
    over = (plan(server, spec("intent: x")))["flow_id"]
    done(server, over, "s1")
    parse, shape, sense = "flows: [", spec("intent: x, colour: red"), spec("function: none")
    step: dict[str, object] = {"result": {}}
    gate = {"outcome": "approve", "rationale": "", "resolved_by": "human"}
    tasks = {"task_results": [], "merge_status": "clean"}
    skip, nobody = {"reason": ""}, {"resolved_by": "x"}
    cases: list[tuple[str, str, dict[str, object], str]] = [
        ("stratum_plan", "", {"spec": fan, "flow": "none", "inputs": {}}, "execution_error"),
        ("stratum_plan", "", {"spec": fan, "flow": "main", "inputs": {}}, "execution_error"),
        ("stratum_plan", "", {"spec": parse, "flow": "main", "inputs": {}}, "ir_parse_error"),
        ("stratum_plan", "", {"spec": shape, "flow": "main", "inputs": {}}, "ir_validation_error"),
        ("stratum_plan", "", {"spec": sense, "flow": "main", "inputs": {}}, "ir_semantic_error"),
        ("stratum_resume", "none", {}, "flow_not_found"),
        ("stratum_resume", "../../heads/main", {}, "flow_not_found"),
        ("stratum_audit", "", {}, "flow_not_found"),
        ("stratum_step_done", "none", {"step_id": "s1", **step}, "flow_not_found"),
        ("stratum_step_done", at_step, {"step_id": "s2", **step}, "execution_error"),
        ("stratum_step_done", at_step, {"step_id": "none", **step}, "execution_error"),
        ("stratum_step_done", over, {"step_id": "s1", **step}, "execution_error"),
        ("stratum_step_done", at_gate, {"step_id": "s2", **step}, "gate_step_requires_gate_resolve"),
        ("stratum_step_done", at_fan, {"step_id": "s1", **step}, "wrong_step_type"),
        ("stratum_parallel_done", over, {"step_id": "s1", **tasks}, "flow_complete"),
        ("stratum_parallel_done", at_fan, {"step_id": "s2", **tasks}, "step_mismatch"),
        ("stratum_parallel_done", at_step, {"step_id": "s1", **tasks}, "wrong_step_type"),
        ("stratum_parallel_done", "none", {"step_id": "s1", **tasks}, "flow_not_found"),
        ("stratum_gate_resolve", over, {"step_id": "s1", **gate}, "flow_already_complete"),
        ("stratum_gate_resolve", at_step, {"step_id": "s1", **gate}, "not_a_gate_step"),
        ("stratum_gate_resolve", at_gate, {"step_id": "s1", **gate}, "wrong_step"),
        ("stratum_gate_resolve", at_gate, {"step_id": "s2", **gate, "outcome": "x"}, "invalid_outcome"),
        ("stratum_gate_resolve", at_gate, {"step_id": "s2", **gate, **nobody}, "invalid_resolved_by"),
        ("stratum_gate_resolve", "none", {"step_id": "s2", **gate}, "flow_not_found"),
        ("stratum_check_timeouts", "none", {}, "flow_not_found"),
        ("stratum_skip_step", at_gate, {"step_id": "s2", **skip}, "execution_error"),
        ("stratum_skip_step", at_step, {"step_id": "s2", **skip}, "execution_error"),
        ("stratum_skip_step", over, {"step_id": "s1", **skip}, "execution_error"),
        ("stratum_iteration_start", at_step, {"step_id": "s1"}, "execution_error"),
        ("stratum_iteration_start", at_gate, {"step_id": "s2"}, "execution_error"),
        ("stratum_iteration_start", over, {"step_id": "s1"}, "execution_error"),
        ("stratum_iteration_report", at_step, {"step_id": "s1", **step}, "execution_error"),
        ("stratum_iteration_abort", at_step, {"step_id": "s1", **skip}, "execution_error"),
        ("stratum_commit", at_step, {"label": "  "}, "invalid_label"),
        ("stratum_commit", "none", {"label": "x"}, "flow_not_found"),
        ("stratum_revert", at_step, {"label": "x"}, "checkpoint_not_found"),
        ("stratum_compile_speckit", "", {"tasks_dir": "nowhere"}, "directory_not_found"),
        ("stratum_compile_speckit", "", {"tasks_dir": "."}, "no_tasks"),
        ("stratum_compile_speckit", "", {"tasks_dir": "twice"}, "step_id_collision"),
    ]  # fmt: skip
    before = refs(server.repo)
    for tool, name, given, kind in cases:
        flow = {} if "tasks_dir" in given or "spec" in given else {"flow_id": name}
        said = server.call(tool, **flow, **given)
        assert part(said, "status", "error_type") == ["error", kind], (tool, given, said)
        assert said["message"], (tool, given)
        assert said["next"], (tool, given)
        assert all(one["tool"].startswith("stratum_") for one in said["next"])
    assert refs(server.repo) == before
    for tool, wrong in (
        ("stratum_step_done", {"flow_id": at_step, "step_id": "s1"}),
        ("stratum_step_done", {"flow_id": at_step, "step_id": "s1", "result": "text"}),
        ("stratum_parallel_done", {"flow_id": at_fan, "step_id": "s1", **tasks, "task_results": "x"}),
        ("stratum_plan", {"spec": 3, "flow": "main", "inputs": {}}),
        ("stratum_nothing", {}),
    ):  # fmt: skip
        assert server.is_wrong(tool, **wrong), tool
    # What is not a parameter is passed over.
    assert (server.call("stratum_resume", flow_id=at_step, colour="red"))["step_id"] == "s1"
    assert refs(server.repo) == before


def test_a_spec_that_was_changed_on_the_way_is_noticed(shell: Shell) -> None:
    text, fan = spec("intent: x, ensure: [result.ok]", "intent: y"), spec(dispatch())
    with serving(shell) as server, serving(shell) as late:
        for stepwise, parallel in (
            (text.replace(", ensure: [result.ok]", ""), fan.replace("do {", "undo {")),
            ("a: [", "b: ["),
        ):
            name = plan(server, text)["flow_id"]
            fanned = plan(server, fan, {"tasks": [{"id": "a"}]})["flow_id"]
            tampered(shell.repo, name, stepwise)
            tampered(shell.repo, fanned, parallel)
            before = refs(shell.repo)
            # Both servers, the one that has the flow loaded and the other, and not only once.
            for one in (server, late, server, late):
                said = done(one, name, "s1", {})
                assert said["status"] == "spec_modified"
                assert said["expected_checksum"] != said["actual_checksum"]
                assert said["error"]
                assert reported(one, fanned, row("a"))["status"] == "spec_modified"
            assert refs(shell.repo) == before


# --- several servers, and servers that die ----------------------------------------------------------------


def test_of_eight_reports_of_one_step_through_two_servers_one_is_taken(shell: Shell) -> None:
    with serving(shell) as one, serving(shell) as other, ThreadPoolExecutor(8) as pool:
        name = plan(one, spec("intent: x", "intent: y"))["flow_id"]
        found = list(pool.map(lambda n: done((one, other)[n % 2], name, "s1", {"number": n}), range(8)))
        taken = [said for said in found if said["status"] == "execute_step"]
        refused = [said for said in found if said["status"] == "error"]
        assert (len(taken), len(refused)) == (1, 7)
        assert {said["message"] for said in refused} == {"Expected step 's2', got 's1'"}
        for server in (one, other):
            assert server.call("stratum_audit", flow_id=name)["steps_completed"] == 1
    assert len(shell.repo.git("rev-list", "--first-parent", f"refs/stratum/flows/{name}").splitlines()) == 3


@pytest.mark.parametrize("times", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_a_server_that_is_killed_in_the_middle_of_a_report_leaves_it_taken_or_not(
    shell: Shell, tmp_path: Path, times: int
) -> None:
    chance, left = random.Random(times), [998]
    text = spec("intent: x, retries: 999, ensure: [result.ok]")
    with serving(shell) as server, mortals(shell, tmp_path) as servers:
        name = plan(server, text)["flow_id"]
        began = time.monotonic()
        done(server, name, "s1", {"much": "x" * 20_000})
        took = time.monotonic() - began
        for number, mortal in zip(range(times), servers, strict=False):
            result = {"n": number, "much": "x" * 20_000}
            mortal.ask("stratum_step_done", flow_id=name, step_id="s1", result=result)
            time.sleep(chance.uniform(0, 2 * took))
            mortal.kill()
            left.append(server.call("stratum_resume", flow_id=name)["retries_remaining"])
            assert left[-1] in {left[-2], left[-2] - 1}
        assert done(server, name, "s1", {"ok": True})["status"] == "complete"
        audit = server.call("stratum_audit", flow_id=name)
    assert audit["trace"][0]["attempts"] == 1000 - left[-1]
    assert shell.repo.git("fsck", "--connectivity-only", "--no-dangling") == ""


def test_everything_is_still_there_after_a_restart(shell: Shell) -> None:
    with serving(shell) as server:
        over = (plan(server, spec("intent: x")))["flow_id"]
        done(server, over, "s1", {"x": 1})
        told = server.call("stratum_audit", flow_id=over)
        looping = (plan(server, spec("intent: x, max_iterations: 5, score_expr: result.n")))["flow_id"]
        server.call("stratum_iteration_start", flow_id=looping, step_id="s1")
        passed(server, looping, {"n": 7})
        failing = (plan(server, spec("function: make")))["flow_id"]
        done(server, failing, "s1", {"ok": False})
    with serving(shell) as server:
        assert server.call("stratum_audit", flow_id=over) == told
        end = server.call("stratum_resume", flow_id=over)
        assert part(end, "status", "output") == ["complete", {"x": 1}]
        assert (passed(server, looping, {"n": 1}))["iteration"] == 2
        assert (done(server, looping, "s1", {"n": 1}))["output"] == {"n": 7}
        assert (server.call("stratum_resume", flow_id=failing))["retries_remaining"] == 1
