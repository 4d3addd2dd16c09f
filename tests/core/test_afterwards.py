"""A landing that is taken up again, or back, when its step is over."""

from __future__ import annotations

from typing import Literal

import pytest

from stratum_git.core import afterwards, codec
from stratum_git.core.engine import advance, begin
from stratum_git.core.narration import narrate
from stratum_git.core.questions import fan_of, outputs, outstanding
from stratum_git.core.rebuild import rebuild
from stratum_git.model.effects import AwaitGate, Effect, Open, Sync
from stratum_git.model.ids import FlowId, Json, Oid, StepId, TaskId
from stratum_git.model.messages import (
    Checkpointed,
    Completed,
    DroppedResult,
    Event,
    Landed,
    LandedLater,
    LandedResult,
    LandingEntry,
    Opened,
    ParkedResult,
    Rejected,
    Resumed,
    Reverted,
    Started,
    StepReported,
    Synced,
    TaskReported,
    Undone,
)
from stratum_git.model.state import (
    AtGate,
    Exhausted,
    Failed,
    FannedOut,
    FlowState,
    Merged,
    Parked,
    PendingSync,
    PutBack,
    Succeeded,
    TaskState,
)
from tests.core.driven import BASE, MAIN, RESULT, program
from tests.core.files import files_of

BUILD = StepId("build")
TIP, LATER, CLASH = Oid("1" * 40), Oid("2" * 40), Oid("d" * 40)
SPEC = """
version: "0.4"
functions: {review: {mode: gate}}
flows:
  main:
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        require: %(require)s
        merge: %(merge)s
        on_quorum: keep
      - {id: gate, function: review, depends_on: [build], on_approve: null, on_revise: build, on_kill: null}
"""
Kind = Literal["landed", "parked", "dropped", "unmoved"]


def entry(task: str, kind: Kind, commit: Oid = TIP) -> LandingEntry:
    match kind:
        case "landed":
            return LandedResult(TaskId(task), RESULT, commit)
        case "parked":
            return ParkedResult(TaskId(task), RESULT, CLASH, ("x.py",))
        case "dropped":
            return DroppedResult(TaskId(task), RESULT, "land_verify", ("red",))
        case "unmoved":
            return LandedResult(TaskId(task), RESULT, None)


def play(*events: Event, merge: str = "sequential_apply", require: str = "all", **kinds: Kind) -> FlowState:
    """Returns a flow whose tasks have landed like that, and that *events* were told of then."""
    tasks: list[Json] = [{"id": name} for name in kinds]
    spec = program(SPEC % {"merge": merge, "require": require})
    told: list[Event] = [Opened(1.0, "s", BUILD, BASE, MAIN)]
    told += [TaskReported(2.0, "a", BUILD, TaskId(name), 1, Completed(BASE, RESULT)) for name in kinds]
    new = TIP if "landed" in kinds.values() else BASE
    entries = tuple(entry(name, kind) for name, kind in kinds.items())
    told += [Landed(3.0, "s", BUILD, MAIN, BASE, new, entries), Synced(3.0, "s", MAIN), *events]
    first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": tasks}, BASE, MAIN)
    state = begin(spec, first)[0]
    for event in told:
        state = advance(state, codec_trip(event))[0]
        assert rebuild(spec, files_of(state)) == state
    return state


def codec_trip(event: Event) -> Event:
    back = codec.decode_any(codec.load(codec.dump(codec.encode(event))))
    assert back == event
    return event


def later(
    *entries: LandingEntry, old: Oid = TIP, new: Oid = LATER, findings: tuple[str, ...] = ()
) -> LandedLater:
    return LandedLater(4.0, "me", BUILD, MAIN, old, new, entries, findings)


def states(state: FlowState) -> tuple[TaskState, ...]:
    fan = fan_of(state.step(BUILD))
    assert fan is not None
    return tuple(fan.tasks)


def left(state: FlowState) -> list[int]:
    step = state.program.steps[BUILD]
    return [index for index, _, _ in afterwards.left(step, state.step(BUILD))]


def test_a_flow_that_failed_because_too_little_landed_goes_on_when_it_is_enough() -> None:
    before = play(a="landed", b="parked")
    assert before.status == "failed"
    assert left(before) == [1]

    after, effects = advance(before, later(entry("b", "landed", LATER)))

    assert effects == (Sync(MAIN, TIP, LATER), AwaitGate(StepId("gate")))
    assert after.status == "awaiting_gate"
    assert isinstance(after.step(BUILD), Succeeded)
    assert isinstance(after.step(StepId("gate")), AtGate)
    assert states(after)[1] == Merged(1, BASE, RESULT, LATER)
    assert left(after) == []
    resumed, again = advance(after, Resumed(5.0, "me"))
    assert again == outstanding(resumed) == effects


@pytest.mark.parametrize("kind", ["parked", "dropped"])
def test_what_was_left_and_lands_counts_though_it_is_not_enough(kind: Kind) -> None:
    before = play(a="landed", b=kind, c="parked")

    after, effects = advance(before, later(entry("b", "landed", LATER)))

    assert effects == (Sync(MAIN, TIP, LATER),)
    assert after.status == "failed"
    assert isinstance(after.step(BUILD), Failed)
    assert states(after)[1] == Merged(1, BASE, RESULT, LATER)
    assert left(after) == [2]


def test_a_result_that_was_left_out_may_be_parked_and_the_reverse() -> None:
    before = play(a="dropped", b="parked")
    assert states(before)[0] == Exhausted(1, "land_verify", ("red",), RESULT, None, BASE)

    after, _ = advance(before, later(entry("a", "parked"), entry("b", "dropped"), old=BASE, new=BASE))

    assert states(after) == (
        Parked(1, BASE, RESULT, CLASH, ("x.py",)),
        Exhausted(1, "land_verify", ("red",), RESULT, None, BASE),
    )


def test_a_step_that_failed_for_its_postcondition_does_not_succeed_by_what_lands_without_it() -> None:
    before = play(a="landed", b="parked")

    after, _ = advance(before, later(entry("b", "landed"), findings=("it is not good",)))

    assert after.status == "failed"


def test_results_that_are_merged_by_hand_are_left_until_they_land() -> None:
    before = play(merge="manual", a="unmoved", b="unmoved")
    assert before.status == "awaiting_gate"
    assert left(before) == [0, 1]

    after, _ = advance(before, later(entry("b", "landed", LATER), old=BASE))

    assert left(after) == [0]
    assert after.status == "awaiting_gate"
    assert isinstance(after.step(BUILD), Succeeded)


def test_what_changed_nothing_is_not_left() -> None:
    assert left(play(a="unmoved", b="landed")) == []


def test_what_is_told_twice_changes_nothing_the_second_time() -> None:
    event = later(entry("b", "parked"), old=TIP, new=TIP)
    state = play(a="landed", b="parked")

    assert advance(state, event) == (state, ())


def test_results_of_a_flow_that_is_at_work_are_not_touched() -> None:
    spec = program(SPEC % {"merge": "sequential_apply", "require": "all"})
    first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": [{"id": "a"}]}, BASE, MAIN)
    state = advance(begin(spec, first)[0], Opened(1.0, "s", BUILD, BASE, MAIN))[0]
    assert isinstance(state.step(BUILD), FannedOut)

    assert advance(state, later(entry("a", "landed"))) == (state, ())


def test_a_failed_attempt_is_no_result_to_land() -> None:
    spec = program(SPEC % {"merge": "sequential_apply", "require": "any"})
    first = Started(0.0, "me", FlowId("f-1"), "main", {"tasks": [{"id": "a"}, {"id": "b"}]}, BASE, MAIN)
    events: list[Event] = [
        Opened(1.0, "s", BUILD, BASE, MAIN),
        TaskReported(2.0, "a", BUILD, TaskId("a"), 1, Completed(BASE, RESULT)),
        TaskReported(2.0, "a", BUILD, TaskId("b"), 1, Rejected("verify", ("no",), BASE, RESULT)),
        Landed(3.0, "s", BUILD, MAIN, BASE, TIP, (entry("a", "landed"),)),
    ]
    state = begin(spec, first)[0]
    for event in events:
        state = advance(state, event)[0]

    assert left(state) == []
    after, _ = advance(state, later(entry("b", "landed")))
    assert states(after)[1] == Exhausted(1, "verify", ("no",), RESULT)


UNDONE = Undone(4.0, "me", MAIN, TIP, BASE)


def test_what_is_undone_is_left_and_can_land_again() -> None:
    before = play(a="landed", b="landed")

    after, effects = advance(before, UNDONE)

    assert effects == (Sync(MAIN, TIP, BASE),)
    assert after.unsynced == (PendingSync(MAIN, TIP, BASE),)
    assert after.undone == (PutBack(MAIN, TIP, BASE),)
    assert after.status == before.status
    assert states(after)[0] == Merged(1, BASE, RESULT, TIP, undone=True)
    assert left(after) == [0, 1]
    again, _ = advance(after, later(entry("a", "landed", LATER), old=BASE))
    assert again.undone == ()
    assert left(again) == [1]


def test_an_undo_is_told_and_kept_as_it_was() -> None:
    state = play(UNDONE, a="landed", b="parked")

    assert narrate(UNDONE, state, ()).subject == f"Put main back from {'1' * 10} to {'b' * 10}"
    assert state.status == "failed"
    assert left(state) == [0, 1]


def test_of_a_flow_that_goes_back_nothing_is_on_a_target_that_was_put_back() -> None:
    marked = Checkpointed(3.5, "me", "landed")

    state = play(marked, UNDONE, Reverted(5.0, "me", "landed"), a="landed")

    assert state.undone == (PutBack(MAIN, TIP, BASE),)
    assert left(state) == [0]


ALONE = """
version: "0.4"
flows:
  main:
    steps:
      - {id: solo, intent: do it}
      - {id: after, intent: do more, depends_on: [solo]}
"""
SOLO = StepId("solo")


def play_alone(entry: LandingEntry) -> FlowState:
    """Returns a flow after the only result of its first step was landed like that."""
    state = begin(program(ALONE), Started(0.0, "me", FlowId("f-1"), "main", {}, BASE, MAIN))[0]
    for event in (
        Opened(1.0, "s", SOLO, BASE, MAIN),
        StepReported(2.0, "a", SOLO, 1, Completed(BASE, RESULT, {"n": 1})),
        Landed(3.0, "s", SOLO, MAIN, BASE, BASE, (entry,)),
    ):
        state = advance(state, event)[0]
    return state


def test_a_step_of_one_agent_whose_result_conflicted_goes_on_when_it_lands() -> None:
    before = play_alone(ParkedResult(None, RESULT, CLASH, ("x.py",)))
    assert before.status == "failed"
    landed = LandedLater(4.0, "me", SOLO, MAIN, BASE, TIP, (LandedResult(None, RESULT, TIP),))

    after, effects = advance(before, landed)

    assert after.status == "running"
    assert effects == (Sync(MAIN, BASE, TIP), Open(StepId("after")))
    assert outputs(after) == {SOLO: {"n": 1}}
    assert advance(after, landed)[0].cursor == after.cursor


def test_a_step_of_one_agent_that_conflicts_still_stays_failed() -> None:
    parked = ParkedResult(None, RESULT, CLASH, ("x.py",))
    before = play_alone(parked)

    assert advance(before, LandedLater(4.0, "me", SOLO, MAIN, BASE, BASE, (parked,))) == (before, ())


def test_a_late_landing_is_told_with_its_tasks() -> None:
    event = later(entry("b", "landed", LATER), entry("c", "parked"))
    effects: tuple[Effect, ...] = ()
    state = play(a="landed", b="parked", c="parked")

    told = narrate(event, state, effects)

    assert told.subject == f"build: land later 1 on main at {'2' * 10}, 1 parked in conflict"
    assert ("Stratum-Landed", LATER) in told.trailers
