"""Conflicts that are resolved, whatever order agents and people report, repeat or vanish in."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from stratum_git.core import fanout, resolving, tally
from stratum_git.core.engine import advance, begin
from stratum_git.core.questions import fan_of, in_flight, is_over, outstanding
from stratum_git.core.rebuild import rebuild
from stratum_git.model.effects import Effect, Launch
from stratum_git.model.ids import FlowId, Json, Oid, StepId, TaskId
from stratum_git.model.messages import (
    CancelRequested,
    Completed,
    DroppedResult,
    Event,
    Halted,
    Landed,
    LandedLater,
    LandedResult,
    LandingEntry,
    Lost,
    Opened,
    Outcome,
    ParkedResult,
    Rejected,
    Resumed,
    Started,
    Suspended,
    TaskReported,
)
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.state import (
    Exhausted,
    Failed,
    FannedOut,
    FlowState,
    Landing,
    Merged,
    Parked,
    Program,
    Running,
    Succeeded,
    Verified,
)
from tests.core.driven import program
from tests.core.files import files_of

BASE, RESULT, TIP = Oid("b" * 40), Oid("c" * 40), Oid("d" * 40)
MAIN = "refs/heads/main"
BUILD = StepId("build")
SPEC = """
version: "0.4"
flows:
  main:
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        max_concurrent: %(concurrent)d
        task_retries: %(retries)d
        require: %(require)s
        on_quorum: %(on_quorum)s
        on_conflict: %(on_conflict)s
      - {id: close, intent: close, depends_on: [build]}
"""
CHOSEN: dict[str, object] = {
    "concurrent": 2, "retries": 0, "require": "all", "on_quorum": "cancel", "on_conflict": "agent",
}  # fmt: skip
DONE = Completed(BASE, RESULT)
RED = Rejected("conflict", ("a marker is left",), BASE, RESULT)
OUTCOMES: tuple[Outcome, ...] = (
    DONE, DONE, DONE, RED, Rejected("start", ("missing",)), Lost("gone"), Halted("stop"),
)  # fmt: skip


class Play:
    """A flow at its dispatch step, and what was launched of it."""

    def __init__(self, graph: list[Json], **values: object) -> None:
        self.program: Program = program(SPEC % (CHOSEN | values))
        first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": graph}, BASE, MAIN)  # type: ignore[arg-type]
        self.first, self.log = first, list[Event]()
        self.state, _ = begin(self.program, first)
        self.launches: list[Launch] = []
        self.feed(Opened(1.0, "s", BUILD, BASE, MAIN))  # type: ignore[arg-type]

    @property
    def fan(self) -> FannedOut:
        found = fan_of(self.state.step(BUILD))
        assert found is not None
        return found

    def feed(self, event: Event) -> tuple[Effect, ...]:
        before, (self.state, effects) = self.state, advance(self.state, event)
        if self.state is not before:
            self.log.append(event)
        self.launches += [effect for effect in effects if isinstance(effect, Launch)]
        return effects

    def report(self, task: str, outcome: Outcome, attempt: int | None = None) -> tuple[Effect, ...]:
        now = self.now(task)
        number = attempt or (now.attempt if isinstance(now, Running) else 1)
        return self.feed(TaskReported(2.0, "a", BUILD, TaskId(task), number, outcome))

    def land(self, **fates: str) -> None:
        """Lands what may land now; *fates* say what conflicts (in which file) or is left out."""
        entries = [
            self.entry(i, fates.get(self.fan.graph.tasks[i].id, "")) for i in fanout.candidates(self.fan)
        ]
        self.feed(Landed(3.0, "s", BUILD, MAIN, BASE, TIP, tuple(entries)))  # type: ignore[arg-type]

    def entry(self, index: int, fate: str) -> LandingEntry:
        name = self.fan.graph.tasks[index].id
        if not fate:
            return LandedResult(name, RESULT, RESULT)
        if fate == "needs":
            return DroppedResult(name, RESULT, "needs", ("it builds on what did not land",))
        if fate == "red":
            return DroppedResult(name, RESULT, "land_verify", ("red",))
        return ParkedResult(name, RESULT, BASE, (fate,))

    def now(self, task: str) -> object:
        return self.fan.tasks[self.fan.graph.index[TaskId(task)]]


def tasks(*names: str, **needs: list[Json]) -> list[Json]:
    return [{"id": name, "depends_on": needs.get(name, [])} for name in names]


def at_work(*names: str, **values: object) -> Play:
    """Returns a flow whose tasks are all done, and are to land."""
    play = Play(tasks(*names), **{"concurrent": 4} | values)
    for name in names:
        play.report(name, DONE)
    assert isinstance(play.state.step(BUILD), Landing)
    return play


def test_a_parked_task_is_taken_up_with_its_conflict() -> None:
    play = at_work("x", "y")
    play.land(y="a")

    launch = play.launches[-1]
    assert (launch.task, launch.attempt) == ("y", 2)
    assert launch.resolves == Parked(1, BASE, RESULT, BASE, ("a",))
    assert play.fan.tip == TIP
    play.report("y", DONE)
    play.land()
    assert isinstance(play.state.step(BUILD), Succeeded)
    assert play.now("y") == Merged(2, BASE, RESULT, RESULT)


def test_what_was_left_out_for_it_counts_again_when_it_is_resolved() -> None:
    play = Play(tasks("x", "y", "z", y=["x"], z=["y"]))
    for name in ("x", "y", "z"):
        play.report(name, DONE)
    play.land(x="a", y="needs", z="needs")
    assert [type(now).__name__ for now in play.fan.tasks] == ["Running", "Pending", "Pending"]

    launched = len(play.launches)
    play.report("x", DONE)
    assert [type(now).__name__ for now in play.fan.tasks] == ["Verified"] * 3
    assert len(play.launches) == launched
    play.land()
    assert isinstance(play.state.step(BUILD), Succeeded)


def test_and_is_left_as_it_was_when_it_is_not() -> None:
    play = Play(tasks("x", "y", y=["x"]))
    for name in ("x", "y"):
        play.report(name, DONE)
    play.land(x="a", y="needs")
    play.report("x", RED)

    assert isinstance(play.now("x"), Parked)
    left = play.now("y")
    assert isinstance(left, Exhausted)
    assert (left.kind, left.base, left.result) == ("needs", BASE, RESULT)


def test_what_meets_in_a_file_is_resolved_one_after_another() -> None:
    play = at_work("x", "y", "z", "v")
    play.land(y="a", z="a", v="b")

    assert sorted(str(launch.task) for launch in play.launches[4:]) == ["v", "y"]
    play.report("y", RED)
    play.report("v", DONE)
    play.land()
    assert [str(launch.task) for launch in play.launches[6:]] == ["z"]
    play.report("z", DONE)
    play.land()
    assert isinstance(play.state.step(BUILD), Failed)
    assert [type(now).__name__ for now in play.fan.tasks] == ["Merged", "Parked", "Merged", "Merged"]


def test_with_enough_landed_only_keep_has_the_rest_resolved() -> None:
    for on_quorum, expected in (("cancel", 2), ("drain", 2), ("keep", 3)):
        play = Play(tasks("x", "y"), require=1, on_quorum="keep", concurrent=2)
        play.program = program(SPEC % (CHOSEN | {"require": 1, "on_quorum": on_quorum}))
        play.state = _with(play.state, play.program)
        play.report("x", DONE)
        play.report("y", DONE)
        if isinstance(play.state.step(BUILD), Landing):
            play.land(y="a")
        assert len(play.launches) == expected, on_quorum


def _with(state: FlowState, compiled: Program) -> FlowState:
    from dataclasses import replace

    return replace(state, program=compiled)


def test_a_resolution_that_fails_a_check_of_the_landing_is_tried_again() -> None:
    play = at_work("x", "y", retries=1)
    play.land(y="a")
    play.report("y", DONE)
    play.land(y="red")

    assert play.launches[-1].findings == ("red",)
    play.report("y", DONE)
    play.land(y="red")
    now = play.now("y")
    assert isinstance(now, Parked)
    assert (now.attempt, now.last, now.tries) == (1, 3, 2)


def test_a_conflict_that_comes_back_counts_as_a_try() -> None:
    play = at_work("x", "y")
    play.land(y="a")
    play.report("y", DONE)
    play.land(y="a")

    assert isinstance(play.state.step(BUILD), Failed)
    assert play.now("y") == Parked(2, BASE, RESULT, BASE, ("a",), None, 1)


def test_what_builds_on_a_conflict_waits_for_it() -> None:
    play = Play(tasks("x", "y", y=["x"]))
    for name in ("x", "y"):
        play.report(name, DONE)
    play.land(x="a", y="b")

    assert [launch.task for launch in play.launches] == ["x", "y", "x"]
    play.report("x", DONE)
    play.land()
    assert [launch.task for launch in play.launches] == ["x", "y", "x", "y"]


def test_a_cancelled_flow_keeps_its_conflict() -> None:
    play = at_work("x", "y")
    play.land(y="a")
    play.feed(CancelRequested(5.0, "me", "enough"))
    play.report("y", Halted("enough", RESULT))

    assert play.state.status == "cancelled"
    now = play.now("y")
    assert isinstance(now, Parked)
    assert now.last == 2


def test_fail_lands_nothing_and_says_what_conflicts() -> None:
    play = at_work("x", "y", on_conflict="fail", require=1, on_quorum="keep")
    conflict = ParkedResult(TaskId("y"), RESULT, BASE, ("a",))
    play.feed(Landed(3.0, "s", BUILD, MAIN, BASE, BASE, (conflict,)))  # type: ignore[arg-type]

    now = play.state.step(BUILD)
    assert isinstance(now, Failed)
    assert now.findings[1:] == ("y: conflicts in a",)
    assert isinstance(play.now("x"), Verified)


def by_hand(play: Play, *, conflict: Oid | None = None) -> None:
    play.feed(ResolvingBegan(4.0, "me", BUILD, TaskId("y"), 2, TIP, RESULT, ("a",)))
    play.feed(ResolvingEnded(5.0, "me", BUILD, TaskId("y"), 2, TIP, True, conflict, ("a",)))


def test_a_person_lets_a_failed_flow_go_on() -> None:
    play = at_work("x", "y", on_conflict="park")
    play.land(y="a")
    assert play.state.status == "failed"

    by_hand(play)
    landed = LandedLater(6.0, "me", BUILD, MAIN, TIP, RESULT, (LandedResult(TaskId("y"), TIP, RESULT),))  # type: ignore[arg-type]
    play.feed(landed)

    assert (play.state.status, play.state.cursor) == ("running", "close")
    assert play.now("y") == Merged(2, TIP, TIP, RESULT)


def test_a_resolution_that_conflicts_by_now_is_what_is_resolved_next() -> None:
    play = at_work("x", "y", on_conflict="park")
    play.land(y="a")
    by_hand(play, conflict=BASE)

    assert play.now("y") == Parked(2, TIP, TIP, BASE, ("a",))


def test_of_two_people_the_first_has_it() -> None:
    play = at_work("x", "y", on_conflict="park")
    play.land(y="a")
    play.feed(ResolvingBegan(4.0, "me", BUILD, TaskId("y"), 2, TIP, RESULT, ("a",)))
    before = play.state
    play.feed(ResolvingBegan(4.0, "you", BUILD, TaskId("y"), 3, TIP, RESULT, ("a",)))
    play.feed(ResolvingEnded(5.0, "you", BUILD, TaskId("y"), 3, TIP))

    assert play.state is before
    assert resolving.open_resolutions(before)[0][2].by == "me"


@st.composite
def graphs(draw: st.DrawFn) -> list[Json]:
    names = [f"t{n}" for n in range(draw(st.integers(2, 5)))]
    needs = {
        name: sorted(draw(st.sets(st.sampled_from(names[:i]), max_size=1))) if i else []
        for i, name in enumerate(names)
    }
    return [{"id": name, "depends_on": [*needs[name]]} for name in names]


ACTS = ("report", "report", "report", "report", "late", "hand", "pause", "resume", "cancel")


@settings(max_examples=120, deadline=None)
@given(
    graphs(),
    st.data(),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sampled_from(["all", "all", "1", "2"]),
    st.sampled_from(["cancel", "keep", "keep"]),
)
def test_no_conflict_is_lost_and_none_is_tried_for_ever(
    graph: list[Json], data: st.DataObject, concurrent: int, retries: int, require: str, on_quorum: str
) -> None:
    values = {"concurrent": concurrent, "retries": retries, "on_quorum": on_quorum}
    play = Play(graph, **values, require=min(int(require), len(graph)) if require.isdigit() else require)
    parked: set[str] = set()
    for _ in range(40):
        if isinstance(play.state.step(BUILD), Landing):
            parked |= _landed(play, data)
        else:
            _act(play, data, data.draw(st.sampled_from(ACTS)))
        _check(play, parked, concurrent, retries)
        if play.state.cursor != BUILD or is_over(play.state):
            break
    state, _ = begin(play.program, play.first)
    for event in play.log:
        state, _ = advance(state, event)
    assert state == play.state


def _act(play: Play, data: st.DataObject, act: str) -> None:
    names = [str(task.id) for task in play.fan.graph.tasks]
    running = [str(task) for _, task, _ in in_flight(play.state)]
    if act == "report" and running:
        play.report(data.draw(st.sampled_from(running)), data.draw(st.sampled_from(OUTCOMES)))
    elif act == "late":
        play.report(data.draw(st.sampled_from(names)), DONE, data.draw(st.integers(1, 2)))
    elif act == "hand":
        name = TaskId(data.draw(st.sampled_from(names)))
        found = resolving.parked_at(play.state, BUILD, name)
        number = 9 if found is None else resolving.last_of(found)
        if found is None or found.resolving is None:
            play.feed(ResolvingBegan(4.0, "me", BUILD, name, number + 1, TIP, RESULT, ("a",)))
        else:
            done = data.draw(st.booleans())
            play.feed(ResolvingEnded(5.0, "me", BUILD, name, number, RESULT, done, BASE, ("a",)))
    elif act == "pause" and data.draw(st.integers(0, 3)) == 0:
        play.feed(Suspended(6.0, "me"))
    elif act == "resume":
        play.feed(Resumed(7.0, "me"))
    elif act == "cancel" and data.draw(st.integers(0, 5)) == 0:
        play.feed(CancelRequested(8.0, "me", "enough", TaskId(data.draw(st.sampled_from(names)))))


def _landed(play: Play, data: st.DataObject) -> set[str]:
    """Lands as git might: some conflict, some fail a check, and what builds on those is left out."""
    fan, lost = play.fan, set[int]()
    fates: dict[str, str] = {}
    for index in fanout.candidates(fan):
        fate = data.draw(st.sampled_from(["", "", "a", "b", "red"]))
        missing = {
            need for need in fan.graph.needs[index] if not isinstance(fan.tasks[need], Merged | Verified)
        }
        fate = "needs" if missing or lost & {*fan.graph.needs[index]} else fate
        fates[fan.graph.tasks[index].id] = fate
        if fate:
            lost.add(index)
    play.land(**fates)
    return {name for name, fate in fates.items() if fate in {"a", "b"}}


def _check(play: Play, parked: set[str], concurrent: int, retries: int) -> None:
    now = play.state.step(BUILD)
    if isinstance(now, FannedOut):
        assert tally.check(now, concurrent) == []
    for name in parked:
        task = play.now(name)
        kept = isinstance(task, Parked | Merged) or getattr(task, "resolves", None) is not None
        assert kept, (name, task)
    for task in play.fan.tasks:
        conflict = task if isinstance(task, Parked) else getattr(task, "resolves", None)
        if isinstance(conflict, Parked):
            assert conflict.tries <= retries + 1
    keys = [(launch.task, launch.attempt) for launch in play.launches]
    assert len(keys) == len(set(keys))
    if play.state.status == "running" and not play.state.paused:
        assert in_flight(play.state) or outstanding(play.state)
    assert rebuild(play.program, files_of(play.state)) == play.state
