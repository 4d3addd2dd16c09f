"""The rules of a flow that a client drives, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from stratum_git.core.answers import told
from stratum_git.core.audit import audit
from stratum_git.core.engine import advance
from stratum_git.core.route import HOPS
from stratum_git.model.book import GateRecord, PolicyRecord, SkipRecord, StepRecord
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.messages import (
    Answered,
    Called,
    Checkpointed,
    Considered,
    Gathered,
    LoopAborted,
    Reverted,
)
from stratum_git.model.state import (
    Asked,
    AtGate,
    Considering,
    Exhausted,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Merged,
    Pending,
    Running,
    Skipped,
    Succeeded,
    Verified,
    Waiting,
)
from tests.core.driven import (
    BASE,
    RESULT,
    answer,
    landed,
    loop,
    opened,
    pass_of,
    reports,
    resolve,
    skip,
    start,
    then,
)

HEAD = """
version: "0.4"
contracts: {R: {ok: {type: boolean}}}
functions:
  work: {mode: infer, intent: work, output: R, ensure: [result.ok]}
  review: {mode: gate, timeout: 60}
flows:
  within: {input: {}, steps: [{id: x, intent: x}]}
"""


def flow(*steps: str, **more: object) -> str:
    """Returns a spec whose flow main has *steps*, each waiting for the one before."""
    rows = [f"      - {{{step}}}" for step in steps[:1]]
    for before, step in pairwise(steps):
        name = before.removeprefix("id: ").partition(",")[0]
        rows.append(f"      - {{{step}, depends_on: [{name}]}}")
    keys = "".join(f"    {key}: {value}\n" for key, value in more.items())
    body = "\n".join(rows)
    inputs = "{tasks: {type: array}, quick: {type: boolean}}"
    return f"{HEAD}  main:\n    input: {inputs}\n{keys}    steps:\n{body}\n"


def step(state: FlowState, name: str) -> object:
    return state.step(StepId(name))


def output(state: FlowState, name: str) -> tuple[Json, ...]:
    return state.outputs[state.program.position[StepId(name)]]


def kinds(state: FlowState) -> list[str]:
    return [f"{type(r).__name__.removesuffix('Record')} {r.step}" for r in state.book.records]


# --- gates ------------------------------------------------------------------------------------------------

GATE = "id: ask, function: review, on_approve: end, on_revise: a, on_kill: null"


def test_with_max_rounds_1_a_flow_is_sent_back_once() -> None:
    spec = flow("id: a, intent: a", GATE, "id: end, intent: end", max_rounds=1)
    state = then(start(spec), answer("a"), resolve("ask", "revise"))
    assert (state.cursor, state.book.round, state.book.start) == ("a", 1, "a")
    assert [type(r) for r in state.book.rounds[0]] == [StepRecord, GateRecord]
    assert kinds(state) == []

    state = then(state, answer("a"), resolve("ask", "revise"))

    assert (state.cursor, state.book.round, state.status) == ("ask", 1, "awaiting_gate")
    assert kinds(state) == ["Step a", "Gate ask"]
    assert len(state.book.rounds) == 1
    assert then(state, resolve("ask", "approve")).cursor == "end"


def test_a_revision_forgets_what_the_steps_from_there_on_brought() -> None:
    spec = flow("id: first, intent: x", "id: a, intent: a", GATE, "id: end, intent: end")
    state = then(start(spec), answer("first", result=1), answer("a", result=2), resolve("ask", "revise"))

    assert (output(state, "first"), output(state, "a")) == ((1,), ())
    assert step(state, "ask") == Waiting()


def test_a_revision_archives_the_loops_of_its_round() -> None:
    spec = flow("id: a, intent: a, max_iterations: 3", GATE, "id: end, intent: end")
    state = then(start(spec), loop("a"), pass_of("a", met=True), answer("a"), resolve("ask", "revise"))

    assert dict(state.book.passes) == {}
    assert [len(passes[StepId("a")]) for passes in state.book.past] == [1]
    assert state.book.exits == {}
    found = audit(state, 9.0)
    assert found["iterations"] == {}
    archived: Any = found["archived_iterations"]
    assert [[one["outcome"] for one in passes["a"]] for passes in archived] == [["exit_success"]]
    assert found["rounds"][0]["round"] == 0  # type: ignore[call-overload,index]


def test_a_kill_with_a_target_cleans_up_and_ends_killed() -> None:
    spec = flow(
        "id: a, intent: a",
        GATE.replace("on_kill: null", "on_kill: tidy"),
        "id: end, intent: end",
        "id: tidy, intent: x",
    )
    state = then(start(spec), answer("a"), resolve("ask", "kill"))
    assert (state.cursor, told(state)["status"], audit(state, 9.0)["status"]) == (
        "tidy",
        "execute_step",
        "killed",
    )

    state = then(state, answer("tidy", result={"ok": True}))

    assert (state.status, told(state)["status"], told(state)["output"]) == ("killed", "killed", {"ok": True})
    assert step(state, "end") == Waiting()


def test_a_kill_without_a_target_ends_the_flow() -> None:
    state = then(
        start(flow("id: a, intent: a", GATE, "id: end, intent: end")), answer("a"), resolve("ask", "kill")
    )

    assert (state.cursor, state.status, told(state)["status"]) == (None, "killed", "killed")


def test_an_approval_without_a_target_completes_the_flow() -> None:
    spec = flow(
        "id: a, intent: a", GATE.replace("on_approve: end", "on_approve: null"), "id: end, intent: end"
    )
    state = then(start(spec), answer("a", result=1), resolve("ask", "approve"))

    assert (state.status, told(state)["output"]) == ("complete", 1)
    assert step(state, "end") == Waiting()


def test_a_gate_remembers_how_long_it_waited() -> None:
    state = then(
        start(flow("id: a, intent: a", GATE, "id: end, intent: end")),
        answer("a", at=10.0),
        resolve("ask", "approve", at=12.5),
    )

    records = [r for r in state.book.records if isinstance(r, GateRecord)]
    assert [(r.outcome, r.rationale, r.resolver, r.ms) for r in records] == [
        ("approve", "because", "human", 2500)
    ]


def test_gates_with_policies_approve_themselves_one_after_another() -> None:
    spec = flow(
        "id: a, intent: a",
        "id: g1, function: review, policy: flag, on_approve: g2, on_revise: a, on_kill: null",
        "id: g2, function: review, policy: skip, on_approve: end, on_revise: a, on_kill: null",
        "id: between, intent: x",
        "id: end, intent: end",
    )
    state = then(start(spec), answer("a"))

    assert state.cursor == "end"
    policies = [(r.step, r.policy) for r in state.book.records if isinstance(r, PolicyRecord)]
    assert policies == [("g1", "flag"), ("g2", "skip")]


def test_a_circle_of_policies_stops_where_somebody_has_to_decide() -> None:
    spec = flow(
        "id: a, intent: a",
        "id: g1, function: review, policy: flag, on_approve: g2, on_revise: a, on_kill: null",
        "id: g2, function: review, policy: flag, on_approve: g1, on_revise: a, on_kill: null",
    )
    state = then(start(spec), answer("a"))

    assert (state.cursor, state.status) == ("g1", "awaiting_gate")
    assert kinds(state) == ["Step a", "Policy g1", "Policy g2"]
    assert then(state, resolve("g1", "kill")).status == "killed"


def test_a_gate_that_is_left_out_approves_itself() -> None:
    gate = "id: ask, function: review, skip_if: $.input.quick, skip_reason: quick, "
    spec = flow(
        "id: a, intent: a", gate + "on_approve: null, on_revise: a, on_kill: null", "id: end, intent: x"
    )
    state = then(start(spec), answer("a", result=1))
    assert isinstance(step(state, "ask"), Considering)

    state = then(state, Considered(1.0, "s", StepId("ask"), skip=True))

    assert (state.status, told(state)["output"]) == ("complete", 1)
    assert output(state, "ask") == (None,)
    assert state.book.records[1] == PolicyRecord(StepId("ask"), "skip_if", "quick", 0)
    assert told(state)["trace"][1]["effective_policy"] == "skip_if"  # type: ignore[call-overload,index]


def test_a_circle_of_gates_that_are_left_out_stops_where_somebody_has_to_decide() -> None:
    gate = "function: review, skip_if: $.input.quick, on_revise: a, on_kill: null, "
    spec = flow("id: a, intent: a", f"id: g1, {gate}on_approve: g2", f"id: g2, {gate}on_approve: g1")
    state = then(start(spec), answer("a"))
    hops = 0
    while isinstance(step(state, state.cursor or ""), Considering):
        state = then(state, Considered(1.0, "s", state.cursor or StepId(""), skip=True))
        hops += 1

    assert isinstance(step(state, state.cursor or ""), AtGate)
    assert HOPS < hops < HOPS + 10


def test_an_approval_clears_nothing_that_was_done() -> None:
    spec = flow("id: a, intent: a", GATE.replace("on_approve: end", "on_approve: a"), "id: end, intent: end")
    state = then(start(spec), answer("a", result=1), resolve("ask", "approve"))

    assert (state.cursor, output(state, "a")) == ("a", (1,))


# --- routes -----------------------------------------------------------------------------------------------


def test_on_fail_keeps_the_failing_output_and_clears_the_rest_from_its_target_on() -> None:
    spec = flow(
        "id: a, intent: a",
        "id: b, intent: b",
        "id: c, intent: c, ensure: [result.ok], on_fail: b",
        "id: d, intent: d",
    )
    state = then(start(spec), answer("a", result=1), answer("b", result=2))
    state = then(state, answer("c", "ensure_failed", {"ok": False}))

    assert (state.cursor, output(state, "a"), output(state, "b"), output(state, "c")) == (
        "b",
        (1,),
        (),
        ({"ok": False},),
    )
    said = told(state)
    assert (said["status"], said["step_id"], said["routed_from"], said["violations"]) == (
        "execute_step",
        "b",
        "c",
        ["c is not good"],
    )
    assert "routed_from" not in told(then(state, answer("b")))


def test_next_clears_from_its_target_on() -> None:
    spec = flow("id: a, intent: a", "id: b, intent: b, next: a", "id: c, intent: c")
    state = then(start(spec), answer("a", result=1), answer("b", result=2))

    assert (state.cursor, output(state, "a"), output(state, "b")) == ("a", (), ())
    assert [r.attempts for r in state.book.records if isinstance(r, StepRecord)] == [1, 1]


def test_next_forward_passes_over_steps_without_a_trace() -> None:
    spec = flow("id: a, intent: a, next: c", "id: b, intent: b", "id: c, intent: c")
    state = then(start(spec), answer("a"), answer("c", result=3))

    assert (state.status, kinds(state), told(state)["output"]) == ("complete", ["Step a", "Step c"], 3)


@pytest.mark.parametrize(
    ("work", "tries"),
    [
        ("function: work", 3),
        ("intent: x, ensure: [result.ok]", 1),
        ("flow: within, ensure: [result.ok]", 1),
        ("type: decompose, agent: p, intent: x, output_contract: R, ensure: [result.ok]", 2),
    ],
)
def test_a_step_is_tried_as_often_as_its_kind_says(work: str, tries: int) -> None:
    state = start(flow(f"id: a, {work}"))
    left = []
    for number in range(1, tries + 1):
        left.append(told(state).get("retries_remaining"))
        if "flow: " in work:
            state = then(state, Called(1.0, "s", StepId("a"), FlowId(f"f-{number}")))
        assert state.status == "running"
        state = then(state, answer("a", "ensure_failed"))

    assert state.status == "failed"
    assert left == ([None] if "flow: " in work else list(range(tries, 0, -1)))
    said = told(state)
    assert (said["error_type"], said["step_id"], said["violations"]) == (
        "retries_exhausted",
        "a",
        ["a is not good"],
    )
    assert [r.attempts for r in state.book.records if isinstance(r, StepRecord)] == [tries]


def test_a_dispatch_step_is_tried_twice() -> None:
    state = fanned("a")
    assert told(state)["retries_remaining"] == 2
    state = then(state, gathered(a="failed"))
    assert (told(state)["status"], told(state)["retries_remaining"]) == ("ensure_failed", 1)
    state = then(state, gathered(a="failed"))

    assert told(state)["error_type"] == "retries_exhausted"
    assert advance(state, gathered(a="done"))[0] is state


def test_a_step_that_is_left_out_has_the_output_null_and_a_record() -> None:
    state = then(start(flow("id: a, intent: a", "id: b, intent: b")), skip("a"))

    assert (step(state, "a"), output(state, "a")) == (Skipped("not needed"), (None,))
    assert state.book.records[0] == SkipRecord(StepId("a"), "not needed", 0)
    assert then(state, skip("b")).status == "complete"


def test_hundreds_of_steps_in_a_row_may_be_left_out() -> None:
    state = start(flow(*(f"id: s{n}, intent: x, skip_if: $.input.quick" for n in range(300))))
    for n in range(300):
        state = then(state, Considered(1.0, "s", StepId(f"s{n}"), skip=True))

    assert (state.status, told(state)["output"], len(state.book.records)) == ("complete", None, 300)


def test_what_is_over_is_not_begun_again() -> None:
    state = then(start(flow("id: a, intent: a")), answer("a"))

    for event in (answer("a"), skip("a"), loop("a"), resolve("a", "approve"), gathered(a="done")):
        assert advance(state, event) == (state, ())


# --- loops ------------------------------------------------------------------------------------------------


def outcomes(spec: str, *passes: dict[str, object]) -> list[str]:
    """Returns what the passes of the loop of step a come to, until it ends."""
    state = then(start(spec), loop("a"))
    found: list[str] = []
    for one in passes:
        if state.book.loop is not None:
            state = then(state, pass_of("a", **one))  # type: ignore[arg-type]
            seen = state.book.passes[StepId("a")]
            found.append(seen[len(seen) - 1].outcome)
    return found


def looping(more: str = "", count: int = 5) -> str:
    return flow(f"id: a, intent: a, ensure: [result.ok], max_iterations: {count}{more}", "id: b, intent: b")


SCORED = ", score_expr: result.n"


def scores(*values: float | None) -> list[dict[str, object]]:
    return [{"score": value, "digest": str(n), "result": {"n": n}} for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("spec", "passes", "last"),
    [
        (looping(), [{"digest": d} for d in "abcde"], "5 exit_max"),
        (looping(), [{"digest": d} for d in "abbb"], "4 exit_stagnation"),
        (looping(), [{"digest": d} for d in "abbabab"], "5 exit_max"),
        (looping(), [{"digest": "a"}, {"digest": "b", "met": True}], "2 exit_success"),
        (looping(SCORED), scores(1, 1, 1, 1), "4 exit_stagnation"),
        (looping(SCORED), scores(1, 0, 2, 1, 2), "5 exit_max"),
        (looping(SCORED), scores(3, None, None, None), "4 exit_stagnation"),
        (looping(SCORED), scores(None, None, None, None, None), "5 exit_max"),
        (looping(f"{SCORED}, exit_criterion: result.ok"), scores(1, 1, 1, 1, 1), "5 exit_max"),
        # Success comes before stagnation, and that before the last pass.
        (looping(), [{"digest": "a"}, {"digest": "a"}, {"digest": "a", "met": True}], "3 exit_success"),
        (looping("", 1), [{"digest": "a", "met": True}], "1 exit_success"),
        (looping("", 3), [{"digest": "a"}] * 3, "3 exit_stagnation"),
        (looping(SCORED, 4), scores(1, 1, 1, 1), "4 exit_stagnation"),
    ],
)
def test_a_loop_ends(spec: str, passes: Sequence[dict[str, object]], last: str) -> None:
    found = outcomes(spec, *passes)

    assert f"{len(found)} {found[-1]}" == last
    assert set(found[:-1]) <= {"continue"}


def test_the_first_of_equal_scores_is_the_best() -> None:
    state = then(start(looping(SCORED)), loop("a"))
    for one in scores(1, 2, 2):
        state = then(state, pass_of("a", **one))  # type: ignore[arg-type]

    best = state.book.best[StepId("a")]
    assert (best.score, best.number, best.result) == (2, 2, {"n": 1})
    assert then(state, answer("a")).book.best == {}


def test_a_loop_is_begun_once_and_ends_with_its_step() -> None:
    state = then(start(looping()), loop("a"))
    assert advance(state, loop("a")) == (state, ())
    after = then(state, pass_of("a", digest="x"), answer("a"))

    assert (after.cursor, after.book.loop) == ("b", None)
    assert len(after.book.passes[StepId("a")]) == 1


def test_a_loop_that_came_to_something_waits_for_its_step_to_be_reported() -> None:
    spec = flow("id: a, intent: a, ensure: [result.ok], retries: 2, max_iterations: 5", "id: b, intent: b")
    state = then(start(spec), loop("a"), pass_of("a", met=True))
    assert advance(state, loop("a")) == (state, ())
    assert advance(state, pass_of("a")) == (state, ())

    state = then(state, answer("a", "ensure_failed"), loop("a"))

    assert state.book.loop is not None


def test_a_loop_can_be_given_up() -> None:
    state = then(start(looping()), loop("a"), pass_of("a"), LoopAborted(1.0, "client", StepId("a"), "no"))

    assert (state.book.loop, state.book.exits[StepId("a")]) == (None, "exit_abort")
    assert [one.number for one in state.book.passes[StepId("a")]] == [1, 1]


# --- flows within -----------------------------------------------------------------------------------------


def test_every_round_of_a_flow_within_has_a_flow_of_its_own() -> None:
    gate = "id: ask, function: review, on_approve: null, on_revise: a, on_kill: null"
    state = start(flow("id: a, flow: within", gate))
    assert told(state)["child_flow_id"] is None
    state = then(state, Called(1.0, "s", StepId("a"), FlowId("f-2")))
    assert (told(state)["status"], told(state)["child_flow_id"]) == ("execute_flow", "f-2")
    assert advance(state, Called(1.0, "s", StepId("a"), FlowId("f-3"))) == (state, ())
    done = Answered(1.0, "client", StepId("a"), None, "ok", audit={"status": "complete"})

    state = then(state, done, resolve("ask", "revise"))

    assert told(state)["child_flow_id"] is None
    assert audit(state, 9.0)["child_audits"] == {"a": [{"status": "complete"}]}
    assert state.book.rounds[0][0] == StepRecord(StepId("a"), 1, 1000, 0, "flow", child="f-2")


# --- dispatch ---------------------------------------------------------------------------------------------


def fanned(*names: str, needs: dict[str, list[str]] | None = None, **more: object) -> FlowState:
    """Returns a flow at its dispatch step, its tasks handed out."""
    keys = "".join(f", {key}: {value}" for key, value in {"max_concurrent": 2, **more}.items())
    build = f'id: build, type: parallel_dispatch, source: $.input.tasks, intent_template: "do"{keys}'
    spec = flow(build, "id: end, intent: end")
    tasks: list[Json] = [{"id": name, "depends_on": list((needs or {}).get(name, []))} for name in names]
    return then(start(spec, tasks=tasks), opened("build"))


def gathered(conflict: bool = False, **outcomes: str) -> Gathered:
    return Gathered(2.0, "client", StepId("build"), reports(**outcomes), conflict=conflict)


def words(state: FlowState) -> list[str]:
    now = step(state, "build")
    work = now.work if isinstance(now, Landing | Succeeded | Failed) else now
    assert isinstance(work, FannedOut)
    return [type(task).__name__.lower() for task in work.tasks]


def test_part_of_the_tasks_may_be_reported_and_the_next_are_handed_out() -> None:
    state = fanned("a", "b", "c", "d", needs={"c": ["a"], "d": ["c"]})
    assert words(state) == ["running", "running", "pending", "pending"]
    state = then(state, gathered(b="done"))
    assert words(state) == ["running", "verified", "pending", "pending"]
    state = then(state, gathered(a="done"))
    assert words(state) == ["verified", "verified", "running", "pending"]
    state = then(state, gathered(c="done"), gathered(d="done"))
    assert words(state) == ["verified"] * 4

    state = then(state, landed(state, StepId("build")))

    assert (state.cursor, words(state)) == ("end", ["merged"] * 4)
    found = output(state, "build")[0]
    assert isinstance(found, dict)
    assert (found["outcome"], found["merge_status"], len(found["completed"])) == ("complete", "clean", 4)  # type: ignore[arg-type]


def test_a_client_that_did_everything_by_itself_reports_everything_at_once() -> None:
    state = then(
        fanned("a", "b", "c", needs={"b": ["a"], "c": ["b"]}), gathered(c="same", b="same", a="same")
    )

    assert words(state) == ["verified"] * 3


def test_only_what_is_not_done_is_tried_again() -> None:
    state = then(fanned("a", "b"), gathered(a="done", b="nothing"))

    assert words(state) == ["verified", "running"]
    now = step(state, "build")
    assert isinstance(now, FannedOut)
    assert now.tasks[1] == Running(2, 0, findings=("no file was changed",))
    assert told(state)["violations"] == [
        "require='all' not satisfied: 1 completed, 1 failed",
        "b: no_change: no file was changed",
    ]
    state = then(state, gathered(b="done"))
    assert isinstance(step(state, "build"), Landing)


def test_a_conflict_that_the_client_claims_lands_nothing_and_is_tried_again() -> None:
    state = then(fanned("a", "b"), gathered(conflict=True, a="done", b="done"))

    assert told(state)["violations"] == ["merge conflict: merge_status='conflict'"]
    assert words(state) == ["verified", "verified"]
    assert isinstance(step(then(state, gathered()), "build"), Landing)
    assert told(then(state, gathered(conflict=True)))["error_type"] == "retries_exhausted"


def test_a_conflict_found_while_landing_is_tried_again_on_what_landed() -> None:
    state = then(fanned("a", "b"), gathered(a="done", b="done"))

    state = then(state, landed(state, StepId("build"), "b"))

    now = step(state, "build")
    assert isinstance(now, FannedOut)
    assert (now.base, words(state)) == (RESULT, ["merged", "running"])
    assert now.tasks[1] == Running(2, 0, findings=("the result conflicts with what landed before it, in x",))
    state = then(state, gathered(b="done"))
    state = then(state, landed(state, StepId("build")))
    assert (state.cursor, words(state)) == ("end", ["merged", "merged"])


def test_enough_results_are_enough() -> None:
    state = then(fanned("a", "b", require="any"), gathered(a="done"))

    now = step(state, "build")
    assert isinstance(now, FannedOut)
    assert isinstance(now.tasks[0], Verified)
    assert now.tasks[1] == Running(1, 0, stopping="enough results are in")


def test_a_result_can_be_taken_back_before_it_lands() -> None:
    state = then(fanned("a", "b", "c", max_concurrent=3), gathered(a="done"), gathered(a="failed"))

    now = step(state, "build")
    assert isinstance(now, FannedOut)
    assert isinstance(now.tasks[0], Exhausted)


@pytest.mark.parametrize("tasks", [[], [{"id": "a"}, {"id": "a"}], "nonsense"])
def test_a_graph_that_makes_no_sense_is_an_error_that_can_be_passed_over(tasks: Json) -> None:
    build = 'id: build, type: parallel_dispatch, source: $.input.tasks, intent_template: "do"'
    state = start(flow(build, "id: end, intent: end"), tasks=tasks)

    assert told(state)["error_type"] == "execution_error"
    assert then(state, skip("build")).cursor == "end"


# --- checkpoints ------------------------------------------------------------------------------------------


def save(label: str) -> Checkpointed:
    return Checkpointed(5.0, "client", label, BASE)


def back(label: str) -> Reverted:
    return Reverted(6.0, "client", label)


def test_a_revert_brings_back_outputs_tries_records_rounds_and_loops() -> None:
    spec = flow(
        "id: a, intent: a, max_iterations: 5, retries: 3, ensure: [result.ok]", GATE, "id: end, intent: x"
    )
    state = then(start(spec), loop("a"), pass_of("a"), answer("a", "ensure_failed"), save("x"))
    before = state
    state = then(state, answer("a"), resolve("ask", "revise"), answer("a"), resolve("ask", "approve"))
    state = then(state, answer("end"), back("x"))

    assert (state.cursor, state.status, step(state, "a")) == ("a", "running", Asked(1.0, 1))
    assert (state.book, state.outputs) == (before.book, before.outputs)
    assert told(state)["retries_remaining"] == 2
    assert [one.label for one in state.checkpoints] == ["x"]


def test_a_label_that_is_used_again_names_the_later_state() -> None:
    state = then(start(flow("id: a, intent: a", "id: b, intent: b")), save("x"), save("y"), answer("a"))

    state = then(state, save("x"))

    assert [one.label for one in state.checkpoints] == ["x", "y"]
    assert then(state, back("x")).cursor == "b"
    assert then(state, back("y")).cursor == "a"
    assert advance(state, back("none")) == (state, ())


def test_a_revert_comes_anew_to_a_step_whose_tasks_were_at_work() -> None:
    state = then(fanned("a", "b"), gathered(a="done"), save("x"), gathered(b="done"), back("x"))

    assert told(state)["status"] == "parallel_dispatch"
    state = then(state, opened("build"))
    assert words(state) == ["running", "running"]


def test_what_failed_for_good_can_be_taken_back() -> None:
    spec = flow("id: a, intent: a, ensure: [result.ok]")
    state = then(start(spec), save("x"), answer("a", "ensure_failed"))
    assert state.status == "failed"

    assert then(state, back("x"), answer("a")).status == "complete"


def test_pending_merged_and_unknown_tasks_are_passed_over() -> None:
    state = fanned("a", "b", needs={"b": ["a"]})

    assert advance(state, gathered(b="failed", none="done"))[0].step(StepId("build")) == step(state, "build")
    now = step(then(state, gathered(a="done")), "build")
    assert isinstance(now, FannedOut)
    assert now.graph.tasks[1].id == TaskId("b")
    assert isinstance(now.tasks[0], Verified)
    assert not isinstance(now.tasks[1], Pending | Merged)
