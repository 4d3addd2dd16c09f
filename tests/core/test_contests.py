"""A task with candidates: it waits for all of them, and has the result of one."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.core import tally
from stratum_git.core.contest import expanded, words_of
from stratum_git.core.engine import advance
from stratum_git.core.questions import fan_of, in_flight, is_over, outstanding
from stratum_git.core.rebuild import rebuild
from stratum_git.core.taskgraph import read_graph
from stratum_git.model.choosing import Chosen, Ranked
from stratum_git.model.effects import Choose, Effect, Land, Launch, Stop
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, Oid, TaskId
from stratum_git.model.messages import (
    CancelRequested,
    Completed,
    Event,
    Halted,
    Landed,
    LandedResult,
    Lost,
    Outcome,
    ParkedResult,
    Rejected,
    Resumed,
    Suspended,
    TaskReported,
)
from stratum_git.model.spec import Candidate, Dispatch
from stratum_git.model.state import (
    Elected,
    Exhausted,
    Failed,
    FannedOut,
    FlowState,
    Pending,
    Running,
    Standing,
    Verified,
)
from tests.core.files import files_of
from tests.core.test_engine import BASE, BUILD, MAIN, RESULT, say, started

OTHER = Oid("d" * 40)
GOOD = Completed(BASE, RESULT, {"ok": True}, {"ms": 5})
BAD = Rejected("verify", ("no",), BASE, OTHER)


def contested(count: int = 2, **values: object) -> FlowState:
    """Returns a flow at a step of a task x with candidates and a task y that needs it."""
    graph: list[Json] = [{"id": "x", "candidates": count}, {"id": "y", "depends_on": ["x"]}]
    return started(graph, **({"concurrent": 4} | values))


def fan(state: FlowState) -> FannedOut:
    found = fan_of(state.step(BUILD))
    assert found is not None
    assert tally.check(found, 9) == []
    return found


def words(state: FlowState) -> dict[str, str]:
    found = fan(state)
    pairs = zip(found.graph.tasks, found.tasks, strict=True)
    return {task.id: type(now).__name__.lower() for task, now in pairs}


def choose(state: FlowState, *order: str) -> tuple[FlowState, tuple[Effect, ...]]:
    ranking = tuple(Ranked(TaskId(name), "verified", 1, RESULT, reason=f"as {name} is") for name in order)
    return advance(state, Chosen(2.0, "s", BUILD, TaskId("x"), TaskId(order[0]), ranking))


def test_a_graph_has_the_candidates_behind_their_task() -> None:
    rows: list[Json] = [
        {"id": "a", "agent": "own", "intent": "mine"},
        {"id": "b", "depends_on": ["a"], "candidates": [{"agent": "else"}, {"intent": "so"}]},
        {"id": "c", "depends_on": ["b"], "candidates": 1},
    ]
    graph = read_graph(rows)
    assert isinstance(graph, TaskGraph)

    found = expanded(graph, Dispatch("$.input.tasks", "do", candidates=(Candidate("first"), Candidate())))

    assert [(task.id, task.agent, task.intent) for task in found.tasks] == [
        ("a", "own", "mine"),
        ("a@1", "first", "mine"),
        ("a@2", "own", "mine"),
        ("b", None, None),
        ("b@1", "else", None),
        ("b@2", None, "so"),
        ("c", None, None),
    ]
    assert found.needs == ((), (), (), (0,), (0,), (0,), (3,))
    assert found.dependents == ((3, 4, 5), (), (), (6,), (), (), ())
    assert found.order == (0, 1, 2, 3, 4, 5, 6)
    assert (found.contests, found.size) == ({0: (1, 2), 3: (4, 5)}, 3)


def test_candidates_are_launched_and_their_task_is_not() -> None:
    state = contested(3, concurrent=2)

    assert [task for _, task, _ in in_flight(state)] == ["x@1", "x@2"]
    assert words(state) == {
        "x": "pending",
        "x@1": "running",
        "x@2": "running",
        "x@3": "pending",
        "y": "pending",
    }


def test_the_choice_waits_for_the_last_candidate() -> None:
    state, effects = say(contested(), "x@1", 1, GOOD)
    assert effects == ()
    state, effects = say(state, "x@2", 1, GOOD)

    assert effects == (Choose(BUILD, TaskId("x")),)
    assert outstanding(state) == effects
    assert words(state) == {"x": "pending", "x@1": "standing", "x@2": "standing", "y": "pending"}
    assert fan(state).tasks[1] == Standing(1, BASE, RESULT, {"ok": True}, {"ms": 5})


def test_the_task_has_the_result_of_the_chosen_one_and_what_needs_it_begins() -> None:
    state, _ = say(contested(), "x@1", 1, Completed(BASE, OTHER))
    state, _ = say(state, "x@2", 1, GOOD)

    state, effects = choose(state, "x@2", "x@1")

    assert effects == (Launch(BUILD, TaskId("y"), 1),)
    tasks = fan(state).tasks
    assert tasks[0] == Verified(1, BASE, RESULT, {"ok": True})
    assert tasks[2] == Elected(1, BASE, RESULT, "as x@2 is")
    assert words(state) == {"x": "verified", "x@1": "stopped", "x@2": "elected", "y": "running"}
    assert words_of(fan(state), 0) == "2 of 2"


def test_a_choice_that_comes_again_or_of_somebody_who_is_out_changes_nothing() -> None:
    state, _ = say(contested(3), "x@1", 1, GOOD)
    early, _ = choose(state, "x@1")
    assert early is state
    state, _ = say(state, "x@2", 1, BAD)
    state, _ = say(state, "x@3", 1, GOOD)
    for name in ("x@2", "y", "x", "no"):
        assert choose(state, name)[0] is state
    state, _ = choose(state, "x@3")

    assert choose(state, "x@1")[0] is state


def test_each_candidate_has_its_retries() -> None:
    state, effects = say(contested(retries=1), "x@1", 1, BAD)
    assert effects == (Launch(BUILD, TaskId("x@1"), 2, ("no",)),)
    state, _ = say(state, "x@1", 2, BAD)

    assert words(state)["x@1"] == "exhausted"
    assert words(state)["x"] == "pending"


def test_when_no_candidate_passes_the_task_fails_with_what_each_lacks() -> None:
    state, _ = say(contested(), "x@1", 1, BAD)
    state, effects = say(state, "x@2", 1, Rejected("timeout", ("late",), BASE))

    assert state.status == "failed"
    found = ("none of its candidates can be taken", "x@1: verify: no", "x@2: timeout: late")
    assert fan(state).tasks[0] == Exhausted(1, "verify", found)
    assert words(state)["y"] == "stopped"
    assert not any(isinstance(effect, Choose) for effect in effects)
    now = state.step(BUILD)
    assert isinstance(now, Failed)
    assert now.findings == (
        "require: all needs 2 of 2 tasks; 0 landed",
        f"x: verify: {'; '.join(found)}",
        "y: needs x, which did not succeed",
    )


def test_candidates_count_in_no_quorum() -> None:
    graph: list[Json] = [{"id": "x", "candidates": 3}, {"id": "a"}, {"id": "b"}]
    state = started(graph, require="2", concurrent=9)
    for name in ("x@1", "x@2", "x@3"):
        state, effects = say(state, name, 1, GOOD)
        assert not any(isinstance(effect, Stop | Land) for effect in effects)
    state, effects = choose(state, "x@1", "x@2", "x@3")
    assert effects == ()
    state, effects = say(state, "a", 1, GOOD)

    assert effects == (Stop(BUILD, TaskId("b"), 1, "enough results are in"),)


def test_with_enough_results_the_candidates_that_are_at_work_are_stopped() -> None:
    graph: list[Json] = [{"id": "a"}, {"id": "x", "candidates": 3}]
    state = started(graph, require="any", concurrent=3)
    state, _ = say(state, "x@1", 1, GOOD)
    state, effects = say(state, "a", 1, GOOD)

    why = "enough results are in"
    assert effects == (Stop(BUILD, TaskId("x@2"), 1, why), Stop(BUILD, TaskId("x@3"), 1, why))
    for name in ("x@2", "x@3"):
        state, effects = say(state, name, 1, Halted(why, OTHER))
    assert effects == (Land(BUILD),)
    assert words(state) == {"a": "verified", **dict.fromkeys(("x", "x@1", "x@2", "x@3"), "stopped")}


def test_a_contest_that_has_begun_is_brought_to_its_end_when_no_more_is_started() -> None:
    graph: list[Json] = [{"id": "a"}, {"id": "x", "candidates": 3}, {"id": "z", "candidates": 2}]
    state = started(graph, require="any", on_quorum="drain", concurrent=2)
    state, _ = say(state, "x@1", 1, GOOD)
    assert words(state)["x@2"] == "running"
    state, _ = say(state, "a", 1, GOOD)
    assert words(state) == {
        "a": "verified", "x": "pending", "x@1": "standing", "x@2": "running", "x@3": "stopped",
        "z": "stopped", "z@1": "stopped", "z@2": "stopped",
    }  # fmt: skip
    state, effects = say(state, "x@2", 1, GOOD)
    assert effects == (Choose(BUILD, TaskId("x")),)

    state, effects = choose(state, "x@2", "x@1", "x@3")

    assert effects == (Land(BUILD),)
    assert words(state)["x"] == "verified"


def test_a_contest_of_which_only_the_choice_is_left_is_chosen_when_no_more_is_started() -> None:
    graph: list[Json] = [{"id": "a"}, {"id": "x", "candidates": 2}]
    state = started(graph, require="any", on_quorum="drain", concurrent=2)
    state, _ = advance(state, Suspended(2.0, "me"))
    state, _ = say(state, "x@1", 1, GOOD)
    state, effects = say(state, "a", 1, GOOD)

    assert effects == (Choose(BUILD, TaskId("x")),)


def test_cancelling_the_task_stops_its_candidates() -> None:
    state, _ = say(contested(3, require="any", on_quorum="keep"), "x@1", 1, GOOD)

    state, effects = advance(state, CancelRequested(3.0, "me", "no more", TaskId("x")))

    assert effects == (Stop(BUILD, TaskId("x@2"), 1, "no more"), Stop(BUILD, TaskId("x@3"), 1, "no more"))
    assert words(state) == {
        "x": "stopped", "x@1": "stopped", "x@2": "running", "x@3": "running", "y": "stopped",
    }  # fmt: skip


def test_cancelling_a_candidate_leaves_the_choice_to_the_others() -> None:
    state, _ = say(contested(3), "x@1", 1, GOOD)
    state, effects = advance(state, CancelRequested(3.0, "me", "too slow", TaskId("x@2")))
    assert effects == (Stop(BUILD, TaskId("x@2"), 1, "too slow"),)
    state, _ = say(state, "x@2", 1, Halted("too slow", OTHER))
    state, effects = say(state, "x@3", 1, GOOD)
    assert effects == (Choose(BUILD, TaskId("x")),)

    state, effects = advance(state, CancelRequested(3.0, "me", "not that", TaskId("x@1")))
    assert effects == (Choose(BUILD, TaskId("x")),)
    assert choose(state, "x@1", "x@3")[0] is state
    state, _ = choose(state, "x@3", "x@1", "x@2")

    assert words(state)["x@3"] == "elected"


def test_an_interrupted_contest_goes_on_where_it_was() -> None:
    state, _ = say(contested(), "x@1", 1, GOOD)
    state, _ = advance(state, Suspended(3.0, "me"))
    state, effects = say(state, "x@2", 1, GOOD)
    assert effects == (Choose(BUILD, TaskId("x")),)

    state, effects = advance(state, Resumed(4.0, "me"))

    assert effects == (Choose(BUILD, TaskId("x")),)


def test_what_was_stopped_with_its_candidates_is_taken_up_again_with_them() -> None:
    graph: list[Json] = [{"id": "a"}, {"id": "b"}, {"id": "x", "candidates": 2}]
    state = started(graph, require="2", concurrent=3)
    state, _ = say(state, "a", 1, GOOD)
    state, _ = say(state, "b", 1, GOOD)
    state, _ = say(state, "x@1", 1, Halted("enough results are in"))
    state, effects = say(state, "x@2", 1, Halted("enough results are in"))
    assert effects == (Land(BUILD),)
    entries = (
        LandedResult(TaskId("a"), RESULT, RESULT),
        ParkedResult(TaskId("b"), RESULT, RESULT, ("x.py",)),
    )
    state, effects = advance(state, Landed(3.0, "s", BUILD, MAIN, BASE, RESULT, entries))

    assert effects[1:] == (Launch(BUILD, TaskId("x@1"), 2), Launch(BUILD, TaskId("x@2"), 2))
    assert words(state)["x"] == "pending"
    state, _ = say(state, "x@1", 2, GOOD)
    state, _ = say(state, "x@2", 2, BAD)
    state, effects = choose(state, "x@1", "x@2")
    assert effects == (Land(BUILD),)


def test_a_step_in_its_output_names_the_candidates_and_why() -> None:
    state, _ = say(started([{"id": "x", "candidates": 2}], concurrent=2), "x@1", 1, GOOD)
    state, _ = say(state, "x@2", 1, BAD)
    state, _ = choose(state, "x@1", "x@2")
    row = tally.aggregate(fan(state), ok=True)

    assert isinstance(row, dict)
    assert isinstance(row["tasks"], list)
    (only,) = row["tasks"]
    assert isinstance(only, dict)
    assert only["chosen"] == "x@1"
    assert only["candidates"] == [
        {"task_id": "x@1", "state": "elected", "reason": "as x@1 is"},
        {"task_id": "x@2", "state": "exhausted", "reason": "verify: no"},
    ]


def replayed(state: FlowState, log: list[Event]) -> FlowState:
    for event in log:
        state, _ = advance(state, event)
    return state


@settings(max_examples=80, deadline=None)
@given(
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    require=st.sampled_from(["all", "any", "2"]),
    on_quorum=st.sampled_from(["cancel", "drain", "keep"]),
    retries=st.integers(0, 1),
    concurrent=st.integers(1, 4),
    dice=st.randoms(use_true_random=False),
)
def test_whatever_happens_a_contest_comes_to_its_end(
    counts: list[int], require: str, on_quorum: str, retries: int, concurrent: int, dice: Random
) -> None:
    graph: list[Json] = [
        {"id": f"t{n}", "candidates": count, "depends_on": [f"t{n - 1}"] if n and dice.random() < 0.4 else []}
        for n, count in enumerate(counts)
    ]
    first = state = started(
        graph, require=require, on_quorum=on_quorum, retries=retries, concurrent=concurrent
    )
    names = [f"t{n}{end}" for n in range(len(counts)) for end in ("", "@1", "@2")]
    log: list[Event] = []
    for _ in range(60):
        if not isinstance(state.step(BUILD), FannedOut):
            break
        event = anything(state, dice, names)
        if event is None:
            break
        log.append(event)
        state, _ = advance(state, event)
        now = fan_of(state.step(BUILD))
        assert now is not None
        assert tally.check(now, concurrent) == []
        assert is_over(state) or state.paused or in_flight(state) or outstanding(state)
    assert replayed(first, log) == state
    assert rebuild(state.program, files_of(state)) == state
    done = fan_of(state.step(BUILD))
    if done is not None and not isinstance(state.step(BUILD), FannedOut):
        assert not any(isinstance(now, Standing | Pending | Running) for now in done.tasks)


def anything(state: FlowState, dice: Random, names: list[str]) -> Event | None:
    """Returns something that may happen now: mostly a report, or the choice that is waited for."""
    chance = dice.random()
    if chance < 0.04:
        return CancelRequested(5.0, "me", "not wanted", TaskId(dice.choice(names)))
    if chance < 0.07 or state.paused:
        return Resumed(7.0, "me") if state.paused else Suspended(6.0, "me")
    at_work = [attempt for attempt in in_flight(state) if attempt[1] is not None]
    waiting = [effect for effect in outstanding(state) if isinstance(effect, Choose)]
    if waiting and (not at_work or dice.random() < 0.5):
        return a_choice(state, dice.choice(waiting).task, dice)
    if not at_work:
        return None
    _, task, attempt = dice.choice(at_work)
    assert task is not None
    outcomes: list[Outcome] = [GOOD, GOOD, GOOD, BAD, Halted("stop", OTHER), Lost("gone")]
    outcome = dice.choice(outcomes)
    return TaskReported(2.0, "a", BUILD, task, attempt, outcome)


def a_choice(state: FlowState, task: TaskId, dice: Random) -> Chosen:
    now = fan_of(state.step(BUILD))
    assert now is not None
    entered = now.graph.contests[now.graph.index[task]]
    standing = [now.graph.tasks[i].id for i in entered if isinstance(now.tasks[i], Standing)]
    dice.shuffle(standing)
    ranking = tuple(Ranked(name, "verified", 1, RESULT, reason="so") for name in standing)
    return Chosen(2.0, "s", BUILD, task, standing[0], ranking)
