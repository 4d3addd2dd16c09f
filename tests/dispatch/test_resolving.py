"""Conflicts that agents resolve."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.dispatch.notices import Recorded
from stratum_git.model.ids import Json
from stratum_git.model.messages import Landed, LandedResult, Mend, Rejected, TaskReported
from stratum_git.model.state import Failed, Merged, Parked
from tests.support.flows import Stage, dispatch_spec, fan, words, writes

BOTH: list[Json] = [{"id": "x"}, {"id": "y"}]


def both(assignment: Assignment) -> Script:
    """Writes the same file, each task its own word."""
    return writes("a.txt", f"{assignment.task}\n")


def resolver(play: Callable[[Assignment], Script]) -> ScriptedAgent:
    return ScriptedAgent("fixer", play)


def spec(**options: object) -> str:
    return dispatch_spec(on_conflict="agent", resolver="fixer", **options)


def git(assignment: Assignment, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=assignment.slot, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def reports(stage: Stage) -> Iterator[TaskReported]:
    for notice in stage.notices:
        if isinstance(notice, Recorded) and isinstance(notice.event, TaskReported):
            yield notice.event


def rejected(stage: Stage) -> list[Rejected]:
    return [event.outcome for event in reports(stage) if isinstance(event.outcome, Rejected)]


async def test_an_agent_resolves_what_conflicts_and_it_lands(stage: Stage) -> None:
    seen: dict[str, str] = {}

    def fix(assignment: Assignment) -> Script:
        seen["status"] = git(assignment, "status", "--porcelain")
        seen["file"] = (assignment.slot / "a.txt").read_text()
        seen["sides"] = "".join(git(assignment, "show", f":{n}:a.txt") for n in (1, 2, 3))
        seen["diff"] = git(assignment, "diff")
        seen["prompt"] = assignment.intent
        seen["merge"] = git(assignment, "rev-parse", "-q", "--verify", "MERGE_HEAD")
        return writes("a.txt", "x and y\n")

    state = await stage.play(spec(verify="test -s a.txt"), both, BOTH, [resolver(fix)])

    assert state.status == "complete"
    assert words(state) == {"x": "merged", "y": "merged"}
    assert stage.scratch.show("HEAD:a.txt") == "x and y"
    assert stage.scratch.git("log", "--format=%s", "-3").splitlines() == ["y: do y", "x: do x", "first"]
    assert stage.scratch.git("status", "--porcelain") == ""
    assert seen["status"] == "UU a.txt\n"
    assert "<<<<<<<" in seen["file"]
    assert ">>>>>>>" in seen["file"]
    assert seen["sides"] == "a\nx\ny\n"
    assert "diff --cc a.txt" in seen["diff"]
    assert seen["merge"] == ""
    for said in ("do y", "- x: do x", "- a.txt", "git show :1:", "++<<<<<<<", "`test -s a.txt`"):
        assert said in seen["prompt"], said
    now = fan(state).tasks[1]
    assert isinstance(now, Merged)
    assert now.attempt == 2
    assert [e.by for e in reports(stage)][-1] == "agent fixer"


@pytest.mark.parametrize("ending", ["edits", "adds", "commits"])
async def test_it_may_leave_its_work_as_it_likes(stage: Stage, ending: str) -> None:
    def then(assignment: Assignment) -> None:
        if ending != "edits":
            git(assignment, "add", "a.txt")
        if ending == "commits":
            assert "1 file changed" in git(assignment, "commit", "-m", "resolve it")

    def fix(assignment: Assignment) -> Script:
        del assignment
        return Script(files={"a.txt": b"x and y\n"}, then=then)

    state = await stage.play(spec(), both, BOTH, [resolver(fix)])

    assert state.status == "complete"
    assert stage.scratch.show("HEAD:a.txt") == "x and y"


async def test_markers_that_are_left_are_named_and_the_next_one_is_told(stage: Stage) -> None:
    prompts: list[str] = []

    def fix(assignment: Assignment) -> Script:
        prompts.append(assignment.intent)
        if assignment.attempt == 2:
            text = (assignment.slot / "a.txt").read_text()
            return writes("a.txt", text.replace("=======\n", "").replace("x\n", "x and\n"))
        return writes("a.txt", "x and y\n")

    state = await stage.play(spec(task_retries=1), both, BOTH, [resolver(fix)])

    assert state.status == "complete"
    (found,) = rejected(stage)
    assert found.kind == "conflict"
    assert found.findings[0].startswith("a.txt:1: a conflict marker is left: <<<<<<<")
    assert found.findings[1].startswith("a.txt:4: a conflict marker is left: >>>>>>>")
    assert "a.txt:1: a conflict marker is left" in prompts[1]
    kept = f"refs/stratum/attempts/{state.flow}/build/y/2"
    assert stage.scratch.show(f"{kept}:a.txt").startswith("<<<<<<<")


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (Script(), "conflict"),
        (Script(files={"a.txt": b"x and y\n", "z.txt": b"z\n"}), "scope"),
        (Script(files={"a.txt": b"x and y\n"}, fails="gave up"), "agent"),
        (Script(unstartable="no such program"), "start"),
        (Script(files={"a.txt": b"bad\n"}), "verify"),
    ],
)
async def test_what_is_not_resolved_stays_parked(stage: Stage, script: Script, kind: str) -> None:
    tasks: list[Json] = [{"id": name, "files_owned": ["a.txt"]} for name in ("x", "y")]
    options = {"require": 1, "on_quorum": "keep", "verify": "'! grep -q bad a.txt'"}

    state = await stage.play(spec(**options), both, tasks, [resolver(lambda _: script)])

    assert state.status == "complete"
    assert words(state) == {"x": "merged", "y": "parked"}
    assert [found.kind for found in rejected(stage)] == [kind]
    now = fan(state).tasks[1]
    assert isinstance(now, Parked)
    assert (now.attempt, now.last) == (1, 2)
    assert stage.scratch.show("HEAD:a.txt") == "x"
    assert stage.scratch.git("rev-parse", f"refs/stratum/conflicts/{state.flow}/build/y") == now.conflict


async def test_a_file_without_markers_stays_only_when_that_was_decided(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return Script(files={"a.txt": b"changed\n" if assignment.task == "x" else None})

    def fix(assignment: Assignment) -> Script:
        if assignment.attempt == 2:
            return Script()
        return Script(then=lambda it: assert_quiet(git(it, "rm" if rm else "add", "a.txt")))

    def assert_quiet(said: str) -> None:
        assert "fatal" not in said, said

    for rm in (False, True):
        stage.notices.clear()
        # Another text each time: the very same conflict would resolve itself.
        stage.scratch.commit("again", {"a.txt": f"removed: {rm}\n"})
        state = await stage.play(spec(task_retries=1), play, BOTH, [resolver(fix)])
        assert state.status == "complete", rejected(stage)
        (found,) = rejected(stage)
        assert found.findings == (
            "a.txt: nothing was decided; `git add` it if it is to stay so, or `git rm` it",
        )
        assert ("a.txt" in stage.scratch.files()) is not rm


async def test_conflicts_in_one_file_are_resolved_one_after_another(stage: Stage) -> None:
    def fix(assignment: Assignment) -> Script:
        landed = git(assignment, "show", ":2:a.txt")
        return writes("a.txt", f"{landed}{assignment.task}\n")

    tasks: list[Json] = [{"id": name} for name in "xyzw"]
    state = await stage.play(spec(max_concurrent=4), both, tasks, [resolver(fix)])

    assert state.status == "complete"
    assert stage.scratch.show("HEAD:a.txt") == "x\ny\nz\nw"
    assert [len(e.entries) for e in landings(stage)] == [4, 1, 1, 1]


def landings(stage: Stage) -> list[Landed]:
    found = [notice.event for notice in stage.notices if isinstance(notice, Recorded)]
    return [event for event in found if isinstance(event, Landed)]


async def test_conflicts_in_several_files_are_resolved_at_once(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return writes("a.txt" if assignment.task in {"x", "y"} else "b.txt", f"{assignment.task}\n")

    def fix(assignment: Assignment) -> Script:
        return writes("a.txt" if assignment.task == "y" else "b.txt", "both\n")

    tasks: list[Json] = [{"id": name} for name in ("x", "y", "v", "w")]
    state = await stage.play(spec(max_concurrent=4), play, tasks, [resolver(fix)])

    assert state.status == "complete"
    assert [len(e.entries) for e in landings(stage)] == [4, 2]


async def test_a_target_that_moved_meanwhile_brings_the_conflict_back(stage: Stage) -> None:
    def fix(assignment: Assignment) -> Script:
        if assignment.attempt == 2:
            stage.scratch.commit("theirs", {"a.txt": "theirs\n"})
        landed = git(assignment, "show", ":2:a.txt")
        return writes("a.txt", f"{landed}y\n")

    state = await stage.play(spec(task_retries=1), both, BOTH, [resolver(fix)])

    assert state.status == "complete"
    assert stage.scratch.show("HEAD:a.txt") == "theirs\ny"
    now = fan(state).tasks[1]
    assert isinstance(now, Merged)
    assert now.attempt == 3


async def test_that_is_not_tried_for_ever(stage: Stage) -> None:
    def fix(assignment: Assignment) -> Script:
        stage.scratch.commit("theirs", {"a.txt": f"theirs {assignment.attempt}\n"})
        return writes("a.txt", "y\n")

    state = await stage.play(spec(task_retries=1, require=1, on_quorum="keep"), both, BOTH, [resolver(fix)])

    assert words(state) == {"x": "merged", "y": "parked"}
    assert len(list(reports(stage))) == 4
    assert stage.scratch.show("HEAD:a.txt") == "theirs 3"


async def test_what_conflicts_no_more_lands_without_an_agent(stage: Stage) -> None:
    def undo(assignment: Assignment) -> Script:
        stage.scratch.commit("back", {"a.txt": "a\n"})
        return Script(fails="leave it")

    state = await stage.play(spec(task_retries=1), both, BOTH, [resolver(undo)])
    assert state.status == "complete"
    assert stage.scratch.show("HEAD:a.txt") == "y"
    assert [type(event.outcome).__name__ for event in reports(stage)][-2:] == ["Rejected", "Completed"]


async def test_without_a_name_the_tasks_own_agent_resolves(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return writes("a.txt", "x and y\n") if assignment.attempt == 2 else both(assignment)

    state = await stage.play(dispatch_spec(on_conflict="agent"), play, BOTH)

    assert state.status == "complete"
    assert stage.scratch.show("HEAD:a.txt") == "x and y"


async def test_a_conflict_fails_the_step_and_nothing_lands(stage: Stage) -> None:
    tasks: list[Json] = [*BOTH, {"id": "z"}]

    def play(assignment: Assignment) -> Script:
        return writes("z.txt") if assignment.task == "z" else both(assignment)

    state = await stage.play(dispatch_spec(on_conflict="fail", require=1, on_quorum="keep"), play, tasks)

    assert state.status == "failed"
    now = state.steps[0]
    assert isinstance(now, Failed)
    assert now.findings == (
        "on_conflict: fail lands nothing where results conflict",
        "y: conflicts in a.txt",
    )
    assert stage.scratch.git("log", "--format=%s").splitlines() == ["first"]
    assert words(state) == {"x": "verified", "y": "parked", "z": "verified"}
    assert "<<<<<<<" in stage.scratch.show(f"refs/stratum/conflicts/{state.flow}/build/y:a.txt")
    assert Path(stage.scratch.path / "a.txt").read_text() == "a\n"


async def test_what_builds_on_a_conflict_lands_with_its_resolution(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if assignment.task != "on":
            return both(assignment)
        assert (assignment.slot / "a.txt").read_text() == "y\n"
        return writes("on.txt")

    tasks: list[Json] = [*BOTH, {"id": "on", "depends_on": ["y"]}]
    state = await stage.play(
        spec(land_order="graph"), play, tasks, [resolver(lambda _: writes("a.txt", "x and y\n"))]
    )

    assert state.status == "complete"
    assert words(state) == {"x": "merged", "y": "merged", "on": "merged"}
    assert [event.attempt for event in reports(stage) if event.task == "on"] == [1]
    log = stage.scratch.git("log", "--format=%s", "-3").splitlines()
    assert log == ["on: do on", "y: do y", "x: do x"]


async def test_who_resolved_it_is_told_and_remembered(stage: Stage) -> None:
    state = await stage.play(spec(), both, BOTH, [resolver(lambda _: writes("a.txt", "x and y\n"))])

    (entry,) = landings(stage)[1].entries
    assert isinstance(entry, LandedResult)
    assert entry.mends == (Mend("a.txt", "agent", "fixer"),)
    body = stage.scratch.git("log", "-1", "--format=%B")
    assert f"Stratum-Flow: {state.flow}\n" in body
    assert "Stratum-Mended: a.txt (agent fixer)" in body
    said = stage.scratch.git("log", "-1", "--format=%B", "refs/stratum/resolutions")
    assert "Stratum-Rung: agent\nStratum-By: agent fixer" in said
