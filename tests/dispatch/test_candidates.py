"""One task, done several times: which result is taken, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import trio

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.core.contest import number_of
from stratum_git.dispatch.notices import Notice, Recorded
from stratum_git.model.choosing import Chosen
from stratum_git.model.ids import Json
from stratum_git.model.messages import TaskReported
from stratum_git.model.state import Elected, Exhausted, FlowState, Merged, Stopped
from tests.support.flows import Stage, dispatch_spec, fan, words, writes


def number(assignment: Assignment) -> int:
    return int(assignment.env.get("STRATUM_CANDIDATE", "0"))


def ids(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


def choices(stage: Stage) -> list[Chosen]:
    events = [notice.event for notice in stage.notices if isinstance(notice, Recorded)]
    return [event for event in events if isinstance(event, Chosen)]


async def test_the_smallest_change_that_passes_is_taken_and_lands_once(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if number(assignment) == 3:
            return Script(fails="no idea")
        return writes("x.txt", "line\n" * (10 if number(assignment) == 1 else 4))

    state = await stage.play(dispatch_spec(candidates=3), play, ids("x"))

    assert state.status == "complete"
    assert words(state) == {"x": "merged", "x@1": "stopped", "x@2": "elected", "x@3": "exhausted"}
    assert stage.scratch.show("HEAD:x.txt") == "line\nline\nline\nline"
    assert stage.scratch.git("log", "--format=%s", "-2").splitlines() == ["x: do x", "first"]
    assert "Stratum-Candidate: 2 of 3\n" in stage.scratch.git("log", "-1", "--format=%B")
    (choice,) = choices(stage)
    assert [(one.task, one.rank, one.files, one.lines) for one in choice.ranking] == [
        ("x@2", 1, 1, 4),
        ("x@1", 2, 1, 10),
        ("x@3", None, 0, 0),
    ]
    tasks = fan(state).tasks
    assert isinstance(tasks[0], Merged)
    assert isinstance(tasks[2], Elected)
    assert tasks[0].result == tasks[2].result
    assert tasks[2].why == "it changes 4 lines, x@1 10"
    assert isinstance(tasks[1], Stopped)
    assert tasks[1].why == "x@2 was chosen: it changes 4 lines, this one 10"
    assert isinstance(tasks[3], Exhausted)
    loser = f"refs/stratum/attempts/{state.flow}/build/x@1/1"
    assert stage.scratch.git("rev-parse", loser) == tasks[1].result
    assert stage.scratch.git("rev-parse", f"stratum/{state.flow}/x") == tasks[0].result


async def test_candidates_may_have_agents_and_prompts_of_their_own(stage: Stage) -> None:
    prompts: dict[str, str] = {}

    def play(assignment: Assignment) -> Script:
        prompts[assignment.env.get("STRATUM_CANDIDATE", "")] = assignment.intent.strip()
        return writes(f"{assignment.task}.txt", "long\n" * 3)

    other = ScriptedAgent("other", lambda _: writes("x.txt", "other\n"))
    spec = dispatch_spec(candidates='[{}, {agent: other}, {intent_template: "differently {task.id}"}]')
    state = await stage.play(spec, play, [{"id": "x"}, {"id": "y", "candidates": 1}], [other])

    assert prompts == {"1": "do x", "3": "differently x", "": "do y"}
    assert words(state) == {
        "x": "merged", "x@1": "stopped", "x@2": "elected", "x@3": "stopped", "y": "merged",
    }  # fmt: skip
    assert stage.scratch.show("HEAD:x.txt") == "other"


async def play_after(
    stage: Stage, first: str, tasks: list[Json], play: Callable[[Assignment, trio.Event], Script]
) -> FlowState:
    """Runs a flow whose scripts may wait until the result of *first* is in."""
    seen = trio.Event()
    spec = dispatch_spec(max_concurrent=6)
    driver, effects = stage.prepare(spec, lambda assignment: play(assignment, seen), {"tasks": tasks})

    def watch(notice: Notice) -> None:
        stage.notices.append(notice)
        event = notice.event if isinstance(notice, Recorded) else None
        if isinstance(event, TaskReported) and event.task == first:
            seen.set()

    driver.watch = watch
    with driver.journal.log, closing(driver.context):
        return await driver.drive(effects)  # type: ignore[arg-type]


async def test_what_conflicts_with_other_results_comes_after_what_does_not(stage: Stage) -> None:
    def play(assignment: Assignment, seen: trio.Event) -> Script:
        if assignment.task == "other":
            return writes("a.txt", "other\n")
        if number(assignment) == 1:
            return Script(files={"a.txt": b"x\n"}, until=seen)
        return Script(files={"x.txt": b"x\n" * 30}, until=seen)

    tasks: list[Json] = [{"id": "other"}, {"id": "x", "candidates": 2}]
    state = await play_after(stage, "other", tasks, play)

    assert words(state) == {"other": "merged", "x": "merged", "x@1": "stopped", "x@2": "elected"}
    (choice,) = choices(stage)
    assert [(one.task, one.collisions, one.lines) for one in choice.ranking] == [
        ("x@2", (), 30),
        ("x@1", ("other",), 2),
    ]
    assert choice.ranking[1].reason == (
        "x@2 was chosen: it conflicts with 0 other results, this one with 1 (other)"
    )


async def test_what_needs_a_task_with_candidates_builds_on_the_chosen_one(stage: Stage) -> None:
    same = b"by two\n"

    def play(assignment: Assignment, seen: trio.Event) -> Script:
        if assignment.task == "x":
            return writes("x.txt", "small\n" if number(assignment) == 2 else "very\nlarge\n")
        if assignment.task == "y":
            # What it changes is not on the base of the other task that touches a file of its.
            text = (assignment.slot / "x.txt").read_bytes() + (assignment.slot / "z.txt").read_bytes()
            more = b"" if number(assignment) == 2 else b"more\n"
            return Script(files={"x.txt": text + more, "same.txt": same}, until=seen)
        if assignment.task == "far":
            return Script(files={"same.txt": same})
        return writes(f"{assignment.task}.txt", f"{assignment.task}\n")

    tasks: list[Json] = [
        {"id": "x", "candidates": 2},
        {"id": "z"},
        {"id": "far"},
        {"id": "y", "depends_on": ["x", "z"], "candidates": 2},
        {"id": "end", "depends_on": ["y"]},
    ]
    state = await play_after(stage, "far", tasks, play)

    assert state.status == "complete"
    assert stage.scratch.show("HEAD:x.txt") == "small\nz"
    assert stage.scratch.show("HEAD:end.txt") == "end"
    ranking = {str(choice.task): choice.ranking for choice in choices(stage)}
    assert [(one.task, one.collisions) for one in ranking["y"]] == [("y@2", ()), ("y@1", ())]


async def test_candidates_with_the_same_files_are_one(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if number(assignment) == 1:
            return writes("x.txt", "1\n2\n")
        return Script(files={"x.txt": b"1\n"}, seconds=0.2 if number(assignment) == 2 else 0)

    state = await stage.play(dispatch_spec(candidates=3), play, ids("x"))

    assert words(state)["x@3"] == "elected"
    (choice,) = choices(stage)
    assert [(one.task, one.rank) for one in choice.ranking] == [("x@3", 1), ("x@2", 1), ("x@1", 2)]
    assert choice.ranking[0].reason == "it changes 1 line, x@1 2; x@2 has the same files"
    assert choice.ranking[1].reason.startswith("x@3 was chosen: the files are the same, and it took ")


async def test_a_binary_file_has_the_size_of_its_bytes(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return Script(files={"x.bin": b"\0" * 8000} if number(assignment) == 1 else {"x.txt": b"x\n" * 99})

    state = await stage.play(dispatch_spec(candidates=2), play, ids("x"))

    assert words(state)["x@2"] == "elected"
    assert [one.lines for one in choices(stage)[0].ranking] == [99, 100]


async def test_when_all_candidates_fail_the_task_does(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return Script(files={"half.txt": b"x\n"}, fails=f"no {number(assignment)}")

    state = await stage.play(dispatch_spec(candidates=2), play, ids("x"))

    assert state.status == "failed"
    assert words(state) == {"x": "exhausted", "x@1": "exhausted", "x@2": "exhausted"}
    now = fan(state).tasks[0]
    assert isinstance(now, Exhausted)
    assert now.findings == ("none of its candidates can be taken", "x@1: agent: no 1", "x@2: agent: no 2")
    assert choices(stage) == []
    assert stage.scratch.git("rev-parse", "HEAD") == state.base


async def test_candidates_of_tasks_in_clones_and_those_that_change_nothing(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return Script(output={"n": number(assignment)})

    state = await stage.play(dispatch_spec(candidates=2, isolation="branch"), play, ids("x"))

    assert state.status == "complete"
    now = fan(state).tasks[0]
    assert isinstance(now, Merged)
    assert (now.commit, now.output) == (None, {"n": number_of(choices(stage)[0].candidate)})
    assert choices(stage)[0].ranking[0].files == 0
