"""What was left lands later, what landed is undone: as the user meets it, and nothing of his is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import pytest

from stratum_git.core.questions import fan_of
from stratum_git.git.repository import open_repository
from stratum_git.model.ids import FlowId, Json, StepId
from stratum_git.model.state import Merged
from stratum_git.store.flows import load
from tests.support.contracts import conforms
from tests.support.repos import ScratchRepo
from tests.support.shell import SPEC as DISPATCH
from tests.support.shell import Said, Shell

SPEC = """\
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: first, agent: default, intent: Begin}
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
        depends_on: [first]
      - {id: last, agent: default, intent: End it, depends_on: [build]}
"""
AGENT = """\
name=${STRATUM_TASK:-$STRATUM_STEP}
echo "$name" > "$name.txt"
case $name in clash*) echo "$name" > same.txt;; esac
"""
Row = dict[str, Json]


def run(shell: Shell, *tasks: Json, spec: str = SPEC) -> str:
    """Runs a flow with these tasks, and returns its id."""
    graph: list[Json] = [task if isinstance(task, dict) else {"id": task} for task in tasks]
    shell.run("run", shell.spec(spec), shell.tasks(*graph), shell.agent(AGENT), "--quiet")
    return shell.flow()


def states(shell: Shell, flow: str) -> dict[str, str]:
    fan = fan_of(load(open_repository(shell.repo.path), FlowId(flow))[0].state.step(StepId("build")))
    assert fan is not None
    return {
        task.id: "undone" if isinstance(now, Merged) and now.undone else type(now).__name__.lower()
        for task, now in zip(fan.graph.tasks, fan.tasks, strict=True)
    }


def story(shell: Shell, flow: str) -> str:
    return shell.repo.git("log", "--first-parent", "--reverse", f"refs/stratum/flows/{flow}")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which a flow has landed, and one in which that is undone."""
    place = tmp_path_factory.mktemp("afterwards")
    scratch = ScratchRepo.make(place / "landed/repo")
    scratch.git("config", "user.name", "Tess")
    scratch.git("config", "user.email", "tess@example.invalid")
    scratch.commit("base", {"a.txt": "a\n"})
    (place / "landed/user").mkdir()
    run(Shell(place / "landed/user", scratch), "one", {"id": "two", "depends_on": ["one"]})
    shutil.copytree(place / "landed", place / "undone", symlinks=True)
    shell = Shell(place / "undone/user", ScratchRepo(place / "undone/repo"))
    assert shell.run("undo", shell.flow()).code == 0
    return place


def copy(source: Path, target: Path) -> Shell:
    shutil.copytree(source, target, symlinks=True)
    shell = Shell(target / "user", ScratchRepo(target / "repo"))
    shell.repo.git("update-index", "-q", "--refresh")
    return shell


@pytest.fixture
def landed(templates: Path, tmp_path: Path) -> Shell:
    """A repository in which a flow has landed."""
    return copy(templates / "landed", tmp_path / "landed")


@pytest.fixture
def undone(templates: Path, tmp_path: Path) -> Shell:
    """A repository in which a flow has landed, and was undone."""
    return copy(templates / "undone", tmp_path / "undone")


def everything(shell: Shell) -> tuple[str, str, dict[str, bytes], bytes]:
    """Returns all that a user could miss: refs, what git says, files, the index."""
    git, path = shell.repo.git, shell.repo.path
    files = {str(p): p.read_bytes() for p in path.rglob("*") if p.is_file() and ".git" not in p.parts}
    refs = git("for-each-ref"), git("reflog", "--all")
    return "\n".join(refs), git("status", "--porcelain"), files, (path / ".git/index").read_bytes()


def steps(said: Said) -> list[Row]:
    return cast("list[Row]", cast("Row", said.json())["steps"])


def test_an_undo_leaves_the_repository_as_the_flow_found_it_and_land_lands_it_again(landed: Shell) -> None:
    flow, git = landed.flow(), landed.repo.git
    base, tree = git("rev-list", "--max-parents=0", "HEAD"), git("rev-parse", "HEAD^{tree}")
    before = everything(landed)
    looked = landed.run("undo", flow, "--dry-run", "--json")
    conforms(looked.json(), "undo-result.v1")
    assert everything(landed) == before

    said = landed.run("undo", flow, "--json")

    assert said.json() == cast("Row", looked.json()) | {"dry_run": False}
    assert (landed.repo.head(), git("status", "--porcelain")) == (base, "")
    assert [path.name for path in landed.repo.path.glob("*.txt")] == ["a.txt"]
    assert states(landed, flow) == {"one": "undone", "two": "undone"}
    conforms(landed.run("query", "flow", flow, "--long").json(), "query-flow-long.v1")
    after = everything(landed)
    twice = landed.run("undo", flow)
    assert (twice.code, "was put back already" in twice.out) == (0, True)
    assert everything(landed) == after
    assert landed.run("land", flow).code == 0
    assert (git("rev-parse", "HEAD^{tree}"), git("status", "--porcelain")) == (tree, "")
    assert states(landed, flow) == {"one": "merged", "two": "merged"}
    assert "nothing of the flow" in landed.run("land", flow).out


def test_nothing_is_undone_where_others_built_on_it_or_have_something_in_the_way(landed: Shell) -> None:
    flow = landed.flow()
    landed.repo.write("one.txt", "mine\n")
    before = everything(landed)
    dirty = landed.run("undo", flow)
    assert (dirty.code, "one.txt" in dirty.err) == (2, True)
    assert everything(landed) == before
    landed.repo.git("config", "user.name", "Berta")
    landed.repo.commit("on top of it", {"b.txt": "hers\n"})
    before = everything(landed)

    said = landed.run("undo", flow, "--json")

    assert said.code == 2
    assert said.error()["code"] == "BUILT_ON"
    assert "on top of it (Berta)" in str(said.error()["message"])
    assert everything(landed) == before


def test_nothing_is_undone_where_another_flow_landed_in_between(undone: Shell) -> None:
    flow = undone.flow()
    assert undone.run("land", flow, "one").code == 0
    undone.repo.commit("in between\n\nStratum-Flow: other-1", {"b.txt": "b\n"})
    assert undone.run("land", flow, "two").code == 0
    before = everything(undone)

    said = undone.run("undo", flow)

    assert said.code == 2, said
    assert "by flow other-1" in said.err
    assert everything(undone) == before


def test_what_is_parked_lands_when_it_does_not_conflict_any_more_and_the_flow_goes_on(shell: Shell) -> None:
    flow = run(shell, "clash1", "clash2", "one")
    assert states(shell, flow) == {"clash1": "merged", "clash2": "parked", "one": "merged"}
    before = everything(shell)
    still = shell.run("land", flow, "--json")
    assert still.code == 1
    conforms(still.json(), "land-result.v1")
    assert cast("list[Row]", steps(still)[0]["tasks"])[0]["outcome"] == "parked"
    assert everything(shell) == before
    shell.repo.git("rm", "-q", "same.txt")
    shell.repo.commit("without it")

    said = shell.run("land", flow)

    assert said.code == 0, said
    assert f"`stratum-git resume {flow}`" in said.out
    assert states(shell, flow)["clash2"] == "merged"
    assert (shell.repo.path / "same.txt").read_text() == "clash2\n"
    assert shell.run("resume", flow, shell.agent(AGENT), "--quiet").code == 0
    assert (shell.repo.path / "last.txt").exists()


def test_what_lands_later_has_passed_what_every_landing_has_to_pass(shell: Shell) -> None:
    shell.repo.commit("check", {"check.sh": "test ! -e clash.txt\n"})
    flow = run(shell, "one", "clash", spec=SPEC.replace("depends_on: [first]", "land_verify: sh check.sh"))
    assert states(shell, flow) == {"one": "merged", "clash": "exhausted"}
    before = everything(shell)
    red = shell.run("land", flow)
    assert red.code == 1
    assert "clash: left out: `sh check.sh` exited with 1" in red.out
    assert everything(shell) == before
    shell.repo.commit("let it in", {"check.sh": "true\n"})

    green = shell.run("land", flow)

    assert green.code == 0, green
    assert states(shell, flow)["clash"] == "merged"
    assert "passes, in" in story(shell, flow).partition("land later")[2]


def test_results_that_are_to_be_merged_by_hand_land_when_somebody_says_so(shell: Shell) -> None:
    flow = run(shell, "one", "two", spec=SPEC.replace("depends_on: [first]", "merge: manual"))
    assert not (shell.repo.path / "one.txt").exists()
    shell.repo.git("merge", "-q", "-m", "by hand", f"stratum/{flow}/one")

    said = shell.run("land", flow, "--strategy", "rebase", "--json")

    assert said.code == 0, said
    conforms(said.json(), "land-result.v1")
    assert [row["outcome"] for row in cast("list[Row]", steps(said)[0]["tasks"])] == [
        "nothing_to_land",
        "landed",
    ]
    assert (shell.repo.path / "two.txt").exists()
    assert shell.repo.git("status", "--porcelain") == ""


def test_a_look_at_a_landing_shows_what_would_be_and_moves_nothing(undone: Shell) -> None:
    flow, before = undone.flow(), everything(undone)

    looked = undone.run("land", flow, "--dry-run", "--json")

    assert looked.code == 0
    assert everything(undone) == before
    conforms(looked.json(), "land-result.v1")
    rows = steps(looked)
    assert [row["step_id"] for row in rows] == ["first", "build", "last"]
    commits = [commit for row in rows for commit in cast("list[Row]", row["commits"])]
    assert [(c["subject"], c["files"], c["insertions"]) for c in commits] == [
        ("first: Begin", 1, 1), ("one: do one", 1, 1), ("two: do two", 1, 1), ("last: End it", 1, 1),
    ]  # fmt: skip
    assert "two.txt  +1 -0" in undone.run("land", flow, "--dry-run").out
    landed = undone.run("land", flow, "--json")
    assert [row["tree"] for row in steps(landed)] == [row["tree"] for row in rows]
    assert undone.repo.git("rev-parse", "HEAD^{tree}") == rows[-1]["tree"]


def test_only_named_tasks_land_and_not_before_what_they_build_on(undone: Shell) -> None:
    flow, before = undone.flow(), everything(undone)
    early = undone.run("land", flow, "two")
    assert (early.code, "it builds on one" in early.out) == (1, True)
    assert undone.run("land", flow, "three").code == 2
    assert everything(undone) == before

    said = undone.run("land", flow, "one", "--strategy", "squash", "--json")

    assert said.code == 0
    assert steps(said)[0]["strategy"] == "squash"
    assert states(undone, flow) == {"one": "merged", "two": "undone"}
    assert undone.repo.git("log", "-1", "--format=%s") == "one: do one"
    again = undone.run("land", flow, "one", "--json")
    assert cast("Row", again.json())["others"] == [{"task_id": "one", "why": "has landed"}]


def test_a_flow_that_somebody_runs_is_left_to_him(shell: Shell) -> None:
    process = shell.start(
        "run", shell.spec(SPEC), shell.tasks({"id": "one"}), shell.agent("sleep 60"), "--quiet"
    )
    try:
        while not shell.flows():
            assert process.poll() is None
        for verb in ("land", "undo"):
            said = shell.run(verb, shell.flow())
            assert said.code == 2, said
            assert "another process runs the flow" in said.err
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_flow_that_landed_nothing_cannot_be_undone(shell: Shell) -> None:
    shell.run("run", shell.spec(SPEC), shell.tasks({"id": "one"}), shell.agent("exit 1"), "--quiet")

    said = shell.run("undo", shell.flow())

    assert said.code == 2
    assert "has landed nothing" in said.err


def test_a_landing_that_is_in_the_way_of_the_user_is_refused(undone: Shell) -> None:
    flow = undone.flow()
    undone.repo.write("one.txt", "mine\n")
    before = everything(undone)

    looked, said = undone.run("land", flow, "--dry-run"), undone.run("land", flow)

    assert (looked.code, said.code) == (1, 2)
    assert "one.txt" in said.err
    assert everything(undone) == before


def test_a_sparse_checkout_with_work_in_it_keeps_both_there_and_back(shell: Shell) -> None:
    git, path = shell.repo.git, shell.repo.path
    shell.repo.commit("more", {"in/x.txt": "x\n", "out/y.txt": "y\n"})
    git("sparse-checkout", "set", "--cone", "in")
    shell.repo.write("a.txt", "mine\n")
    shell.repo.write("in/x.txt", "mine\n")
    before, patterns = everything(shell)[1:3], git("sparse-checkout", "list")
    script = "mkdir -p in out; echo 1 > in/new.txt; echo 2 >> out/y.txt; echo 3 > out/new.txt"
    shell.run("run", shell.spec(DISPATCH), shell.tasks({"id": "one"}), shell.agent(script), "--quiet")

    assert git("show", "main:out/y.txt") == "y\n2"
    assert (path / "in/new.txt").read_text() == "1\n"
    assert not (path / "out").exists()
    assert git("ls-files", "-v").splitlines() == [
        "H a.txt", "H b.txt", "S dir/c.txt", "H in/new.txt", "H in/x.txt", "S out/new.txt", "S out/y.txt",
    ]  # fmt: skip
    assert shell.run("undo", shell.flow()).code == 0
    assert everything(shell)[1:3] == before
    assert git("sparse-checkout", "list") == patterns


def test_a_flow_that_is_not_there_is_not_found(shell: Shell) -> None:
    said = shell.run("land", "nowhere", "--json")

    assert said.code == 2
    assert said.error()["code"] == "NOT_FOUND"
