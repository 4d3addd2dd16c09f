"""What lands was tested, and what was tested lands; the target only ever points at what passed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import trio

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.app import running
from stratum_git.app.running import Handle
from stratum_git.app.workshop import make_context
from stratum_git.dispatch.landing import Item, Lander, Placed, Queue
from stratum_git.dispatch.notices import Recorded, Remark
from stratum_git.dispatch.proving import Passed, Prover
from stratum_git.dispatch.stack import Change
from stratum_git.dispatch.strategies import Prefix
from stratum_git.dispatch.touchdown import Approach
from stratum_git.git.commits import Commit
from stratum_git.git.objects import Signature
from stratum_git.model.ids import Json, Oid, RefName, StepId
from stratum_git.model.messages import DroppedResult, Event, Landed, LandedResult, LandingBlocked, Mend
from stratum_git.model.state import Exhausted, FlowState, Merged
from tests.support.flows import Stage, dispatch_spec, fan, words, writes

GREEN = "! test -e bad.txt"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder in which checks note that they ran."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def ids(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


def own_file(assignment: Assignment) -> Script:
    return writes(f"{assignment.task}.txt", f"{assignment.task}\n")


def events(stage: Stage) -> list[Event]:
    return [n.event for n in stage.notices if isinstance(n, Recorded)]


def landing(stage: Stage) -> Landed:
    return next(e for e in reversed(events(stage)) if isinstance(e, Landed))


def checked(*commands: str, **more: object) -> str:
    """A spec whose prefixes have to pass *commands*, with three slots."""
    quoted = "[" + ", ".join(f"'{command}'" for command in commands) + "]"
    given = {"require": 1, "on_quorum": "keep", "max_concurrent": 3, **more}
    return dispatch_spec(land_verify=quoted, **given)


def noting(notes: Path, then: str = GREEN) -> str:
    """A check that notes the tree that it runs on."""
    return f'git rev-parse "HEAD^{{tree}}" >> {notes}/ran; {then}'


def ran(notes: Path) -> list[str]:
    return (notes / "ran").read_text().split() if (notes / "ran").exists() else []


async def resumed(stage: Stage, state: FlowState) -> FlowState:
    stage.notices.clear()
    return await running.resume(stage.around, state.flow, ("default=true",), stage.notices.append, Handle())


async def when(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.02)


@pytest.mark.parametrize("mode", ["serial", "speculative", "batch"])
async def test_the_culprit_is_left_out_and_the_others_land(stage: Stage, notes: Path, mode: str) -> None:
    spec = checked(noting(notes, f"{GREEN} || {{ echo so it is; exit 3; }}"), land_mode=mode)
    state = await stage.play(spec, own_file, ids("one", "bad", "three", "four"))

    assert words(state) == {"one": "merged", "bad": "exhausted", "three": "merged", "four": "merged"}
    left = fan(state).tasks[1]
    assert isinstance(left, Exhausted)
    assert left.kind == "land_verify"
    assert left.findings[-1] == "so it is"
    assert left.findings[0].endswith("exited with 3")
    event = landing(stage)
    assert event.new == stage.scratch.head() == event.proofs[-1].commit
    assert event.proofs[-1].verdict == "pass"
    remarks = [n.text for n in stage.notices if isinstance(n, Remark)]
    assert remarks[0].startswith("build: testing what is to land, ")
    assert any(", up to four, passes (" in text for text in remarks)
    assert [proof.verdict for proof in event.proofs].count("fail") == 1
    # What is red is tested twice, everything else once; and the commits are those that were tested.
    log = ran(notes)
    red = next(proof for proof in event.proofs if proof.verdict == "fail")
    assert log.count(red.tree) == 2
    tip = stage.scratch.git("rev-parse", "main^{tree}")
    assert log.count(tip) == 1
    if mode != "batch":
        for commit in ("main~1", "main~2"):
            assert log.count(stage.scratch.git("rev-parse", f"{commit}^{{tree}}")) == 1
    assert stage.scratch.git("status", "--porcelain") == ""


async def test_a_verdict_is_known_to_other_flows(stage: Stage, notes: Path) -> None:
    first = stage.scratch.head()
    spec = checked(noting(notes))
    await stage.play(spec, own_file, ids("one", "bad", "three"))
    tested = ran(notes)
    assert len(tested) in {4, 5, 6}, "what lies behind the culprit may have been tested in vain, twice"
    stage.scratch.git("reset", "-q", "--hard", first)

    state = await stage.play(spec, own_file, ids("one", "bad", "three"))

    assert words(state) == {"one": "merged", "bad": "exhausted", "three": "merged"}
    assert ran(notes) == tested
    assert all(proof.cached for proof in landing(stage).proofs)
    body = stage.scratch.git("log", "--format=%B", f"refs/stratum/flows/{state.flow}")
    assert "passes, known from before" in body


async def test_a_verdict_does_not_hold_for_other_commands(stage: Stage, notes: Path) -> None:
    first = stage.scratch.head()
    await stage.play(checked(noting(notes)), own_file, ids("one"))
    stage.scratch.git("reset", "-q", "--hard", first)
    await stage.play(checked(noting(notes), "true"), own_file, ids("one"))
    assert len(ran(notes)) == 2


async def test_tests_behind_one_that_fails_are_ended_at_once(stage: Stage) -> None:
    hang = "if test -e bad.txt; then test -e two.txt && sleep 600; exit 1; fi"
    with trio.fail_after(60):
        state = await stage.play(checked(hang), own_file, ids("bad", "two", "three"))
    assert words(state) == {"bad": "exhausted", "two": "merged", "three": "merged"}
    assert not _busy(stage)


async def test_what_fails_once_is_tested_again_and_marked(stage: Stage, notes: Path) -> None:
    flake = f'd={notes}/$(git rev-parse "HEAD^{{tree}}"); test -d $d || {{ mkdir $d; exit 1; }}'
    state = await stage.play(checked(flake), own_file, ids("one", "two"))

    assert words(state) == {"one": "merged", "two": "merged"}
    proofs = landing(stage).proofs
    assert {proof.verdict for proof in proofs} == {"pass"}
    # A test that was ended because another was wanted first had failed already, which nobody heard.
    assert any(proof.flaky for proof in proofs)
    assert len(proofs) in {2, 3}, "while one is tested again, the other may be tested without it"


async def test_a_target_that_fails_already_blocks_and_blames_nobody(stage: Stage) -> None:
    stage.scratch.commit("broken", {"bad.txt": "x\n"})
    tip = stage.scratch.head()
    state = await stage.play(checked(GREEN), own_file, ids("one", "two"))

    assert (state.status, stage.scratch.head()) == ("blocked", tip)
    assert words(state) == {"one": "verified", "two": "verified"}
    told = events(stage)[-1]
    assert isinstance(told, LandingBlocked)
    assert told.reason == "land_verify fails on main already"

    stage.scratch.git("rm", "-q", "bad.txt")
    stage.scratch.commit("mended")
    after = await resumed(stage, state)
    assert (after.status, words(after)) == ("complete", {"one": "merged", "two": "merged"})


async def test_a_target_that_fails_no_more_is_looked_at_again(stage: Stage, notes: Path) -> None:
    """What blocks is no verdict of before: what mended it may be outside of the repository."""
    state = await stage.play(checked(f"test -e {notes}/tool"), own_file, ids("one"))
    assert state.status == "blocked"
    (notes / "tool").touch()
    assert (await resumed(stage, state)).status == "complete"


async def test_one_who_mends_the_target_lands(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return Script(files={"bad.txt": None}) if assignment.task == "mend" else own_file(assignment)

    stage.scratch.commit("broken", {"bad.txt": "x\n"})
    state = await stage.play(checked(GREEN), play, ids("one", "mend", "two"))
    assert words(state) == {"one": "merged", "mend": "merged", "two": "merged"}


@pytest.mark.parametrize("command", ["exit 125", "kill -9 $$"])
async def test_what_cannot_be_told_blocks_and_drops_nobody(stage: Stage, notes: Path, command: str) -> None:
    tip = stage.scratch.head()
    state = await stage.play(checked(noting(notes, command)), own_file, ids("one"))

    assert (state.status, stage.scratch.head()) == ("blocked", tip)
    told = events(stage)[-1]
    assert isinstance(told, LandingBlocked)
    assert told.reason == "land_verify could not be run"
    assert len(ran(notes)) == 2
    assert stage.scratch.git("for-each-ref", "refs/stratum/verdicts") == ""


async def test_what_a_check_changes_does_not_land(stage: Stage) -> None:
    vandal = "echo spoilt > a.txt; echo more > more.txt; git add -A; git commit -qm spoilt"
    state = await stage.play(checked(vandal), own_file, ids("one"))

    assert state.status == "complete"
    assert "more.txt" not in stage.scratch.files()
    assert stage.scratch.git("log", "--format=%s", "-2").split("\n") == ["one: do one", "first"]


async def test_what_slots_need_is_set_up_first(stage: Stage) -> None:
    spec = checked("test -e made-ready", setup='["touch made-ready"]')
    state = await stage.play(spec, own_file, ids("one"))
    assert words(state) == {"one": "merged"}


async def test_when_the_target_moves_meanwhile_what_lands_was_tested_on_it(stage: Stage, notes: Path) -> None:
    """Somebody commits while the first prefixes are tested; the landing is planned again on top of that."""
    wait = f"touch {notes}/begun; while ! test -e {notes}/go; do sleep 0.05; done"
    states: list[FlowState] = []

    async def play() -> None:
        states.append(await stage.play(checked(noting(notes, wait)), own_file, ids("one", "two")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        await when((notes / "begun").exists)
        stage.scratch.commit("theirs", {"theirs.txt": "x\n"})
        (notes / "go").touch()

    assert states[0].status == "complete"
    log = stage.scratch.git("log", "--format=%s", "-3").splitlines()
    assert log == ["two: do two", "one: do one", "theirs"]
    assert stage.scratch.git("rev-parse", "main^{tree}") in ran(notes)
    assert landing(stage).proofs[-1].commit == stage.scratch.head()


async def test_an_interrupt_moves_nothing_and_the_next_run_knows_what_passed(
    stage: Stage, notes: Path
) -> None:
    """The first prefix passes, the second hangs until somebody comes back."""
    hang = f"if test -e two.txt && ! test -e {notes}/go; then touch {notes}/hangs; sleep 60; fi"
    tip = stage.scratch.head()
    states: list[FlowState] = []

    async def play() -> None:
        states.append(await stage.play(checked(noting(notes, hang)), own_file, ids("one", "two")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        await when(lambda: (notes / "hangs").exists() and bool(_verdicts(stage)))
        stage.handle.interrupt()

    assert stage.scratch.head() == tip
    assert not _busy(stage)
    (notes / "go").touch()
    before = ran(notes)
    after = await resumed(stage, states[0])
    assert (after.status, words(after)) == ("complete", {"one": "merged", "two": "merged"})
    assert len(ran(notes)) == len(before) + 1
    assert [proof.cached for proof in landing(stage).proofs] == [True, False]


async def test_a_cancel_ends_the_tests(stage: Stage, notes: Path) -> None:
    tip = stage.scratch.head()
    states: list[FlowState] = []

    async def play() -> None:
        spec = checked(f"touch {notes}/hangs; sleep 60")
        states.append(await stage.play(spec, own_file, ids("one")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        await when((notes / "hangs").exists)
        flow = next(n.state.flow for n in stage.notices if isinstance(n, Recorded))
        await running.cancel(stage.around, flow, None, "enough", lambda _: None)

    assert (states[0].status, stage.scratch.head()) == ("cancelled", tip)
    assert not _busy(stage)


async def test_steps_without_checks_start_nothing(stage: Stage) -> None:
    state = await stage.play(dispatch_spec(), own_file, ids("one"))
    assert isinstance(fan(state).tasks[0], Merged)
    assert landing(stage).proofs == ()
    assert not _verdicts(stage)


class Mending(Lander):
    """Says of one task that a driver has merged it."""

    def extend(self, on: Prefix, item: Item, commits: Mapping[Oid, Commit]) -> Placed:
        placed = super().extend(on, item, commits)
        if item.change.task != "two" or not isinstance(placed.entry, LandedResult):
            return placed
        mends = (Mend("two.txt", "driver", "mergiraf"),)
        return dataclasses.replace(placed, entry=dataclasses.replace(placed.entry, mends=mends))


async def test_what_more_than_lines_have_merged_has_to_pass_the_verify_of_its_task(stage: Stage) -> None:
    first = stage.scratch.head()
    spec = dispatch_spec(verify='"! test -e one.txt || ! test -e two.txt"', max_concurrent=2)
    state = await stage.play(spec, own_file, ids("one", "two", "three"))
    assert words(state) == {"one": "merged", "two": "merged", "three": "merged"}
    stage.scratch.git("reset", "-q", "--hard", first)

    step, target, at = StepId("build"), RefName("refs/heads/main"), 1.7e9
    with closing(make_context(stage.around, stage.around.repository(), ())) as context:
        lander = Mending(context.repo, context.merger, Signature("Tess", "t@x", at), state.flow, step)
        items = [
            Item(Change(task.id, now.attempt, now.base, now.result), task.id)
            for task, now in zip(fan(state).graph.tasks, fan(state).tasks, strict=True)
            if isinstance(now, Merged)
        ]
        queue = Queue(lander, Oid(first), items)
        prover = Prover(context, state, step, look=lambda *_: Approach(target, Oid(first), at, step, queue))
        await prover.prove()
        done = prover.conclusion()

    assert isinstance(done, Passed)
    one, two, three = done.plan.entries
    assert isinstance(one, LandedResult)
    assert isinstance(two, DroppedResult)
    assert isinstance(three, LandedResult)
    assert two.findings == ("`! test -e one.txt || ! test -e two.txt` exited with 1",)
    assert [proof.verdict for proof in done.proofs] == ["fail"], "what only lines have merged is not tested"


def _verdicts(stage: Stage) -> str:
    return stage.scratch.git("for-each-ref", "refs/stratum/verdicts")


def _busy(stage: Stage) -> list[str]:
    """The records of slots that somebody's work is in, or that are not clean."""
    state = Path(stage.around.environment["XDG_STATE_HOME"])
    records = [path.read_text() for path in state.rglob("slots/*.json")]
    return [text for text in records if '"occupant"' in text or '"ready": false' in text]
