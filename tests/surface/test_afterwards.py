"""What was left lands later, what landed is undone: as the user meets it, and nothing of his is lost."""

from __future__ import annotations

import json
from typing import cast

import pytest

from stratum_git.model.ids import Json
from tests.support.contracts import conforms
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
GATED = SPEC.replace("flows:", "functions: {ask: {mode: gate}}\nflows:", 1).replace(
    "- {id: last, agent: default, intent: End it, depends_on: [build]}",
    "- {id: look, function: ask, depends_on: [build], on_approve: last, on_revise: build, on_kill: null}\n"
    "      - {id: last, agent: default, intent: End it, depends_on: [look]}",
)
AGENT = """\
name=${STRATUM_TASK:-$STRATUM_STEP}
echo "$name" > "$name.txt"
case $name in clash*) echo "$name" > same.txt;; esac
"""
Row = dict[str, Json]


def run(shell: Shell, *tasks: str, spec: str = SPEC) -> str:
    """Runs a flow with these tasks, and returns its id."""
    graph: list[Json] = [{"id": name} for name in tasks]
    shell.run("run", shell.spec(spec), shell.tasks(*graph), shell.agent(AGENT), "--quiet")
    return shell.flows()[-1]


def states(shell: Shell, flow: str) -> dict[str, str]:
    row = cast("Row", shell.run("query", "flow", flow, "--long").json())
    conforms(row, "query-flow-long.v1")
    tasks = cast("list[Row]", cast("list[Row]", row["steps"])[1]["tasks"])
    return {
        str(task["task_id"]): str(task["state"]) + ("/undone" * bool(task.get("undone"))) for task in tasks
    }


def everything(shell: Shell) -> tuple[str, str, dict[str, bytes], bytes]:
    """Returns all that a user could miss: refs, what git says, files, the index."""
    git, path = shell.repo.git, shell.repo.path
    files = {str(p): p.read_bytes() for p in path.rglob("*") if p.is_file() and ".git" not in p.parts}
    refs = git("for-each-ref"), git("reflog", "--all")
    return "\n".join(refs), git("status", "--porcelain"), files, (path / ".git/index").read_bytes()


def steps(said: Said) -> list[Row]:
    return cast("list[Row]", cast("Row", said.json())["steps"])


def test_an_undo_leaves_the_repository_as_the_flow_found_it_and_land_lands_it_again(shell: Shell) -> None:
    before = shell.repo.head()
    files = sorted(shell.repo.files())
    flow = run(shell, "one", "two")
    landed = shell.repo.git("rev-parse", "HEAD^{tree}")
    assert shell.repo.git("log", "--format=%s").splitlines()[:4] == [
        "last: End it", "two: do two", "one: do one", "first: Begin",
    ]  # fmt: skip

    said = shell.run("undo", flow)

    assert said.code == 0, said
    assert shell.repo.head() == before
    assert shell.repo.git("status", "--porcelain") == ""
    assert sorted(p.name for p in shell.repo.path.glob("*.txt")) == sorted(f for f in files if "/" not in f)
    assert states(shell, flow) == {"one": "merged/undone", "two": "merged/undone"}
    assert "Put main back from" in shell.run("log", flow).out
    again = shell.run("land", flow)
    assert again.code == 0, again
    assert shell.repo.git("rev-parse", "HEAD^{tree}") == landed
    assert shell.repo.git("status", "--porcelain") == ""
    assert states(shell, flow) == {"one": "merged", "two": "merged"}
    assert "nothing of the flow" in shell.run("land", flow).out
    assert shell.run("undo", flow).code == 0
    assert shell.repo.head() == before


def test_undoing_twice_is_undoing_once_and_a_look_moves_nothing(shell: Shell) -> None:
    flow = run(shell, "one")
    before = everything(shell)

    looked = shell.run("undo", flow, "--dry-run", "--json")

    assert everything(shell) == before
    conforms(looked.json(), "undo-result.v1")
    done = shell.run("undo", flow, "--json")
    conforms(done.json(), "undo-result.v1")
    assert done.json() == cast("Row", looked.json()) | {"dry_run": False}
    after = everything(shell)
    twice = shell.run("undo", flow, "--json")
    assert twice.code == 0
    assert cast("list[Row]", cast("Row", twice.json())["targets"])[0]["was_undone"] is True
    assert everything(shell) == after


def test_nothing_is_undone_where_others_built_on_it(shell: Shell) -> None:
    flow = run(shell, "one")
    shell.repo.git("config", "user.name", "Berta")
    shell.repo.commit("on top of it", {"b.txt": "hers\n"})
    before = everything(shell)

    said = shell.run("undo", flow, "--json")

    assert said.code == 2
    error = said.error()
    assert error["code"] == "BUILT_ON"
    assert "on top of it (Berta)" in str(error["message"])
    assert everything(shell) == before


def test_nothing_is_undone_where_another_flow_landed_in_between(shell: Shell) -> None:
    flow = run(shell, "one", spec=GATED)
    assert shell.run("undo", flow).code == 2  # It waits at its gate.
    run(shell, "two")
    (other,) = set(shell.flows()) - {flow}
    assert shell.run("gate", "approve", flow, "look").code == 0
    assert shell.run("resume", flow, shell.agent(AGENT), "--quiet").code == 0
    before = everything(shell)

    said = shell.run("undo", flow)

    assert said.code == 2, said
    assert f"by flow {other}" in said.err
    assert everything(shell) == before


def test_an_undo_is_refused_with_the_reason_where_a_changed_file_is_in_the_way(shell: Shell) -> None:
    flow = run(shell, "one")
    shell.repo.write("one.txt", "mine\n")
    shell.repo.write("a.txt", "mine too\n")
    before = everything(shell)

    said = shell.run("undo", flow)

    assert said.code == 2
    assert "one.txt" in said.err
    assert everything(shell) == before
    shell.repo.git("checkout", "one.txt")
    assert shell.run("undo", flow).code == 0
    assert (shell.repo.path / "a.txt").read_text() == "mine too\n"


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
    assert "passes, in" in shell.run("log", flow).out.partition("land later")[2]


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


def test_a_look_at_a_landing_shows_what_would_be_and_moves_nothing(shell: Shell) -> None:
    flow = run(shell, "one", "two")
    assert shell.run("undo", flow).code == 0
    before = everything(shell)

    looked = shell.run("land", flow, "--dry-run", "--json")

    assert looked.code == 0
    assert everything(shell) == before
    conforms(looked.json(), "land-result.v1")
    rows = steps(looked)
    assert [row["step_id"] for row in rows] == ["first", "build", "last"]
    commits = [commit for row in rows for commit in cast("list[Row]", row["commits"])]
    assert [(c["subject"], c["files"], c["insertions"]) for c in commits] == [
        ("first: Begin", 1, 1), ("one: do one", 1, 1), ("two: do two", 1, 1), ("last: End it", 1, 1),
    ]  # fmt: skip
    assert "two.txt  +1 -0" in shell.run("land", flow, "--dry-run").out
    landed = shell.run("land", flow, "--json")
    assert [row["tree"] for row in steps(landed)] == [row["tree"] for row in rows]
    assert shell.repo.git("rev-parse", "HEAD^{tree}") == rows[-1]["tree"]


def test_only_named_tasks_land_and_the_strategy_can_be_chosen(shell: Shell) -> None:
    flow = run(shell, "one", "two")
    assert shell.run("undo", flow).code == 0
    assert shell.run("land", flow, "three").code == 2

    said = shell.run("land", flow, "two", "--strategy", "squash", "--json")

    assert said.code == 0
    assert steps(said)[0]["strategy"] == "squash"
    assert states(shell, flow) == {"one": "merged/undone", "two": "merged"}
    assert shell.repo.git("log", "-1", "--format=%s") == "two: do two"
    assert json.loads(shell.run("land", flow, "two", "--json").out)["others"] == [
        {"task_id": "two", "why": "has landed"}
    ]


def test_what_builds_on_a_result_that_is_not_there_is_left_out(shell: Shell) -> None:
    graph: list[Json] = [{"id": "one"}, {"id": "two", "depends_on": ["one"]}]
    shell.run("run", shell.spec(SPEC), shell.tasks(*graph), shell.agent(AGENT), "--quiet")
    flow = shell.flow()
    assert shell.run("undo", flow).code == 0
    before = everything(shell)

    said = shell.run("land", flow, "two")

    assert said.code == 1
    assert "it builds on one" in said.out
    assert everything(shell) == before
    assert shell.run("land", flow, "two", "one").code == 0


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


def test_a_landing_that_is_in_the_way_of_the_user_is_refused(shell: Shell) -> None:
    flow = run(shell, "one")
    assert shell.run("undo", flow).code == 0
    shell.repo.write("one.txt", "mine\n")
    before = everything(shell)

    looked, said = shell.run("land", flow, "--dry-run"), shell.run("land", flow)

    assert (looked.code, said.code) == (1, 2)
    assert "one.txt" in said.err
    assert everything(shell) == before


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


@pytest.mark.parametrize("verb", ["land", "undo"])
def test_a_flow_that_is_not_there_is_not_found(shell: Shell, verb: str) -> None:
    said = shell.run(verb, "nowhere", "--json")

    assert said.code == 2
    assert said.error()["code"] == "NOT_FOUND"
