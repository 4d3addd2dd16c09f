"""Whatever order agents report, repeat or vanish in, the engine keeps its promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stratum_git.core import fanout, resolving, tally
from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.core.questions import fan_of, in_flight, is_over, outstanding
from stratum_git.core.rebuild import rebuild
from stratum_git.model.choosing import Chosen, Ranked
from stratum_git.model.effects import Choose, Effect, Finish, Land, Launch, Open, Stop, Sync
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import (
    CancelRequested,
    Completed,
    DroppedResult,
    Event,
    GateResolved,
    Halted,
    Landed,
    LandedLater,
    LandedResult,
    LandingBlocked,
    LandingEntry,
    Lost,
    Opened,
    Outcome,
    ParkedResult,
    Rejected,
    Resumed,
    Started,
    StepReported,
    Suspended,
    Synced,
    TaskReported,
    Undone,
)
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.spec import Dispatch
from stratum_git.model.state import (
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Merged,
    Parked,
    Program,
    Running,
    Stopped,
    Succeeded,
    Verified,
)
from tests.core.files import files_of

BASE = Oid("b" * 40)
RESULT = Oid("c" * 40)
MAIN = RefName("refs/heads/main")
BUILD = StepId("build")

SPEC = """
version: "0.4"
contracts: {Plan: {tasks: {type: array}}}
functions: {review: {mode: gate}}
flows:
  main:
    steps:
      - {id: plan, type: decompose, agent: p, intent: plan, output_contract: Plan}
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        depends_on: [plan]
        intent_template: "do {task.id}"
        max_concurrent: %(concurrent)d
        task_retries: %(retries)d
        require: %(require)s
        on_quorum: %(on_quorum)s
        on_conflict: %(on_conflict)s
      - {id: gate, function: review, depends_on: [build], on_approve: close, on_revise: build, on_kill: null}
      - {id: close, intent: close, depends_on: [gate]}
"""

OUTCOMES: dict[str, Outcome] = {
    "done": Completed(BASE, RESULT, {"ok": True}),
    "same": Completed(BASE, BASE),
    "verify": Rejected("verify", ("no",), BASE, RESULT),
    "start": Rejected("start", ("missing",)),
    "lost": Lost("gone"),
    "halted": Halted("stop"),
}


def program(**values: object) -> Program:
    loaded = load_spec(SPEC % ({"on_conflict": "park"} | values))
    assert loaded.spec is not None, loaded.problems
    compiled = compile_program(loaded.spec, None)
    assert isinstance(compiled, Program)
    return compiled


@st.composite
def graphs(draw: st.DrawFn) -> list[Json]:
    names = [f"t{n}" for n in range(draw(st.integers(1, 7)))]
    found: list[Json] = []
    for i, name in enumerate(names):
        needs = sorted(draw(st.sets(st.sampled_from(names[:i])))) if i else []
        found.append(
            {"id": name, "depends_on": list(needs), "candidates": draw(st.sampled_from([1, 1, 1, 2, 3]))}
        )
    return found


class EngineMachine(RuleBasedStateMachine):
    """Plays the shell: performs effects in any order, reports late, twice, or not at all."""

    @initialize(
        graph=graphs(),
        concurrent=st.integers(1, 4),
        retries=st.integers(0, 2),
        require=st.sampled_from(["all", "any", "1", "2"]),
        on_quorum=st.sampled_from(["cancel", "drain", "keep"]),
        on_conflict=st.sampled_from(["park", "fail", "agent", "agent"]),
    )
    def start(self, graph: list[Json], concurrent: int, **values: object) -> None:
        self.program = program(concurrent=concurrent, **values)
        self.concurrent = concurrent
        self.parked: set[TaskId] = set()
        self.log: list[Event] = []
        self.launched: list[Launch] = []
        self.opens: list[StepId] = []
        self.lands: list[StepId] = []
        self.choices: list[Choose] = []
        self.finished = 0
        first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": graph}, BASE, MAIN)
        self.log.append(first)
        self.state, effects = begin(self.program, first)
        self.perform(effects)

    def feed(self, event: Event) -> None:
        before = self.state
        self.state, effects = advance(before, event)
        if self.state is before:
            assert effects == ()
            return
        self.log.append(event)
        if isinstance(event, Opened) and event.step == BUILD:
            self.parked = set()
        self.perform(effects)

    def perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Launch():
                    self.check_needs(effect)
                    self.launched.append(effect)
                case Open(step):
                    self.opens.append(step)
                case Land(step):
                    self.lands.append(step)
                case Choose():
                    self.choices.append(effect)
                case Finish(status):
                    self.finished += status != "blocked"
                case _:
                    pass

    def check_needs(self, launch: Launch) -> None:
        fan = self.state.step(launch.step)
        if launch.task is None or not isinstance(fan, FannedOut):
            return
        index = fan.graph.index[launch.task]
        assert all(isinstance(fan.tasks[n], Verified | Merged) for n in fan.graph.needs[index])
        assert index not in fan.graph.contests

    @rule(data=st.data())
    @precondition(lambda self: bool(getattr(self, "opens", [])))
    def open(self, data: st.DataObject) -> None:
        self.feed(Opened(1.0, "s", data.draw(st.sampled_from(self.opens)), BASE, MAIN))

    @rule(data=st.data(), kind=st.sampled_from(sorted(OUTCOMES)))
    @precondition(lambda self: bool(getattr(self, "launched", [])))
    def report(self, data: st.DataObject, kind: str) -> None:
        launch, outcome = data.draw(st.sampled_from(self.launched)), OUTCOMES[kind]
        if launch.task is None:
            self.feed(StepReported(2.0, "a", launch.step, launch.attempt, outcome))
        else:
            self.feed(TaskReported(2.0, "a", launch.step, launch.task, launch.attempt, outcome))

    @rule(data=st.data())
    @precondition(lambda self: bool(getattr(self, "choices", [])))
    def choose(self, data: st.DataObject) -> None:
        choice = data.draw(st.sampled_from(self.choices))
        fan = fan_of(self.state.step(choice.step))
        if fan is not None:
            names = [fan.graph.tasks[i].id for i in fan.graph.contests[fan.graph.index[choice.task]]]
            self.feed(chosen(choice.task, data.draw(st.permutations(names))))

    @rule(data=st.data(), blocked=st.integers(0, 3).map(lambda n: n == 3))
    @precondition(lambda self: bool(getattr(self, "lands", [])))
    def land(self, data: st.DataObject, *, blocked: bool) -> None:
        step = data.draw(st.sampled_from(self.lands))
        if blocked:
            self.feed(LandingBlocked(3.0, "s", step, "dirty", ("a",)))
            return
        entries: list[LandingEntry] = [LandedResult(None, RESULT, RESULT)]
        now = self.state.step(step)
        if isinstance(now, Landing) and isinstance(now.work, FannedOut):
            entries = self.placed(data, now.work)
        self.parked |= {e.task for e in entries if isinstance(e, ParkedResult) and e.task is not None}
        self.feed(Landed(3.0, "s", step, MAIN, BASE, RESULT, tuple(entries)))

    def placed(self, data: st.DataObject, fan: FannedOut) -> list[LandingEntry]:
        """Lands what may land: some of it conflicts, or fails a check; what builds on that is left out."""
        found: list[LandingEntry] = []
        lost: set[int] = set()
        for index in fanout.candidates(fan):
            name = fan.graph.tasks[index].id
            fate = data.draw(st.sampled_from(["land", "land", "x", "y", "red"]))
            if lost & {*fan.graph.needs[index]}:
                found.append(DroppedResult(name, RESULT, "needs", ("it builds on another",)))
            elif fate == "red":
                found.append(DroppedResult(name, RESULT, "land_verify", ("red",)))
            elif fate in {"x", "y"}:
                found.append(ParkedResult(name, RESULT, BASE, (fate,)))
            else:
                found.append(LandedResult(name, RESULT, RESULT))
            if not isinstance(found[-1], LandedResult):
                lost.add(index)
        refused = self.program.steps[BUILD].work
        parked = [entry for entry in found if isinstance(entry, ParkedResult)]
        if isinstance(refused, Dispatch) and refused.on_conflict == "fail" and parked:
            return [*parked]
        return found

    @rule(task=st.sampled_from(["t0", "t1", "t2"]), done=st.booleans(), again=st.booleans())
    def resolve_by_hand(self, task: str, *, done: bool, again: bool) -> None:
        name = TaskId(task)
        parked = resolving.parked_at(self.state, BUILD, name)
        number = 1 if parked is None else resolving.last_of(parked)
        if parked is not None and parked.resolving is not None:
            conflict = RESULT if again else None
            self.feed(ResolvingEnded(3.8, "me", BUILD, name, number, RESULT, done, conflict, ("x",)))
        else:
            self.feed(ResolvingBegan(3.7, "me", BUILD, name, number + 1, BASE, RESULT, ("x",)))

    @invariant()
    def whoever_resolves_is_alone(self) -> None:
        if hasattr(self, "state"):
            for step, task, who in resolving.open_resolutions(self.state):
                assert (step, task, who.attempt) not in in_flight(self.state)

    @invariant()
    def a_result_that_conflicts_is_never_lost(self) -> None:
        fan = fan_of(self.state.step(BUILD)) if hasattr(self, "state") else None
        for name in self.parked if fan is not None else ():
            now = fan.tasks[fan.graph.index[name]] if fan is not None else None
            kept = isinstance(now, Parked | Merged | Verified) or getattr(now, "resolves", None) is not None
            assert kept, now

    @invariant()
    def resolving_is_tried_so_often_and_no_more(self) -> None:
        fan = fan_of(self.state.step(BUILD)) if hasattr(self, "state") else None
        work = self.program.steps[BUILD].work if fan is not None else None
        for now in fan.tasks if fan is not None else ():
            parked = now if isinstance(now, Parked) else getattr(now, "resolves", None)
            if isinstance(parked, Parked) and isinstance(work, Dispatch):
                assert parked.tries <= work.task_retries + 1
                assert isinstance(now, Parked) or parked.tries <= work.task_retries

    @rule(task=st.sampled_from(["t0", "t1"]), park=st.booleans())
    def land_later(self, task: str, *, park: bool) -> None:
        name = TaskId(task)
        entry: LandingEntry = LandedResult(name, RESULT, RESULT)
        if park:
            entry = ParkedResult(name, RESULT, BASE, ("x",))
        ended = is_over(self.state)
        self.feed(LandedLater(3.5, "me", BUILD, MAIN, RESULT, BASE, (entry,)))
        if ended and not is_over(self.state):
            self.finished -= 1

    @rule()
    def undo(self) -> None:
        self.feed(Undone(3.6, "me", MAIN, RESULT, BASE))

    @rule(outcome=st.sampled_from(["approve", "revise", "kill"]))
    def decide(self, outcome: Literal["approve", "revise", "kill"]) -> None:
        self.feed(GateResolved(4.0, "me", StepId("gate"), outcome))

    @rule(task=st.sampled_from([None, "t0", "t3", "t1@1", "t2@2"]))
    @precondition(lambda self: len(getattr(self, "log", [])) > 6)
    def cancel(self, task: str | None) -> None:
        self.feed(CancelRequested(5.0, "me", "enough", None if task is None else TaskId(task)))

    @rule()
    def suspend(self) -> None:
        self.feed(Suspended(6.0, "me"))

    @rule()
    def resume(self) -> None:
        self.feed(Resumed(7.0, "me"))

    @rule()
    def sync(self) -> None:
        self.feed(Synced(8.0, "s", MAIN))

    @invariant()
    def counts_are_true(self) -> None:
        if hasattr(self, "state") and self.state.cursor is not None:
            now = self.state.step(self.state.cursor)
            if isinstance(now, FannedOut):
                assert tally.check(now, self.concurrent) == []

    @invariant()
    def no_attempt_is_launched_twice_in_a_round(self) -> None:
        if hasattr(self, "state") and not any(isinstance(e, GateResolved) for e in self.log):
            keys = [(launch.step, launch.task, launch.attempt) for launch in self.launched]
            assert len(keys) == len(set(keys))

    @invariant()
    def replay_rebuilds_the_state(self) -> None:
        if hasattr(self, "state"):
            first = self.log[0]
            assert isinstance(first, Started)
            state, _ = begin(self.program, first)
            for event in self.log[1:]:
                state, _ = advance(state, event)
            assert state == self.state

    @invariant()
    def what_is_stored_is_the_state(self) -> None:
        if hasattr(self, "state"):
            assert rebuild(self.program, files_of(self.state)) == self.state

    @invariant()
    def finishes_at_most_once(self) -> None:
        if hasattr(self, "state"):
            assert self.finished == (1 if is_over(self.state) else 0)

    @invariant()
    def is_never_stuck(self) -> None:
        if hasattr(self, "state") and self.state.status == "running" and not self.state.paused:
            assert in_flight(self.state) or outstanding(self.state)


def chosen(task: TaskId, names: Sequence[TaskId]) -> Chosen:
    """Returns the choice of the first of *names*."""
    ranking = tuple(Ranked(name, "verified", 1, RESULT, reason=f"{name} it is") for name in names)
    return Chosen(2.5, "s", BUILD, task, names[0], ranking)


EngineMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestEngine = EngineMachine.TestCase


def started(graph: list[Json], **values: object) -> FlowState:
    """Returns a flow at its dispatch step, opened."""
    chosen = {
        "concurrent": 2,
        "retries": 0,
        "require": "all",
        "on_quorum": "cancel",
        "on_conflict": "park",
    } | values
    first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": graph}, BASE, MAIN)
    state, _ = begin(program(**chosen), first)
    events: tuple[Event, ...] = (
        Opened(1.0, "s", StepId("plan"), BASE, MAIN),
        StepReported(1.0, "a", StepId("plan"), 1, Completed(BASE, BASE, {"tasks": []})),
        Opened(1.0, "s", BUILD, BASE, MAIN),
    )
    for event in events:
        state, _ = advance(state, event)
    return state


def say(state: FlowState, task: str, attempt: int, outcome: Outcome) -> tuple[FlowState, tuple[Effect, ...]]:
    return advance(state, TaskReported(2.0, "a", BUILD, TaskId(task), attempt, outcome))


def tasks(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


def test_no_more_tasks_run_at_once_than_allowed() -> None:
    state = started(tasks("a", "b", "c"))

    assert [task for _, task, _ in in_flight(state)] == ["a", "b"]


def test_a_failed_attempt_is_followed_by_a_fresh_one_with_its_findings() -> None:
    state = started(tasks("a"), retries=1)

    _, effects = say(state, "a", 1, Rejected("verify", ("tests fail",)))

    assert effects == (Launch(BUILD, TaskId("a"), 2, ("tests fail",)),)


def test_a_lost_attempt_costs_no_retry() -> None:
    state, _ = say(started(tasks("a")), "a", 1, Lost("gone"))

    assert in_flight(state) == ((BUILD, TaskId("a"), 2),)


def test_an_attempt_after_a_lost_one_is_told_what_that_one_was_told() -> None:
    state, _ = say(started(tasks("a"), retries=1), "a", 1, Rejected("verify", ("tests fail",)))
    _, effects = say(state, "a", 2, Lost("gone"))

    assert effects == (Launch(BUILD, TaskId("a"), 3, ("tests fail",)),)


def test_so_is_the_attempt_at_a_step() -> None:
    plan = StepId("plan")
    chosen = program(concurrent=2, retries=0, require="all", on_quorum="cancel")
    state, _ = begin(chosen, Started(0.0, "me", FlowId("f-1"), "main", {"tasks": []}, BASE, MAIN))
    for event in (
        Opened(1.0, "s", plan, BASE, MAIN),
        StepReported(1.0, "a", plan, 1, Rejected("verify", ("tests fail",))),
    ):
        state, _ = advance(state, event)
    _, effects = advance(state, StepReported(1.0, "a", plan, 2, Lost("gone")))

    assert effects == (Launch(plan, None, 3, ("tests fail",)),)


def test_the_rest_is_stopped_as_soon_as_enough_results_are_in() -> None:
    state = started(tasks("a", "b", "c"), require="any")

    state, effects = say(state, "a", 1, Completed(BASE, RESULT))

    assert effects == (Stop(BUILD, TaskId("b"), 1, "enough results are in"),)
    fan = fan_of(state.step(BUILD))
    assert fan is not None
    assert isinstance(fan.tasks[1], Running)
    assert fan.tasks[2] == Stopped(0, "enough results are in")


def test_the_rest_is_stopped_as_soon_as_success_is_out_of_reach() -> None:
    state = started(tasks("a", "b", "c"), require="2")

    state, effects = say(state, "a", 1, Rejected("agent", ("no",)))
    assert effects == (Launch(BUILD, TaskId("c"), 1),)
    state, effects = say(state, "b", 1, Rejected("agent", ("no",)))

    assert effects == (Stop(BUILD, TaskId("c"), 1, "the step can no longer succeed"),)


def test_what_needs_a_failed_task_never_begins() -> None:
    graph: list[Json] = [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["b"]}]
    state = started(graph, require="any", on_quorum="keep")

    state, _ = say(state, "a", 1, Rejected("agent", ("no",)))

    assert state.status == "failed"
    fan = fan_of(state.step(BUILD))
    assert fan is not None
    assert fan.tasks[2] == Stopped(0, "needs b, which did not succeed")


def test_a_report_about_an_attempt_that_is_not_current_changes_nothing() -> None:
    state = started(tasks("a", "b"))
    after, _ = say(state, "a", 1, Completed(BASE, RESULT))

    again, effects = say(after, "a", 1, Completed(BASE, RESULT))

    assert again is after
    assert effects == ()


def test_a_parked_conflict_counts_against_the_quorum() -> None:
    state = started(tasks("a", "b"))
    state, _ = say(state, "a", 1, Completed(BASE, RESULT))
    state, effects = say(state, "b", 1, Completed(BASE, RESULT))
    assert effects == (Land(BUILD),)
    entries = (
        LandedResult(TaskId("a"), RESULT, RESULT),
        ParkedResult(TaskId("b"), RESULT, RESULT, ("x.py",)),
    )

    state, _ = advance(state, Landed(3.0, "s", BUILD, MAIN, BASE, RESULT, entries))

    assert state.status == "failed"
    now = state.step(BUILD)
    assert isinstance(now, Failed)
    assert now.findings == ("require: all needs 2 of 2 tasks; 1 landed", "b: conflicts in x.py")


def test_what_was_stopped_is_taken_up_again_when_a_conflict_makes_the_rest_too_few() -> None:
    graph: list[Json] = [*tasks("a", "b", "c"), {"id": "d", "depends_on": ["a", "c"]}]
    state = started(graph, require="2", concurrent=3)
    state, _ = say(state, "a", 1, Completed(BASE, RESULT))
    state, effects = say(state, "b", 1, Completed(BASE, RESULT))
    assert effects == (Stop(BUILD, TaskId("c"), 1, "enough results are in"),)
    state, effects = say(state, "c", 1, Halted("enough results are in"))
    assert effects == (Land(BUILD),)
    parked = (
        LandedResult(TaskId("a"), RESULT, RESULT),
        ParkedResult(TaskId("b"), RESULT, RESULT, ("x.py",)),
    )

    state, effects = advance(state, Landed(3.0, "s", BUILD, MAIN, BASE, RESULT, parked))

    assert state.status == "running"
    assert effects == (Sync(MAIN, BASE, RESULT), Launch(BUILD, TaskId("c"), 2))
    state, effects = say(state, "c", 2, Completed(BASE, RESULT))
    assert effects == (Land(BUILD),)
    more = (LandedResult(TaskId("c"), RESULT, RESULT),)
    state, _ = advance(state, Landed(4.0, "s", BUILD, MAIN, BASE, RESULT, more))
    fan = fan_of(state.step(BUILD))
    assert fan is not None
    assert [type(task).__name__ for task in fan.tasks] == ["Merged", "Parked", "Merged", "Stopped"]
    assert isinstance(state.step(BUILD), Succeeded)


def test_a_graph_that_makes_no_sense_fails_the_step_with_every_problem() -> None:
    state = started([{"id": "a/b"}, {"id": "x"}, {"id": "x"}])

    now = state.step(BUILD)
    assert isinstance(now, Failed)
    assert len(now.findings) == 2
    assert "slash" in now.findings[0]
    assert "twice" in now.findings[1]


def test_more_results_than_there_are_tasks_can_never_come() -> None:
    now = started(tasks("a"), require="3").step(BUILD)

    assert isinstance(now, Failed)
    assert now.findings == ("require: 3 can never be met by 1 tasks",)


@pytest.mark.parametrize("require", ["any", "2"])
@pytest.mark.parametrize("on_quorum", ["cancel", "drain", "keep"])
def test_a_quorum_counts_verified_results_and_nothing_else(require: str, on_quorum: str) -> None:
    state = started(tasks("a", "b", "c", "d", "e"), require=require, on_quorum=on_quorum, concurrent=3)
    before = Rejected("verify", ("no",), BASE, RESULT) if require == "any" else Completed(BASE, RESULT)
    state, effects = say(state, "a", 1, before)
    assert effects == (Launch(BUILD, TaskId("d"), 1),)

    state, effects = say(state, "b", 1, Completed(BASE, RESULT))

    why = "enough results are in"
    assert (
        effects
        == {
            "cancel": (Stop(BUILD, TaskId("c"), 1, why), Stop(BUILD, TaskId("d"), 1, why)),
            "drain": (),
            "keep": (Launch(BUILD, TaskId("e"), 1),),
        }[on_quorum]
    )
    fan = fan_of(state.step(BUILD))
    assert fan is not None
    assert fan.verdict == "met"
    assert fan.tasks[4] == (Running(1) if on_quorum == "keep" else Stopped(0, why))
