"""Budgets hold, whatever order agents report, repeat or vanish in."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, invariant, precondition, rule

from stratum_git.core import budgets
from stratum_git.core.answers import told
from stratum_git.core.engine import advance, begin
from stratum_git.core.narration import narrate
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.core.questions import in_flight, is_over
from stratum_git.model.effects import Effect, Launch, Stop
from stratum_git.model.ids import FlowId, Json, StepId, TaskId
from stratum_git.model.messages import (
    Checkpointed,
    Completed,
    Event,
    Halted,
    Lost,
    Opened,
    Outcome,
    Rejected,
    Reverted,
    Started,
    StepReported,
    TaskReported,
)
from stratum_git.model.spending import BudgetSpent, Spent
from stratum_git.model.state import Exhausted, Failed, FannedOut, Pending, Program, Stopped
from tests.core import driven
from tests.core.test_engine import BASE, BUILD, MAIN, RESULT, SPEC, EngineMachine, graphs

COST: dict[str, Json] = {"usd": 1.0, "tokens": 10, "ms": 100}
OUTCOMES: dict[str, Outcome] = {
    "done": Completed(BASE, RESULT, {"ok": True}, COST),
    "verify": Rejected("verify", ("no",), BASE, RESULT, COST, session="s"),
    "agent": Rejected("agent", ("no",), BASE, RESULT, COST),
    "setup": Rejected("setup", ("no",), BASE),
    "lost": Lost("gone"),
    "halted": Halted("stop", RESULT, COST),
}
BUDGETS = st.sampled_from(
    ["dispatches: 1", "dispatches: 4", "usd: 2", "usd: 3.5", "tokens: 25", "ms: 350", "usd: 3, dispatches: 5"]
)


def limited(spec: str, flow: str | None, step: str | None = None) -> Program:
    """Returns the program of a spec with a budget for the flow, and one for its step build."""
    if flow is not None:
        spec = spec.replace("    steps:\n", f"    budget: {{{flow}}}\n    steps:\n", 1)
    if step is not None:
        spec = spec.replace("      - id: build\n", f"      - id: build\n        budget: {{{step}}}\n", 1)
    loaded = load_spec(spec)
    assert loaded.spec is not None, loaded.problems
    compiled = compile_program(loaded.spec, "main")
    assert isinstance(compiled, Program), compiled
    return compiled


class BudgetMachine(EngineMachine):
    """Plays the shell for a flow with budgets; every agent tells what it cost, but for lost ones."""

    @initialize(
        graph=graphs(),
        concurrent=st.integers(1, 4),
        retries=st.integers(0, 2),
        require=st.sampled_from(["all", "any", "1", "2"]),
        on_quorum=st.sampled_from(["cancel", "drain", "keep"]),
        on_conflict=st.sampled_from(["park", "fail", "agent", "agent"]),
        flow=BUDGETS | st.none(),
        step=BUDGETS | st.none(),
    )
    def start(
        self, graph: list[Json], concurrent: int, flow: str | None, step: str | None, **values: object
    ) -> None:
        self.program = limited(SPEC % (values | {"concurrent": concurrent}), flow, step)
        self.concurrent = concurrent
        self.parked = set()
        self.log = []
        self.launched = []
        self.opens = []
        self.lands = []
        self.choices = []
        self.finished = 0
        first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": graph}, BASE, MAIN)
        self.log.append(first)
        self.state, effects = begin(self.program, first)
        self.perform(effects)

    def feed(self, event: Event) -> None:
        before, count = self.state, len(self.launched)
        super().feed(event)
        new = self.launched[count:]
        for launch in new:
            for purse in budgets.purses(self.state, self.program.steps[launch.step]):
                assert not budgets.is_used_up(purse), "it was launched with nothing left"
                assert purse.key not in before.spent.over

    @rule(data=st.data(), kind=st.sampled_from(sorted(OUTCOMES)))
    @precondition(lambda self: bool(getattr(self, "launched", [])))
    def report(self, data: st.DataObject, kind: str) -> None:
        launch, outcome = data.draw(st.sampled_from(self.launched)), OUTCOMES[kind]
        if launch.task is None:
            self.feed(StepReported(2.0, "a", launch.step, launch.attempt, outcome))
        else:
            self.feed(TaskReported(2.0, "a", launch.step, launch.task, launch.attempt, outcome))

    @rule(scope=st.sampled_from(["flow", "step"]), usd=st.sampled_from([0.0, 2.0]))
    def meter(self, scope: str, usd: float) -> None:
        """Tells that attempts at work have used a budget up, as their meters have it."""
        if self.state.cursor is not None:
            live: dict[str, Json] = {"usd": usd, "tokens": 30, "ms": 400}
            self.feed(BudgetSpent(2.2, "s", self.state.cursor, scope, live))  # type: ignore[arg-type]

    @invariant()
    def what_was_handed_out_is_counted_and_never_more_than_may_be(self) -> None:
        if not hasattr(self, "state"):
            return
        total = self.state.spent.total
        assert total.dispatches == len(self.launched)
        for step in self.program.steps.values():
            for purse in budgets.purses(self.state, step):
                if purse.budget.dispatches is not None:
                    assert purse.spent.dispatches <= purse.budget.dispatches

    @invariant()
    def what_was_told_is_counted_once(self) -> None:
        if not hasattr(self, "state"):
            return
        told = [e.outcome.usage for e in self.log if isinstance(e, StepReported | TaskReported)]
        spent = self.state.spent.total
        count = sum(bool(usage) for usage in told)
        assert (spent.usd, spent.tokens, spent.ms) == (count * 1.0, count * 10, count * 100)

    @invariant()
    def no_more_is_spent_than_the_budget_and_what_was_at_work(self) -> None:
        """What overshoots is what the attempts cost that were at work at once when it was spent."""
        if not hasattr(self, "state"):
            return
        for purse in budgets.purses(self.state, self.program.steps[BUILD]):
            if purse.budget.usd is not None:
                assert purse.spent.usd < purse.budget.usd + max(1, self.concurrent)

    @invariant()
    def nothing_goes_on_when_the_budget_is_spent(self) -> None:
        if not hasattr(self, "state") or is_over(self.state) or self.state.cursor is None:
            return
        step = self.program.steps[self.state.cursor]
        now = self.state.step(step.id)
        if budgets.over(self.state, step) is None or self.state.cancelling is not None:
            return
        if isinstance(now, FannedOut):
            stopping = [t for t in now.tasks if getattr(t, "stopping", "") is None]
            waiting = [t for i, t in enumerate(now.tasks) if isinstance(t, Pending) and i in now.ready]
            assert (stopping, waiting) == ([], [])


BudgetMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestBudgets = BudgetMachine.TestCase


class Flow:
    """A flow of a runner, at its dispatch step, and what it was told to do last."""

    def __init__(
        self,
        flow: str | None,
        step: str | None,
        *names: str,
        on_fail: str | None = None,
        **values: object,
    ) -> None:
        chosen = {
            "concurrent": 2,
            "retries": 0,
            "require": "all",
            "on_quorum": "cancel",
            "on_conflict": "park",
        }
        tasks: list[Json] = [{"id": name} for name in names]
        spec = SPEC.replace(
            "      - {id: plan, type: decompose, agent: p, intent: plan, output_contract: Plan}\n", ""
        )
        spec = spec.replace("        depends_on: [plan]\n", "")
        if on_fail is not None:
            spec = spec.replace("      - id: build\n", f"      - id: build\n        on_fail: {on_fail}\n")
        first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": tasks}, BASE, MAIN)
        self.state, self.effects = begin(limited(spec % (chosen | values), flow, step), first)
        self.last: Event = first
        self.feed(Opened(1.0, "s", BUILD, BASE, MAIN))

    def feed(self, event: Event) -> tuple[Effect, ...]:
        before, self.last = self.state, event
        self.state, self.effects = advance(before, event)
        assert self.state is not before
        return self.effects

    def report(self, task: str, outcome: Outcome, attempt: int = 1) -> tuple[Effect, ...]:
        return self.feed(TaskReported(2.0, "agent x", BUILD, TaskId(task), attempt, outcome))

    @property
    def why(self) -> tuple[str, ...]:
        now = self.state.step(BUILD)
        return now.findings if isinstance(now, Failed) else ()


def test_a_flow_stops_when_its_money_is_spent_and_says_so() -> None:
    flow = Flow("usd: 1.5", None, "a", "b", "c", concurrent=1)
    assert [e.task for e in flow.report("a", OUTCOMES["done"]) if isinstance(e, Launch)] == ["b"]
    effects = flow.report("b", OUTCOMES["done"])
    assert not any(isinstance(effect, Launch) for effect in effects)
    assert flow.state.status == "failed"
    assert flow.why[0] == "the budget of the flow is spent: 2.00 of 1.5 usd, in 2 dispatches"
    assert flow.why[-1] == "c: the budget is spent"
    assert narrate(flow.last, flow.state, effects).details[-1] == f"The flow is failed: {flow.why[0]}."
    answer = told(flow.state)
    assert (answer["error_type"], answer["message"]) == ("budget_exhausted", flow.why[0])


def test_what_is_at_work_is_stopped_and_what_is_done_counts() -> None:
    flow = Flow("usd: 1.5", None, "a", "b", "c", require="1", on_quorum="keep", concurrent=3)
    flow.report("a", OUTCOMES["done"])
    effects = flow.feed(BudgetSpent(2.1, "s", BUILD, "flow", {"usd": 0.75}))
    assert [(e.task, e.why) for e in effects if isinstance(e, Stop)] == [
        (name, "the budget of the flow is spent: 1.75 of 1.5 usd, in 3 dispatches") for name in ("b", "c")
    ]
    story = narrate(flow.last, flow.state, flow.effects)
    assert story.subject == "build: the budget of the flow is spent: 1.75 of 1.5 usd, in 3 dispatches"
    flow.report("b", OUTCOMES["halted"])
    flow.report("c", OUTCOMES["halted"])
    assert type(flow.state.step(BUILD)).__name__ == "Landing"


def test_exactly_so_many_attempts_are_handed_out_retries_and_lost_ones_included() -> None:
    flow = Flow("dispatches: 4", None, "a", "b", retries=5)
    launched = [e for e in flow.effects if isinstance(e, Launch)]
    launched += [e for e in flow.report("a", OUTCOMES["verify"]) if isinstance(e, Launch)]
    launched += [e for e in flow.report("b", OUTCOMES["lost"]) if isinstance(e, Launch)]
    assert len(launched) == 4
    assert flow.report("a", OUTCOMES["verify"], 2) == ()
    waiting = flow.state.step(BUILD)
    assert isinstance(waiting, FannedOut)
    assert isinstance(waiting.tasks[0], Pending)
    assert waiting.tasks[0].goes_on is not None
    flow.report("b", OUTCOMES["done"], 2)
    assert flow.why[0] == "the budget of the flow is spent: 4 of 4 dispatches"
    assert flow.why[-1] == "a: the budget is spent; before: no"


def test_a_step_that_fails_in_its_own_budget_goes_where_it_says_and_not_in_that_of_the_flow() -> None:
    spec = SPEC % {
        "concurrent": 1,
        "retries": 3,
        "require": "all",
        "on_quorum": "cancel",
        "on_conflict": "park",
    }
    spec = spec.replace("      - id: build\n", "      - id: build\n        on_fail: close\n")
    ends = []
    for flow, step in ((None, "usd: 1"), ("usd: 1", None)):
        first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": [{"id": "a"}]}, BASE, MAIN)
        state, _ = begin(limited(spec, flow, step), first)
        for event in (
            Opened(1.0, "s", StepId("plan"), BASE, MAIN),
            StepReported(1.0, "a", StepId("plan"), 1, Completed(BASE, BASE, {"tasks": []})),
            Opened(1.0, "s", BUILD, BASE, MAIN),
            TaskReported(2.0, "a", BUILD, TaskId("a"), 1, OUTCOMES["verify"]),
        ):
            state, _ = advance(state, event)
        ends.append((state.status, state.cursor))
    assert ends == [("running", "close"), ("failed", "build")]


def test_a_step_that_its_budget_does_not_let_begin_ends_the_flow() -> None:
    """Its on_fail may lead back to it, and nothing would ever end that."""
    flow = Flow(None, "usd: 0", "a", on_fail="close")
    assert flow.state.status == "failed"
    assert flow.why[0] == "the budget of step build is spent: 0.00 of 0 usd, in 0 dispatches"


def test_a_candidate_that_stands_is_taken_when_the_others_are_stopped() -> None:
    tasks: list[Json] = [{"id": "a", "candidates": 2}]
    first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": tasks}, BASE, MAIN)
    values = {"concurrent": 2, "retries": 0, "require": "all", "on_quorum": "keep", "on_conflict": "park"}
    spec = (SPEC % values).replace("        depends_on: [plan]\n", "")
    spec = spec.replace(
        "      - {id: plan, type: decompose, agent: p, intent: plan, output_contract: Plan}\n", ""
    )
    state, _ = begin(limited(spec, "usd: 1"), first)
    state, _ = advance(state, Opened(1.0, "s", BUILD, BASE, MAIN))
    state, effects = advance(state, TaskReported(2.0, "x", BUILD, TaskId("a@1"), 1, OUTCOMES["done"]))
    assert [type(effect).__name__ for effect in effects] == ["Stop"]
    state, effects = advance(state, TaskReported(2.0, "x", BUILD, TaskId("a@2"), 1, OUTCOMES["halted"]))
    assert [type(effect).__name__ for effect in effects] == ["Choose"]


def test_a_task_that_was_refused_in_the_last_dispatch_says_why() -> None:
    flow = Flow(None, "dispatches: 1", "a", "b", concurrent=1)
    flow.report("a", OUTCOMES["verify"])
    now = flow.state.step(BUILD)
    assert isinstance(now, Failed)
    assert now.work is not None
    assert [type(t) for t in now.work.tasks] == [Exhausted, Stopped]


def test_an_agent_that_tells_no_cost_is_named_once() -> None:
    flow = Flow("usd: 9", None, "a", "b", "c")
    stories = []
    for task in ("a", "b", "c"):
        flow.report(task, Completed(BASE, RESULT, None, {"ms": 5}))
        stories.append(narrate(flow.last, flow.state, flow.effects).details)
    said = "x told no cost: the budget cannot see it"
    flow = Flow("usd: 9", None, "a")
    flow.report("a", Halted("enough", None, {"ms": 5}))
    assert said not in narrate(flow.last, flow.state, flow.effects).details
    assert [said in details for details in stories] == [True, False, False]


@pytest.mark.parametrize(("version", "held"), [("0.4", True), ("0.3", False)])
def test_a_client_is_held_to_a_budget_since_0_4(version: str, *, held: bool) -> None:
    spec = f"""
version: "{version}"
functions: {{review: {{mode: gate}}}}
flows:
  main:
    budget: {{usd: 1, ms: 5000}}
    steps:
      - {{id: one, intent: x}}
      - {{id: two, intent: x, depends_on: [one]}}
      - {{id: three, intent: x, depends_on: [two]}}
"""
    state = driven.start(spec)
    state, _ = advance(state, driven.answer("one", at=2.0))
    assert state.spent.total == Spent(ms=2000)
    state, _ = advance(state, driven.answer("two", at=6.0))
    assert state.spent.total.ms == 6000
    assert told(state).get("error_type") == ("budget_exhausted" if held else None)
    assert state.status == ("failed" if held else "running")


def test_going_back_gives_nothing_back() -> None:
    flow = Flow("dispatches: 3", None, "a", "b")
    flow.feed(Checkpointed(2.0, "me", "here"))
    flow.report("a", OUTCOMES["done"])
    flow.feed(Reverted(3.0, "me", "here"))
    flow.feed(Opened(4.0, "s", BUILD, BASE, MAIN))
    assert flow.state.spent.total == Spent(100, 1.0, 10, 3)
    assert len(in_flight(flow.state)) == 1


def test_a_flow_without_a_budget_counts_all_the_same() -> None:
    flow = Flow(None, None, "a", "b")
    flow.report("a", OUTCOMES["done"])
    assert flow.state.spent.total == Spent(100, 1.0, 10, 2)
    assert flow.state.spent.steps == {}
