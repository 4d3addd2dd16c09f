"""One task, done several times: which result is taken, and what becomes of the others."""

from __future__ import annotations

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.dispatch.notices import Recorded
from stratum_git.model.choosing import Chosen
from stratum_git.model.ids import Json
from stratum_git.model.state import Elected, Exhausted, FlowState, Merged, Stopped
from tests.support.flows import Stage, dispatch_spec, fan, words, writes


def number(assignment: Assignment) -> int:
    return int(assignment.env.get("STRATUM_CANDIDATE", "0"))


def ids(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


def choices(stage: Stage) -> list[Chosen]:
    events = [notice.event for notice in stage.notices if isinstance(notice, Recorded)]
    return [event for event in events if isinstance(event, Chosen)]


def landed(stage: Stage, state: FlowState) -> list[str]:
    """Returns the files that came with the flow."""
    assert stage.scratch.git("status", "--porcelain") == ""
    return sorted(set(stage.scratch.files()) - {"a.txt", "b.txt", "dir/c.txt"})


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
