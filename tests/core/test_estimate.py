"""What an estimate says: who works, in how many rounds, and what is known of it from where."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core import contest
from stratum_git.core.estimate import estimate
from stratum_git.core.estimate_words import lines
from stratum_git.core.experience import Asked, Experience, Range, Try, likely, range_of, together, told_by
from stratum_git.core.forecast import Estimate, Limits, Question
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.core.schedule import chain, makespan
from stratum_git.core.taskgraph import read_graph
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import (
    Completed,
    Gathered,
    Landed,
    LandedResult,
    Lost,
    Opened,
    Rejected,
    Started,
    TaskReport,
    TaskReported,
)
from stratum_git.model.spec import Dispatch
from stratum_git.model.spending import Spending, Spent
from stratum_git.model.state import Program

BASE, RESULT, MAIN = Oid("b" * 40), Oid("c" * 40), RefName("refs/heads/main")
BUILD = StepId("build")
SPEC = """
version: "0.4"
functions: {ok: {mode: gate}}
contracts: {P: {tasks: {type: array}}}
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: plan, type: decompose, agent: planner, intent: "Plan it. Well.", output_contract: P}
      - {id: sure, function: ok, depends_on: [plan], on_approve: build, on_revise: plan, on_kill: null}
      - {id: build, type: parallel_dispatch, depends_on: [sure], source: SOURCE, intent_template: x,
         max_concurrent: 2, task_retries: 1}
"""
GRAPH: list[Json] = [{"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a"]}, {"id": "d"}]


def program(text: str) -> Program:
    loaded = load_spec(text)
    assert loaded.spec is not None, loaded.problems
    found = compile_program(loaded.spec, "main")
    assert isinstance(found, Program)
    return found


def asked(text: str = SPEC, known: Experience | None = None) -> Question:
    made = program(text.replace("SOURCE", "$.input.tasks"))
    return Question(made, {"tasks": GRAPH}, "runner", known or Experience(), attempt=Limits(60))


def graph(value: Json) -> TaskGraph:
    found = read_graph(value)
    assert isinstance(found, TaskGraph)
    return found


def tried(run: str, task: str, seconds: float, *, usd: float | None = None, agent: str = "default") -> Try:
    return Try(FlowId(run), "runner", "main", BUILD, agent, "task", TaskId(task), seconds, usd)


def measures(found: Estimate, step: int) -> tuple[Range, Range, Range]:
    return found.steps[step].agents, found.steps[step].seconds, found.steps[step].usd


def test_without_history_only_what_is_certain_is_said() -> None:
    found = estimate(asked())
    agents, seconds, usd = measures(found, 2)
    assert (agents.low, agents.likely, agents.high) == (4, None, 8)
    assert (seconds.likely, usd.likely) == (None, None)
    assert seconds.source == "no history of tries of default"
    known = found.steps[2].dispatched
    assert known is not None
    assert (known.tasks, known.rounds, known.longest) == (4, 2, ("a", "c"))
    # Two places, two tries of a minute each, and c after a.
    assert found.steps[2].most_seconds == 240
    assert found.most_seconds == 240 + 2 * 60
    assert (found.agents.low, found.agents.high) == (5, None)


def test_former_tries_give_the_numbers_and_are_named() -> None:
    known = Experience(tuple(tried("f", f"t{n}", 10.0 * n, usd=0.1) for n in range(1, 6)), {}, 1)
    agents, seconds, usd = measures(estimate(asked(known=known)), 2)
    assert (agents.low, agents.likely, agents.high) == (4, 4, 8)
    # Rounds of the lower quarter, of the median, and of the upper one with every try used.
    assert (seconds.low, seconds.likely, seconds.high) == (2 * 20, 2 * 30, 2 * 2 * 40)
    assert seconds.source == "median of 5 tries of default at build, in former flows here"
    assert (usd.low, usd.likely, usd.high) == pytest.approx((0.4, 0.4, 0.8))


def test_tries_that_were_needed_before_are_expected_again() -> None:
    known = Experience((tried("f", "a", 1), tried("f", "a", 1), tried("g", "a", 1)), {}, 2)
    agents, _, _ = measures(estimate(asked(known=known)), 2)
    assert (agents.low, agents.likely, agents.high) == (4, 6, 8)
    assert "1.5 times on average in 3 former tries of 2 tasks" in agents.source


def test_another_agent_or_driver_is_no_witness() -> None:
    about = Asked("runner", "main", BUILD, "default", "task")
    assert likely(Experience((tried("f", "a", 1, agent="other"),)), about, "seconds").likely is None
    assert (
        likely(Experience((replace(tried("f", "a", 1), driver="client"),)), about, "seconds").likely is None
    )
    elsewhere = replace(tried("f", "a", 7), step=StepId("elsewhere"))
    found = likely(Experience((elsewhere,)), about, "seconds")
    assert (found.likely, found.source) == (
        7,
        "median of 1 try of default at other steps, in former flows here",
    )
    assert (
        likely(Experience((elsewhere,)), about, "usd").source == "no former try of default here told its usd"
    )


def test_a_graph_that_is_not_planned_yet_is_as_large_as_usual() -> None:
    made = program(SPEC.replace("SOURCE", "$.steps.plan.output.tasks"))
    bare = Question(made, {}, "client")
    assert estimate(bare).steps[2].agents.source == "the task graph is not known yet"
    known = Experience((replace(tried("f", "a", 10), driver="client"),), {("main", BUILD): (4, 6, 8)}, 3)
    found = estimate(replace(bare, known=known)).steps[2]
    assert found.tasks is not None
    assert (found.tasks.likely, found.seconds.likely) == (6, 30)
    planned = replace(bare, outputs={StepId("plan"): {"tasks": GRAPH}}, over=frozenset({StepId("plan")}))
    assert estimate(planned).steps[1].dispatched is not None


def test_a_graph_that_cannot_be_run_is_a_problem() -> None:
    bad = replace(asked(), inputs={"tasks": [{"id": "a", "depends_on": ["b"]}]})
    assert [problem.path for problem in estimate(bad).steps[2].problems] == ["tasks.0.depends_on"]
    none = replace(asked(), inputs={})
    assert "has no input tasks" in estimate(none).steps[2].problems[0].message


def test_candidates_and_budgets_count() -> None:
    text = SPEC.replace("task_retries: 1", "candidates: 3, budget: {ms: 5000, usd: 2, tokens: 70}")
    found = estimate(asked(text)).steps[2]
    assert (found.agents.low, found.agents.likely, found.agents.high) == (12, 12, 12)
    assert (found.most_seconds, found.most_usd, found.most_tokens) == (5, 2, 70)
    few = estimate(asked(SPEC.replace("task_retries: 1", "task_retries: 1, budget: {dispatches: 5}"))).steps[
        2
    ]
    assert (few.agents.low, few.agents.high) == (4, 5)


def test_of_a_flow_under_way_what_it_has_spent_is_gone() -> None:
    text = SPEC.replace("    steps:", "    budget: {usd: 3, dispatches: 6}\n    steps:")
    fresh = asked(text)
    assert estimate(fresh).most_usd == 3
    spent = replace(fresh, spent=Spending(total=Spent(usd=1.0, dispatches=4)))
    assert (estimate(spent).most_usd, estimate(spent).agents.high) == (2, 2)
    older = asked(
        text.replace('"0.4"', '"0.3"')
        .replace(", task_retries: 1", "")
        .replace("usd: 3, dispatches: 6", "usd: 3")
    )
    assert (estimate(older).most_usd, estimate(replace(older, driver="client")).most_usd) == (3, None)


def test_it_is_told_in_words_with_numbers() -> None:
    said = list(lines(estimate(asked())))
    assert said[0] == "1. plan: one agent (planner) splits the work into tasks, in 2 tries at most: Plan it."
    assert "2. sure: waits for a decision" in said[4 - 1] + said[4]
    assert any("4 tasks, each in a worktree of its own, 2 at once, so in 2 rounds" in line for line in said)
    assert any(line.startswith("Cost: not known (no history") for line in said)
    done = replace(asked(), over=frozenset(map(StepId, ("plan", "sure", "build"))))
    assert list(lines(estimate(done))) == ["Nothing is left to be done."]


def test_what_a_flow_took_is_read_off_its_events() -> None:
    made = program(SPEC.replace("SOURCE", "$.input.tasks").replace("function: ok, ", "intent: i, agent: x, ")
                   .replace(", on_approve: build, on_revise: plan, on_kill: null", ""))  # fmt: skip
    made = replace(made, order=made.order[2:], position={BUILD: 0})
    done = Completed(BASE, RESULT, None, {"usd": 0.5, "tokens": 70})
    again = Rejected("verify", ("no",), BASE, RESULT, {"usd": 0.25})

    def report(at: float, task: str, attempt: int, outcome: Completed | Rejected) -> TaskReported:
        return TaskReported(at, "x", BUILD, TaskId(task), attempt, outcome)

    events = (
        Started(0.0, "x", FlowId("f"), "main", {"tasks": [{"id": t} for t in "abc"]}, BASE, MAIN),
        Opened(5.0, "x", BUILD, BASE, MAIN),
        report(9.0, "a", 1, again),
        report(10.0, "b", 1, done),
        report(12.0, "a", 2, done),
        report(20.0, "c", 1, done),
        Landed(23.0, "x", BUILD, MAIN, BASE, RESULT,
               tuple(LandedResult(TaskId(t), RESULT, RESULT) for t in "abc")),
    )  # fmt: skip
    found = told_by(made, events)
    told = [(one.kind, one.task, one.seconds, one.usd, one.tokens) for one in found.tries]
    assert told == [
        ("task", "a", 4.0, 0.25, None), ("task", "b", 5.0, 0.5, 70.0), ("task", "a", 3.0, 0.5, 70.0),
        ("task", "c", 10.0, 0.5, 70.0), ("landing", None, 3.0, None, None),
    ]  # fmt: skip
    both = together((found, found))
    assert (both.flows, both.sizes) == (2, {("main", BUILD): (3, 3)})


def test_of_a_client_what_it_reported_counts_and_what_was_lost_does_not() -> None:
    made = program(SPEC.replace("SOURCE", "$.input.tasks"))
    made = replace(made, order=made.order[2:], position={BUILD: 0})
    inputs: dict[str, Json] = {"tasks": [{"id": "a"}, {"id": "b"}]}
    begun = Started(0.0, "x", FlowId("f"), "main", inputs, BASE, MAIN, driver="client")
    reports = (
        TaskReport(TaskId("a"), Completed(BASE, RESULT, None, {"tokens": 7}), 1),
        TaskReport(TaskId("b"), Lost("the client is gone"), 1),
    )
    found = told_by(made, (begun, Opened(5.0, "x", BUILD, BASE, MAIN), Gathered(9.0, "x", BUILD, reports)))
    assert [(one.driver, one.task, one.seconds, one.tokens) for one in found.tries] == [
        ("client", "a", 4.0, 7.0)
    ]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=20))
def test_ranges_are_in_order_and_within(values: list[float]) -> None:
    found = range_of(values, "x")
    assert found.low is not None
    assert found.likely is not None
    assert found.high is not None
    assert min(values) <= found.low <= found.likely <= found.high <= max(values)


@given(st.data(), st.integers(1, 12), st.integers(1, 5))
def test_a_schedule_is_no_shorter_than_its_chain_and_its_work(
    data: st.DataObject, size: int, places: int
) -> None:
    tasks: list[Json] = []
    for number in range(size):
        needs = data.draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        tasks.append({"id": f"t{number}", "depends_on": [f"t{need}" for need in needs]})
    made = graph(tasks)
    alike = dict.fromkeys(range(size), 1.0)
    longest = len(chain(made, range(size)))
    span = makespan(made, alike, places)
    assert max(longest, -(-size // places)) <= span <= size
    assert makespan(made, alike, size) == longest
    assert makespan(made, {}, places) == 0


def test_a_task_with_candidates_is_over_when_all_are() -> None:
    work = program(SPEC.replace("SOURCE", "$.input.tasks").replace("task_retries: 1", "candidates: 2"))
    step = work.steps[BUILD].work
    assert isinstance(step, Dispatch)
    made = contest.expanded(graph([{"id": "a"}, {"id": "b", "depends_on": ["a"]}]), step)
    lasting = {i: float(i) for i, task in enumerate(made.tasks) if task.candidate_of is not None}
    assert [made.tasks[i].id for i in lasting] == ["a@1", "a@2", "b@1", "b@2"]
    assert makespan(made, lasting, 4) == 2 + 5
    assert chain(made, lasting) == ("a", "b")
