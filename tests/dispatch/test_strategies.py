"""What the history looks like after a landing, by strategy: commits, authors, trailers, messages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.app.running import InvalidSpecError
from stratum_git.dispatch.notices import Recorded
from stratum_git.dispatch.touchdown import approach
from stratum_git.model.ids import Json, StepId
from stratum_git.model.messages import Landed, LandedResult
from stratum_git.model.state import Exhausted, Landing
from tests.support.flows import Stage, dispatch_spec, fan, words, writes
from tests.support.repos import ScratchRepo

ADA, BEN = ("Ada", "ada@x"), ("Ben", "ben@x")


def commit(
    slot: ScratchRepo, message: str, files: Mapping[str, str | None], who: tuple[str, str] = ADA
) -> None:
    """Commits as somebody, on a date of its own."""
    for name, text in files.items():
        if text is None:
            slot.git("rm", "-q", name)
        else:
            slot.write(name, text)
    slot.git("add", "-A")
    author = f"{who[0]} <{who[1]}>"
    slot.git("commit", "-q", "--author", author, "--date", "2001-02-03T04:05:06+0100", "-m", message)


def at_work(assignment: Assignment) -> Script:
    """Commits twice, and leaves something uncommitted."""
    slot, name = ScratchRepo(assignment.slot), assignment.task
    commit(slot, f"begin {name}", {f"{name}.txt": "1\n"})
    trailers = "Signed-off-by: Ada <ada@x>\nStratum-Task: other"
    commit(slot, f"go on with {name}\n\nBecause.\n\n{trailers}", {f"{name}.txt": "2\n"}, BEN)
    return writes(f"{name}-rest.txt")


def tasks(*names: str) -> list[Json]:
    return [{"id": name, "title": f"the {name}"} for name in names]


def landed(stage: Stage) -> Landed:
    events = [n.event for n in stage.notices if isinstance(n, Recorded)]
    return next(e for e in reversed(events) if isinstance(e, Landed))


def history(stage: Stage, form: str) -> list[str]:
    return stage.scratch.git("log", "--reverse", f"--format={form}", "main").split("\n")[1:]


@pytest.mark.parametrize(
    ("merge", "subjects"),
    [
        ("sequential_apply", ["a: do a", "b: do b"]),
        ("squash", ["a: do a", "b: do b"]),
        (
            "rebase",
            ["begin a", "go on with a", "a: do a", "begin b", "go on with b", "b: do b"],
        ),
        ("manual", []),
    ],
)
async def test_each_strategy_has_its_history_and_all_the_same_files(
    stage: Stage, merge: str, subjects: list[str]
) -> None:
    state = await stage.play(dispatch_spec(merge=merge), at_work, tasks("a", "b"))

    assert state.status == "complete"
    assert [line for line in history(stage, "%s") if line] == subjects
    made = ["a-rest.txt", "a.txt", "b-rest.txt", "b.txt"]
    assert [name for name in stage.scratch.files() if name[:2] in {"a-", "b-"} or name in made] == (
        ["a-rest.txt", "a.txt", "b-rest.txt", "b.txt"] if subjects else ["a.txt", "b.txt"]
    )
    assert "b-rest.txt" in stage.scratch.files(f"stratum/{state.flow}/b")
    assert "Stratum-Task: other" not in stage.scratch.git("log", "--format=%B", "main")


async def test_a_rebase_keeps_author_date_message_and_trailers(stage: Stage) -> None:
    await stage.play(dispatch_spec(merge="rebase"), at_work, tasks("one"))

    said = history(stage, "%an %ae %aI|%s")
    assert said[:2] == [
        "Ada ada@x 2001-02-03T04:05:06+01:00|begin one",
        "Ben ben@x 2001-02-03T04:05:06+01:00|go on with one",
    ]
    body = stage.scratch.git("log", "-1", "--format=%B", "main~1")
    assert body.startswith("go on with one\n\nBecause.\n\nSigned-off-by: Ada <ada@x>\nStratum-Flow: ")
    assert (
        stage.scratch.git("log", "-1", "--format=%(trailers:key=Stratum-Task,valueonly)", "main~1") == "one"
    )


async def test_a_squash_names_what_it_folds_and_who_had_a_part_in_it(stage: Stage) -> None:
    await stage.play(dispatch_spec(merge="squash"), at_work, tasks("one"))

    body = stage.scratch.git("log", "-1", "--format=%an|%B")
    head, _, trailers = body.rpartition("\n\n")
    assert head == "Ben|one: do one\n\n* begin one\n* go on with one"
    assert trailers.splitlines()[:2] == ["Signed-off-by: Ada <ada@x>", "Co-authored-by: Ada <ada@x>"]


async def test_a_message_is_made_from_the_template_of_the_step(stage: Stage) -> None:
    template = '"{task.id}: {task.title}\\n\\nOf {step}, attempt {attempt} in {flow}, {{flow}} {not this}"'
    spec = dispatch_spec(commit_message=template.replace(" {not this}", ""))
    state = await stage.play(spec, partial(lambda a: writes(f"{a.task}.txt")), tasks("one"))

    body = stage.scratch.git("log", "-1", "--format=%B")
    assert body.startswith(f"one: the one\n\nOf build, attempt 1 in {state.flow}, {{flow}}\n\nStratum-Flow")


async def test_trailers_of_a_template_and_of_agents_are_one_paragraph_with_ours(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        commit(ScratchRepo(assignment.slot), "x\n\nSigned-off-by: Ada <ada@x>\nSee: 1", {"x.txt": "1\n"})
        return Script()

    template = '"{task.id}\\n\\nWhy.\\n\\nRefs: 12\\nStratum-Task: forged"'
    state = await stage.play(dispatch_spec(commit_message=template), play, tasks("one"))

    assert state.status == "complete"
    rows = stage.scratch.git("log", "-1", "--format=%(trailers:only)").splitlines()
    assert rows[:4] == ["Refs: 12", "Signed-off-by: Ada <ada@x>", "See: 1", f"Stratum-Flow: {state.flow}"]
    assert "forged" not in stage.scratch.git("log", "-1", "--format=%B")


async def test_a_template_that_names_what_no_task_has_is_found_before_anybody_works(stage: Stage) -> None:
    with pytest.raises(InvalidSpecError, match="commit_message names task, which"):
        await stage.play(dispatch_spec(commit_message='"{task}"'), at_work, tasks("one"))
    state = await stage.play(dispatch_spec(commit_message='"{task.name}"'), at_work, tasks("one"))
    now = fan(state).tasks[0]
    assert isinstance(now, Exhausted)
    assert now.findings == (
        "commit_message names task.name, which the task does not have (it has: task.id, task.title)",
    )


async def test_commits_that_do_not_apply_one_by_one_are_folded(stage: Stage) -> None:
    """The first commit of the second task conflicts with the first task, both together do not."""

    def play(assignment: Assignment) -> Script:
        slot = ScratchRepo(assignment.slot)
        if assignment.task == "first":
            return writes("a.txt", "one\nTWO\nthree\n")
        commit(slot, "detour", {"a.txt": "nothing\n"})
        commit(slot, "back again", {"a.txt": slot.git("show", "HEAD~1:a.txt") + "\n", "new.txt": "x\n"})
        return Script()

    stage.scratch.commit("lines", {"a.txt": "one\ntwo\nthree\n"})
    state = await stage.play(dispatch_spec(merge="rebase"), play, tasks("first", "second"))

    assert words(state) == {"first": "merged", "second": "merged"}
    assert history(stage, "%s")[1:] == ["first: do first", "second: do second"]
    entry = landed(stage).entries[1]
    assert isinstance(entry, LandedResult)
    assert entry.note == "its commits were folded: they do not apply one by one"
    assert entry.note in stage.scratch.git("log", "--format=%B", f"refs/stratum/flows/{state.flow}")


async def test_commits_of_a_merge_are_told_as_what_they_changed_here(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        slot = ScratchRepo(assignment.slot)
        commit(slot, "mine", {"mine.txt": "1\n"})
        tree = slot.git("rev-parse", "HEAD^{tree}")
        side = slot.git("commit-tree", tree, "-p", "HEAD~1", "-m", "side")
        slot.git("merge", "-q", "-s", "ours", "-m", "merge the side", side)
        commit(slot, "empty again", {"more.txt": "1\n"})
        return Script()

    await stage.play(dispatch_spec(merge="rebase"), play, tasks("one"))

    assert history(stage, "%s") == ["mine", "empty again"]
    assert stage.scratch.git("log", "--merges", "--format=%s", "main") == ""


async def test_a_conflict_parks_the_task_as_a_whole(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        slot = ScratchRepo(assignment.slot)
        commit(slot, f"good of {assignment.task}", {f"{assignment.task}.txt": "x\n"})
        commit(slot, f"bad of {assignment.task}", {"a.txt": f"{assignment.task}\n"})
        return Script()

    spec = dispatch_spec(merge="rebase", require=1, on_quorum="keep")
    state = await stage.play(spec, play, tasks("x", "y"))

    assert words(state) == {"x": "merged", "y": "parked"}
    assert history(stage, "%s") == ["good of x", "bad of x"]


async def test_what_builds_on_a_result_that_did_not_land_does_not_land(stage: Stage) -> None:
    def play(assignment: Assignment) -> Script:
        return writes(
            "a.txt" if assignment.task in {"x", "y"} else f"{assignment.task}.txt", str(assignment.task)
        )

    graph: list[Json] = [
        {"id": "x"},
        {"id": "y"},
        {"id": "on-y", "depends_on": ["y"]},
        {"id": "deeper", "depends_on": ["on-y"]},
        {"id": "free"},
    ]
    spec = dispatch_spec(require=2, on_quorum="keep", land_order="graph")
    state = await stage.play(spec, play, graph)

    assert words(state) == {
        "x": "merged", "y": "parked", "on-y": "exhausted", "deeper": "exhausted", "free": "merged",
    }  # fmt: skip
    left = fan(state).tasks[2]
    assert isinstance(left, Exhausted)
    assert (left.kind, left.findings) == ("needs", ("it builds on y, which did not land",))
    assert [name for name in stage.scratch.files() if name in {"on-y.txt", "deeper.txt", "free.txt"}] == [
        "free.txt"
    ]


async def test_a_landing_can_be_looked_at_before(stage: Stage) -> None:
    driver, effects = stage.prepare(dispatch_spec(merge="rebase"), at_work, {"tasks": tasks("one")})
    seen = []

    def look(notice: object) -> None:
        if isinstance(notice, Recorded) and isinstance(notice.state.step(StepId("build")), Landing):
            tip = stage.scratch.head()
            plan = approach(driver.context, notice.state, StepId("build")).plan()
            log = stage.scratch.git("log", "--reverse", "--format=%s", f"{plan.old}..{plan.new}").splitlines()
            seen.append((driver.context.merger.trees.root(plan.new), log))
            assert stage.scratch.head() == tip

    driver.watch = look
    with driver.journal.log:
        await driver.drive(effects)  # type: ignore[arg-type]
    driver.context.close()

    ((tree, subjects),) = seen
    assert tree == stage.scratch.git("rev-parse", "main^{tree}")
    assert subjects == ["begin one", "go on with one", "one: do one"] == history(stage, "%s")
