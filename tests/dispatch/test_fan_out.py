"""Task graphs, in parallel worktrees, landed in a real repository."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
import trio

from stratum_git.agents.base import Assignment, Finished
from stratum_git.agents.scripted import Script
from stratum_git.core.questions import in_flight
from stratum_git.dispatch.notices import Recorded
from stratum_git.model.ids import Json
from stratum_git.model.messages import Landed, Rejected, TaskReported
from stratum_git.model.state import Exhausted, Failed, Merged, Parked, Stopped
from tests.support.flows import Stage, dispatch_spec, fan, words, writes
from tests.support.repos import ScratchRepo


def own_file(assignment: Assignment) -> Script:
    return writes(f"{assignment.task}.txt", f"{assignment.task}\n")


def ids(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


async def test_results_land_one_commit_per_task_in_order(stage: Stage) -> None:
    state = await stage.play(dispatch_spec(), own_file, ids("one", "two", "three"))

    assert state.status == "complete"
    log = stage.scratch.git("log", "--format=%s", "-4").splitlines()
    assert log == ["three: do three", "two: do two", "one: do one", "first"]
    assert (stage.scratch.path / "two.txt").read_text() == "two\n"
    assert stage.scratch.git("status", "--porcelain") == ""
    body = stage.scratch.git("log", "-1", "--format=%B")
    now = fan(state).tasks[2]
    assert isinstance(now, Merged)
    assert f"Stratum-Task: three\nStratum-Attempt: 1\nStratum-Result: {now.result}" in body


async def test_a_dependent_task_sees_the_work_of_what_it_needs(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if assignment.task != "sum":
            return own_file(assignment)
        text = "".join((assignment.slot / f"{n}.txt").read_text() for n in ("one", "two", "deep"))
        return writes("sum.txt", text)

    tasks: list[Json] = [
        {"id": "sum", "depends_on": ["two", "deep"]},
        {"id": "one"},
        {"id": "two"},
        {"id": "deep", "depends_on": ["one"]},
    ]
    state = await stage.play(dispatch_spec(), play, tasks)

    assert state.status == "complete"
    assert (stage.scratch.path / "sum.txt").read_text() == "one\ntwo\ndeep\n"
    assert stage.scratch.git("log", "--format=%s", "-4").splitlines()[0] == "sum: do sum"


async def test_a_dependent_may_undo_what_it_was_built_on(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if assignment.task == "make":
            return Script(files={"made.txt": b"made\n", "kept.txt": b"1\n"})
        return Script(files={"made.txt": None, "kept.txt": b"2\n"})

    tasks: list[Json] = [{"id": "make"}, {"id": "undo", "depends_on": ["make"]}]
    state = await stage.play(dispatch_spec(), play, tasks)

    assert state.status == "complete"
    assert "made.txt" not in stage.scratch.files()
    assert stage.scratch.show("HEAD:kept.txt") == "2"


async def test_results_that_a_task_needs_must_go_together(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return writes("a.txt", f"{assignment.task}\n")

    tasks: list[Json] = [{"id": "x"}, {"id": "y"}, {"id": "both", "depends_on": ["x", "y"]}]
    state = await stage.play(dispatch_spec(require="any", on_quorum="keep"), play, tasks)

    now = fan(state).tasks[2]
    assert isinstance(now, Exhausted)
    assert now.kind == "base"
    assert now.findings == ("the results it depends on conflict: y in a.txt",)


async def test_conflicts_are_parked_while_the_others_land(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return writes("a.txt" if assignment.task in {"x", "y"} else "z.txt", f"{assignment.task}\n")

    state = await stage.play(dispatch_spec(require=2, on_quorum="keep"), play, ids("x", "y", "z"))

    assert state.status == "complete"
    assert words(state) == {"x": "merged", "y": "parked", "z": "merged"}
    parked = fan(state).tasks[1]
    assert isinstance(parked, Parked)
    assert parked.paths == ("a.txt",)
    ref = f"refs/stratum/conflicts/{state.flow}/build/y"
    assert stage.scratch.git("rev-parse", ref) == parked.conflict
    assert "<<<<<<<" in stage.scratch.show(f"{ref}:a.txt")
    assert "1\ta.txt" in stage.scratch.git("log", "-1", "--format=%B", ref)
    assert stage.scratch.show("HEAD:a.txt") == "x"


async def test_a_rejected_attempt_is_made_again_in_a_fresh_slot_and_told_why(stage: Stage) -> None:
    prompts: list[str] = []

    def play(assignment: Assignment) -> Script:
        prompts.append(assignment.intent)
        if assignment.attempt == 1:
            return writes("wrong.txt")
        assert not (assignment.slot / "wrong.txt").exists()
        return writes("right.txt")

    spec = dispatch_spec(task_retries=1, verify="test -f right.txt")
    state = await stage.play(spec, play, ids("only"))

    assert state.status == "complete"
    assert "`test -f right.txt` exited with 1" in prompts[1]
    left = f"refs/stratum/attempts/{state.flow}/build/only/1"
    assert stage.scratch.files(left) == ["a.txt", "b.txt", "dir/c.txt", "wrong.txt"]


@pytest.mark.parametrize(
    ("task", "script", "options", "kind", "words_said"),
    [
        (
            {"files_owned": ["src/"]},
            writes("a.txt"),
            {},
            "scope",
            "changed outside of files_owned (src/): a.txt",
        ),
        ({"files_owned": ["src/"]}, Script(), {}, "no_change", "no file was changed"),
        ({"changes": "none"}, writes("a.txt", "n\n"), {}, "scope", "nothing was to be changed: a.txt"),
        (
            {},
            Script(output={"ok": 1}),
            {"task_contract": "R"},
            "contract",
            "ok is 1, not of the type boolean",
        ),
        ({}, Script(), {"task_contract": "R"}, "contract", "the result is null, not an object with ok"),
        (
            {},
            Script(output={"n": 1}),
            {"task_ensure": '["result.n > 1"]'},
            "ensure",
            "ensure 'result.n > 1' failed",
        ),
        (
            {},
            writes("x"),
            {"task_ensure": "[\"file_exists('y')\"]"},
            "ensure",
            "ensure 'file_exists('y')' failed",
        ),
        ({}, writes("x"), {"verify": "echo bad; false"}, "verify", "`echo bad; false` exited with 1: bad"),
        ({}, Script(fails="no idea"), {}, "agent", "no idea"),
        ({}, Script(seconds=9), {"timeout": 0.2}, "timeout", "still at work after 0.2 s"),
        ({}, Script(), {"setup": "exit 3"}, "setup", "`exit 3` exited with 3"),
        ({"agent": "ghost"}, Script(), {}, "start", "wants the agent ghost, which is not configured"),
        ({"intent": "see {task.nothing}"}, Script(), {}, "base", "intent_template names task.nothing"),
    ],
)
async def test_what_is_not_complete_is_rejected_with_its_reason(
    stage: Stage,
    task: dict[str, Json],
    script: Script,
    options: dict[str, object],
    kind: str,
    words_said: str,
) -> None:
    state = await stage.play(dispatch_spec(**options), lambda _: script, [{"id": "t", **task}])

    now = fan(state).tasks[0]
    assert isinstance(now, Exhausted)
    assert now.kind == kind
    assert words_said in now.findings[0]
    assert state.status == "failed"
    assert stage.scratch.git("log", "--format=%s", "-1") == "first"


async def test_ensures_are_asked_of_the_result(stage: Stage) -> None:
    spec = dispatch_spec(task_ensure="[\"file_contains('t.txt', 't')\", \"task.id == 't'\"]")

    assert (await stage.play(spec, own_file, ids("t"))).status == "complete"


async def test_no_more_agents_work_at_once_than_allowed(stage: Stage) -> None:
    now, most = 0, 0

    class Counting:
        name = "counting"

        async def run(self, assignment: Assignment, on_line: object) -> object:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await trio.sleep(0.4)
            now -= 1
            return Finished()

    tasks: list[Json] = [{"id": f"t{n}", "agent": "counting"} for n in range(6)]
    spec = dispatch_spec(max_concurrent=3)
    state = await stage.play(spec, own_file, tasks, [Counting()])  # type: ignore[list-item]

    assert state.status == "complete"
    assert most == 3


async def test_the_rest_is_stopped_when_one_is_enough(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        seconds = 0.0 if assignment.task == "fast" else 60.0
        return Script(seconds=seconds, files={f"{assignment.task}.txt": b"x"})

    with trio.fail_after(20):
        state = await stage.play(dispatch_spec(require="any"), play, ids("slow", "fast", "late", "never"))

    assert state.status == "complete"
    assert words(state) == {"slow": "stopped", "fast": "merged", "late": "stopped", "never": "stopped"}
    assert stage.scratch.files() == ["a.txt", "b.txt", "dir/c.txt", "fast.txt"]


async def test_an_interrupted_run_leaves_its_work_on_a_ref(stage: Stage) -> None:
    up = trio.Event()

    def half(assignment: Assignment) -> Script:
        (assignment.slot / "half.txt").write_text("half\n")
        up.set()
        return Script(seconds=60)

    async def interrupt() -> None:
        await up.wait()
        stage.handle.interrupt()

    driver, effects = stage.prepare(dispatch_spec(), half, {"tasks": ids("t")})
    with trio.fail_after(20), driver.journal.log, closing(driver.context):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            state = await driver.drive(effects)  # type: ignore[arg-type]

    assert state.status == "running"
    assert in_flight(state) == ()
    ref = f"refs/stratum/attempts/{state.flow}/build/t/1"
    assert stage.scratch.show(f"{ref}:half.txt") == "half"
    assert stage.scratch.git("for-each-ref", "refs/stratum/leases") == ""


async def test_work_that_others_landed_meanwhile_is_kept(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if not (stage.scratch.path / "theirs.txt").exists():
            stage.scratch.commit("theirs", {"theirs.txt": "theirs\n"})
        return own_file(assignment)

    state = await stage.play(dispatch_spec(), play, ids("mine"))

    assert state.status == "complete"
    assert stage.scratch.git("log", "--format=%s", "-3").splitlines() == ["mine: do mine", "theirs", "first"]


async def test_dirt_in_the_way_blocks_the_landing_and_changes_nothing(stage: Stage) -> None:
    stage.scratch.write("a.txt", "uncommitted\n")

    state = await stage.play(dispatch_spec(), lambda _: writes("a.txt", "result\n"), ids("t"))

    assert state.status == "blocked"
    assert stage.scratch.git("log", "--format=%s", "-1") == "first"
    assert (stage.scratch.path / "a.txt").read_text() == "uncommitted\n"


async def test_unrelated_dirt_is_carried(stage: Stage) -> None:
    stage.scratch.write("b.txt", "uncommitted\n")
    stage.scratch.write("loose.txt", "untracked\n")

    state = await stage.play(dispatch_spec(), own_file, ids("t"))

    assert state.status == "complete"
    assert stage.scratch.git("status", "--porcelain") == "M b.txt\n?? loose.txt"
    assert (stage.scratch.path / "t.txt").exists()


async def test_another_branch_may_be_the_target(stage: Stage) -> None:
    stage.scratch.git("branch", "release")

    state = await stage.play(dispatch_spec(target="release"), own_file, ids("t"))

    assert state.status == "complete"
    assert stage.scratch.files("release")[-1] == "t.txt"
    assert "t.txt" not in stage.scratch.files("main")
    fresh = await stage.play(dispatch_spec(target="fresh"), own_file, ids("u"))
    assert fresh.status == "complete"
    assert stage.scratch.files("fresh")[-1] == "u.txt"


async def test_a_private_clone_leaves_no_ref_behind(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        clone = ScratchRepo(assignment.slot)
        clone.git("config", "user.name", "Evil")
        clone.git("tag", "leak")
        clone.commit("own commit", {"own.txt": "own\n"})
        clone.git("branch", "another")
        return writes("left.txt")

    state = await stage.play(dispatch_spec(isolation="branch"), play, ids("t"))

    assert state.status == "complete"
    assert stage.scratch.files()[-2:] == ["left.txt", "own.txt"]
    assert stage.scratch.git("tag") == ""
    assert stage.scratch.git("branch", "--format=%(refname:short)").splitlines() == [
        "main",
        f"stratum/{state.flow}/t",
    ]
    assert stage.scratch.git("config", "--local", "--get", "user.name", check=False) == ""
    assert stage.scratch.git("fsck", "--no-dangling") == ""


async def test_the_shared_checkout_is_read_only(stage: Stage) -> None:
    spec = dispatch_spec(isolation="none")
    good = await stage.play(spec, lambda _: Script(output={"seen": True}), ids("look"))
    bad = await stage.play(spec, lambda _: writes("a.txt", "edited\n"), ids("edit"))

    assert good.status == "complete"
    now = fan(bad).tasks[0]
    assert isinstance(now, Exhausted)
    assert now.kind == "shared"
    assert "a.txt" in now.findings[0]


async def test_the_agents_own_commits_and_its_leftovers_are_one_result(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        ScratchRepo(assignment.slot).commit("own", {"own.txt": "own\n"})
        return writes("left.txt")

    state = await stage.play(dispatch_spec(), play, ids("t"))

    now = fan(state).tasks[0]
    assert isinstance(now, Merged)
    subjects = stage.scratch.git("log", "--format=%s", now.result).splitlines()
    assert subjects == ["t: attempt 1", "own", "first"]
    assert stage.scratch.git("rev-parse", f"refs/heads/stratum/{state.flow}/t") == now.result


async def test_a_result_that_drops_its_base_is_rejected(stage: Stage) -> None:
    stage.scratch.commit("second", {"s.txt": "s\n"})

    def play(assignment: Assignment) -> Script:
        ScratchRepo(assignment.slot).git("reset", "-q", "--hard", "HEAD~")
        return writes("x.txt")

    now = fan(await stage.play(dispatch_spec(), play, ids("t"))).tasks[0]

    assert isinstance(now, Exhausted)
    assert now.kind == "history"


async def test_git_log_of_the_flow_tells_its_story(stage: Stage) -> None:
    state = await stage.play(dispatch_spec(), own_file, ids("t"))

    log = stage.scratch.git(
        "log", "--first-parent", "--reverse", "--format=%an: %s", f"refs/stratum/flows/{state.flow}"
    )
    now = fan(state).tasks[0]
    assert isinstance(now, Merged)
    assert now.commit is not None
    assert log.splitlines() == [
        f"Tess Ter: Flow {state.flow}",
        f"Tess Ter: Start flow main on main at {state.base[:10]}",
        f"stratum-git: build: open on main at {state.base[:10]}",
        f"agent default: build/t#1: complete, result {now.result[:10]}",
        f"stratum-git: build: land 1 on main at {now.commit[:10]}",
        "stratum-git: The checkouts follow main",
    ]
    reported = stage.scratch.git("log", "-1", "--format=%P", f"refs/stratum/flows/{state.flow}~2")
    assert now.result in reported.split()


async def test_events_are_told_in_the_order_in_which_they_were_recorded(stage: Stage) -> None:
    await stage.play(dispatch_spec(), own_file, ids("x", "y"))

    events = [n.event for n in stage.notices if isinstance(n, Recorded)]
    assert [type(e).__name__ for e in events] == [
        "Opened",
        "TaskReported",
        "TaskReported",
        "Landed",
        "Synced",
    ]
    assert isinstance(events[1], TaskReported)
    assert isinstance(events[3], Landed)


async def test_an_agent_that_goes_wrong_in_our_own_code_is_no_success(stage: Stage) -> None:
    def play(_: Assignment) -> Script:
        raise RuntimeError("a bug in the agent")

    with pytest.raises(BaseExceptionGroup):
        await stage.play(dispatch_spec(), play, ids("t"))

    assert stage.scratch.git("log", "--format=%s", "-1") == "first"


async def test_a_conflict_among_enough_results_brings_the_rest_back(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        if assignment.task in {"one", "two"}:
            return writes("same.txt", f"{assignment.task}\n")
        # At work still when the other two are enough.
        return Script(
            files={f"{assignment.task}.txt": b"x\n"}, seconds=60.0 if assignment.attempt == 1 else 0
        )

    tasks: list[Json] = [{"id": "one"}, {"id": "two"}, {"id": "late"}, {"id": "last", "depends_on": ["late"]}]
    with trio.fail_after(30):
        state = await stage.play(dispatch_spec(require=2, max_concurrent=3), play, tasks)

    assert state.status == "complete"
    assert words(state) == {"one": "merged", "two": "parked", "late": "merged", "last": "stopped"}
    assert stage.scratch.git("log", "--format=%s", "-3").splitlines()[0].startswith("late")
    assert (stage.scratch.path / "late.txt").exists()
    assert stage.scratch.git("status", "--porcelain") == ""


@pytest.mark.parametrize("isolation", ["worktree", "branch"])
async def test_work_that_is_put_into_the_stash_is_no_result(stage: Stage, isolation: str) -> None:
    def play(assignment: Assignment) -> Script:
        if assignment.attempt == 2:
            return own_file(assignment)

        def stash(at: Assignment) -> None:
            ScratchRepo(at.slot).git("add", "-A")
            ScratchRepo(at.slot).git("-c", "user.name=a", "-c", "user.email=a@b", "stash")

        return Script(files={"hidden.txt": b"hidden\n"}, then=stash)

    stage.scratch.write("mine.txt", "mine\n")
    stage.scratch.git("add", "mine.txt")
    stage.scratch.git("stash")
    state = await stage.play(dispatch_spec(isolation=isolation, task_retries=1), play, ids("t"))

    assert state.status == "complete"
    told = [n.event for n in stage.notices if isinstance(n, Recorded)]
    first = next(event for event in told if isinstance(event, TaskReported))
    assert isinstance(first.outcome, Rejected)
    assert first.outcome.kind == "stash"
    kept = (
        "stash@{0}"
        if isolation == "worktree"
        else stage.scratch.git("for-each-ref", "--format=%(refname)", "refs/stratum/stashes")
    )
    assert stage.scratch.show(f"{kept}:hidden.txt") == "hidden"
    mine = "stash@{1}" if isolation == "worktree" else "stash@{0}"
    assert stage.scratch.show(f"{mine}:mine.txt") == "mine"


async def test_a_merge_that_is_not_finished_is_no_result(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        def merge(at: Assignment) -> None:
            slot = ScratchRepo(at.slot)
            slot.commit("ours", {"a.txt": "ours\n"})
            slot.git("checkout", "-q", "--detach", "HEAD~1")
            theirs = slot.commit("theirs", {"a.txt": "theirs\n"})
            slot.git("checkout", "-q", str(at.branch).removeprefix("refs/heads/"))
            slot.git("merge", theirs, check=False)

        return Script(then=merge)

    state = await stage.play(dispatch_spec(), play, ids("t"))

    now = fan(state).tasks[0]
    assert isinstance(now, Exhausted)
    assert (now.kind, now.findings) == ("history", ("a merge is not finished",))
    assert "<<<<<<<" in stage.scratch.show(f"refs/stratum/attempts/{state.flow}/build/t/1:a.txt")


@pytest.mark.parametrize("isolation", ["worktree", "branch"])
async def test_what_no_commit_can_hold_is_kept_beside_the_log(stage: Stage, isolation: str) -> None:
    def play(assignment: Assignment) -> Script:
        def nest(at: Assignment) -> None:
            ScratchRepo.make(at.slot / "inner" / "repo").commit("inner", {"work.txt": "hours of it\n"})

        return Script(then=nest)

    state = await stage.play(dispatch_spec(isolation=isolation), play, ids("t"))

    now = fan(state).tasks[0]
    assert isinstance(now, Exhausted)
    assert now.kind == "scope"
    (kept,) = Path(os.environ["XDG_STATE_HOME"]).glob("**/left/**/work.txt")
    assert kept.read_text() == "hours of it\n"
    assert ScratchRepo(kept.parent).git("log", "--format=%s") == "inner"


async def test_the_stash_of_a_clone_outlives_an_attempt_that_failed(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        def stash(at: Assignment) -> None:
            ScratchRepo(at.slot).git("add", "-A")
            ScratchRepo(at.slot).git("stash")

        return Script(files={"hidden.txt": b"hidden\n"}, then=stash, fails="gave up")

    state = await stage.play(dispatch_spec(isolation="branch"), play, ids("t"))

    assert state.status == "failed"
    kept = stage.scratch.git("for-each-ref", "--format=%(refname)", "refs/stratum/stashes")
    assert stage.scratch.show(f"{kept}:hidden.txt") == "hidden"


async def test_a_failed_step_lands_nothing(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return Script(fails="no") if assignment.task == "bad" else own_file(assignment)

    state = await stage.play(dispatch_spec(max_concurrent=1), play, ids("good", "bad", "later"))

    assert state.status == "failed"
    now = state.step(state.program.order[0])
    assert isinstance(now, Failed)
    assert now.findings[0] == "require: all needs 3 of 3 tasks; 0 landed"
    assert isinstance(fan(state).tasks[2], Stopped)
    assert stage.scratch.git("log", "--format=%s", "-1") == "first"
    assert stage.scratch.files(f"stratum/{state.flow}/good")[-1] == "good.txt"


async def test_who_collides_with_many_lands_last(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        own = {f"{assignment.task}.txt": f"{assignment.task}\n".encode()}
        hub = {f"{name}.txt": b"hub\n" for name in "xyz"}
        return Script(files=hub if assignment.task == "hub" else own)

    spec = dispatch_spec(require="any", on_quorum="keep")
    state = await stage.play(spec, play, ids("hub", "x", "y", "z"))
    assert words(state) == {"hub": "parked", "x": "merged", "y": "merged", "z": "merged"}


async def test_the_order_of_the_graph_is_kept_where_the_step_says_so(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        names = ("x", "y", "z") if assignment.task == "hub" else (str(assignment.task),)
        return Script(files={f"{name}.txt": f"{assignment.task}\n".encode() for name in names})

    spec = dispatch_spec(require="any", on_quorum="keep", land_order="graph")
    state = await stage.play(spec, play, ids("hub", "x", "y", "z"))
    assert words(state) == {"hub": "merged", "x": "parked", "y": "parked", "z": "parked"}
