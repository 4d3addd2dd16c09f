"""Attempts that collide are seen while they are at work, and what is seen is recorded."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from stratum_git.agents.base import AgentSpec, Assignment
from stratum_git.agents.command import CommandAgent
from stratum_git.agents.scripted import Script
from stratum_git.app.reading import long_flow
from stratum_git.core.narration import narrate
from stratum_git.dispatch.notices import Notice, Recorded
from stratum_git.dispatch.pace import Pace
from stratum_git.model.ids import Json
from stratum_git.model.messages import TaskReported
from stratum_git.model.sightings import Collision, Sighted
from stratum_git.model.state import FlowState
from tests.support.contracts import conforms
from tests.support.flows import Play, Stage, dispatch_spec, words, writes
from tests.support.repos import ScratchRepo

QUICK = Pace(first=0.05, least=0.05, share=1.0)


class Scene:
    """A run whose notices are looked at as they come."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.on: Callable[[Sighted, FlowState], None] = lambda *_: None

    async def play(self, spec: str, play: Play, tasks: list[Json], **more: object) -> FlowState:
        driver, effects = self.stage.prepare(spec, play, {"tasks": tasks})
        driver.context = dataclasses.replace(driver.context, radar=QUICK, **more)  # type: ignore[arg-type]
        driver.watch = self._take
        with driver.journal.log, closing(driver.context), trio.fail_after(20):
            return await driver.drive(effects)  # type: ignore[arg-type]

    def _take(self, notice: Notice) -> None:
        self.stage.notices.append(notice)
        if isinstance(notice, Recorded) and isinstance(notice.event, Sighted):
            self.on(notice.event, notice.state)

    @property
    def events(self) -> list[object]:
        return [n.event for n in self.stage.notices if isinstance(n, Recorded)]

    @property
    def sighted(self) -> list[tuple[Collision, ...]]:
        return [event.collisions for event in self.events if isinstance(event, Sighted)]


def pairs(collisions: tuple[Collision, ...]) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(c.one, c.other): c.paths for c in collisions}


def ids(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


async def test_a_collision_is_told_while_both_are_at_work(stage: Stage) -> None:
    scene, seen = Scene(stage), trio.Event()
    told: dict[str, Any] = {}

    def look(event: Sighted, state: FlowState) -> None:
        scene.on = lambda *_: None
        seen.set()
        told.update(cast("dict[str, Any]", long_flow(stage.around, state.flow)))
        assert narrate(event, state, ()).subject == "build: 1 pair of tasks collides"
        assert narrate(event, state, ()).details == ("x and y in a.txt",)

    def play(assignment: Assignment) -> Script:
        name = "a.txt" if assignment.task in {"x", "y"} else "z.txt"
        return Script(files={name: f"{assignment.task}\n".encode()}, until=seen)

    scene.on = look
    state = await scene.play(dispatch_spec(require=2, on_quorum="keep"), play, ids("x", "y", "z"))

    first = next(at for at, event in enumerate(scene.events) if isinstance(event, Sighted))
    assert not any(isinstance(event, TaskReported) for event in scene.events[:first])
    (collision,) = scene.sighted[0]
    assert collision == Collision("x", "y", ("a.txt",), collision.since, (1, 1))  # type: ignore[arg-type]
    conforms(told, "query-flow-long.v1")
    step = told["steps"][0]
    assert step["collisions"] == [{"tasks": ["x", "y"], "paths": ["a.txt"], "since": collision.since}]
    assert step["landing_order"] == ["x", "y", "z"]
    assert words(state) == {"x": "merged", "y": "parked", "z": "merged"}
    after = cast("dict[str, Any]", long_flow(stage.around, state.flow))
    assert "collisions" not in after["steps"][0]


HAGGLE = """
wait_for() { until [ -e "$FLAGS/$1" ]; do sleep 0.02; done; }
case $STRATUM_TASK in
x) echo x > a.txt; git commit -qam x; echo x > new.txt; wait_for 4;;
y) echo 'only y' > a.txt; git add a.txt; wait_for 2; git reset -q --hard; echo y > y.txt; wait_for 4;;
z) wait_for 1; echo z > new.txt; wait_for 3; rm new.txt; wait_for 4; echo end > z.txt;;
esac
"""


async def test_it_is_told_since_when_and_when_it_is_over(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(stage)
    monkeypatch.setenv("FLAGS", str(tmp_path))
    scene.on = lambda *_: (tmp_path / f"{len(scene.sighted)}").touch()
    agent = CommandAgent(AgentSpec("default", ("sh", "-c", HAGGLE)), dict(os.environ))
    state = await scene.play(
        dispatch_spec(), lambda _: Script(), ids("x", "y", "z"), agents={"default": agent}
    )

    assert [pairs(collisions) for collisions in scene.sighted] == [
        {("x", "y"): ("a.txt",)},
        {("x", "y"): ("a.txt",), ("x", "z"): ("new.txt",)},
        {("x", "z"): ("new.txt",)},
        {},
    ]
    first, second, third, _ = scene.sighted
    assert first[0].since == second[0].since
    assert first[0].since < second[1].since == third[0].since
    assert words(state) == {"x": "merged", "y": "merged", "z": "merged"}
    # What was only seen is nowhere in the repository, and of the looks nothing is left.
    only = stage.scratch.git("hash-object", str(stage.scratch.write("../only", "z\n")))
    assert stage.scratch.git("cat-file", "-t", only, check=False) == ""
    state_home = stage.around.state_home() / "stratum-git"
    assert not list(state_home.glob("*/radar/*"))


async def test_a_task_that_is_done_again_is_told_whom_it_collided_with(stage: Stage) -> None:
    scene, seen, again = Scene(stage), trio.Event(), trio.Event()
    prompts: list[str] = []
    scene.on = lambda *_: seen.set()

    def play(assignment: Assignment) -> Script:
        if assignment.task == "x":
            return Script(files={"a.txt": b"x\n"}, until=again)
        prompts.append(assignment.intent)
        if assignment.attempt == 1:
            return Script(files={"a.txt": b"y\n"}, until=seen, fails="no")
        again.set()
        return writes("y.txt")

    state = await scene.play(dispatch_spec(task_retries=1), play, ids("x", "y"))

    assert words(state) == {"x": "merged", "y": "merged"}
    assert "Others change" not in prompts[0]
    assert "- x: do x: is at work on it, in a.txt (first seen 0 s before this attempt)" in prompts[1]


async def test_a_result_that_waits_to_land_is_looked_at_too(stage: Stage) -> None:
    scene, seen = Scene(stage), trio.Event()
    scene.on = lambda *_: seen.set()

    def play(assignment: Assignment) -> Script:
        script = writes("a.txt", f"{assignment.task}\n")
        return script if assignment.task == "x" else dataclasses.replace(script, until=seen)

    await scene.play(dispatch_spec(require="any", on_quorum="keep"), play, ids("x", "y"))

    assert pairs(scene.sighted[0]) == {("x", "y"): ("a.txt",)}


@pytest.mark.parametrize("isolation", ["worktree", "branch"])
async def test_who_builds_on_another_does_not_collide_with_it(stage: Stage, isolation: str) -> None:
    scene, seen = Scene(stage), trio.Event()
    scene.on = lambda *_: seen.set()

    def commit(assignment: Assignment) -> None:
        ScratchRepo(assignment.slot).commit(str(assignment.task))

    def play(assignment: Assignment) -> Script:
        script = writes("a.txt" if assignment.task != "new" else "b.txt", f"{assignment.task}\n")
        if assignment.task == "old":
            return script
        more = {**script.files, "b.txt": f"{assignment.task}\n".encode()}
        return dataclasses.replace(script, files=more, until=seen, then=commit)

    tasks: list[Json] = [{"id": "old"}, {"id": "on", "depends_on": ["old"]}, {"id": "new"}]
    spec = dispatch_spec(isolation=isolation, require=2)
    await scene.play(spec, play, tasks)

    assert pairs(scene.sighted[0]) == {("on", "new"): ("b.txt",)}


async def test_nobody_looks_where_it_is_off(stage: Stage) -> None:
    stage.scratch.write(".stratum/config.yaml", "radar: off\n")
    driver, _ = stage.prepare(dispatch_spec(), lambda _: Script(), {"tasks": []})
    with driver.journal.log, closing(driver.context):
        assert driver.context.radar is None


async def test_what_a_killed_run_has_seen_is_thrown_away_by_the_next(stage: Stage) -> None:
    scene = Scene(stage)
    driver, effects = stage.prepare(dispatch_spec(), lambda _: writes("own.txt"), {"tasks": ids("x")})
    left = driver.context.folders.radar(driver.journal.state.flow)
    (left / "seen").write_text("seen")
    driver.context = dataclasses.replace(driver.context, radar=QUICK)
    with driver.journal.log, closing(driver.context):
        await driver.drive(effects)  # type: ignore[arg-type]
    assert not left.parent.exists()
    assert scene.sighted == []
