"""Whatever an attempt left can be had back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from stratum_git.git.objects import ObjectWriter
from stratum_git.git.repository import open_repository
from stratum_git.git.writing_out import write_out
from stratum_git.model.ids import Oid
from tests.soak.ledger import STATES, play
from tests.support.contracts import conforms
from tests.support.shell import Shell, interrupt, wait_for

TANGLED = (
    "staged-overwritten", "mid-merge-half-solved", "mid-rebase-autostash", "mid-am", "reset", "branch-moved",
    "stash-detached", "names", "links", "line-ends", "refused", "repository", "repository-over-files",
    "repository-recorded", "index-damaged", "marker-replaced", "closed-folder",
)  # fmt: skip
SOME = ("staged-overwritten", "mid-rebase", "reset", "repository")


@pytest.mark.parametrize(
    ("ending", "isolation", "states"),
    [
        ("fails", "worktree", TANGLED),
        ("fails", "branch", ("switched-and-deleted", "marker-gone", "reset")),
        ("succeeds", "worktree", ("staged-overwritten", "amended", "repository-recorded")),
        ("times out", "worktree", ("mid-merge",)),
        ("is cancelled", "worktree", SOME[:1]),
        pytest.param("is interrupted", "worktree", SOME, marks=pytest.mark.soak),
        ("is killed", "worktree", SOME),
    ],
)
def test_every_byte_of_a_slot_is_had_back(
    shell: Shell, ending: str, isolation: str, states: tuple[str, ...]
) -> None:
    assert set(states) <= set(STATES)
    assert play(shell, ending, isolation, states, timeout=4) == []


@pytest.mark.soak
@pytest.mark.parametrize("isolation", ["worktree", "branch"])
def test_every_state_of_a_slot_is_had_back(shell: Shell, isolation: str) -> None:
    assert play(shell, "fails", isolation, list(STATES)) == []


LEFT = """\
[ "$STRATUM_ATTEMPT" = 2 ] && { echo two > x.txt; exit 1; }
echo one > x.txt; git add x.txt; echo more >> x.txt; chmod +x x.txt
mkdir -p out; seq 10 > out/built.o; echo o > one.o
git init -q inner; echo in > inner/in
exit 1
"""


def left(shell: Shell) -> str:
    """Returns the flow of a task that failed twice and left something each time."""
    shell.repo.commit("ignore", {".gitignore": "*.o\n"})
    spec = shell.spec().replace("\n", "")
    Path(spec).write_text(Path(spec).read_text() + "        task_retries: 1\n")
    assert shell.run("run", spec, shell.tasks({"id": "x"}), shell.agent(LEFT)).code == 1
    return shell.flow()


def listed(shell: Shell, flow: str, *words: str) -> dict[str, Any]:
    said = shell.run("salvage", flow, "x", "--json", *words)
    assert (said.code, said.err) == (0, "")
    conforms(said.json(), "salvage-list.v1")
    return cast("dict[str, Any]", said.json())


def test_a_listing_names_everything(shell: Shell) -> None:
    flow = left(shell)
    row = listed(shell, flow)
    assert [row["flow_id"], row["step_id"], row["task_id"], row["at_work"]] == [flow, "build", "x", []]
    one, two = row["attempts"]
    refs = f"refs/stratum/attempts/{flow}/build/x"
    assert [one["attempt"], one["outcome"], one["refs"]] == [1, "rejected", [f"{refs}/1"]]
    assert one["commit"] == shell.repo.git("rev-parse", f"{refs}/1")
    assert [rest["staged"] for rest in one["rests"]] == [["x.txt"]]
    assert "inner/in" in one["left"]
    assert one["ignored"] == {
        "total": 2,
        "listed": [
            {"path": "one.o", "files": 1, "bytes": 2, "is_whole": True},
            {"path": "out/built.o", "files": 1, "bytes": 21, "is_whole": True},
        ],
    }
    assert [two["attempt"], two["left"], two["rests"], two["ignored"]["total"]] == [2, [], [], 0]
    assert listed(shell, flow, "--attempt", "2")["attempts"] == [two]
    said = shell.run("salvage", flow, "x", "--list")
    assert "ignored by git, gone with the slot: one.o (2 bytes), out/built.o (21 bytes)" in said.out


def test_an_attempt_comes_back_into_a_folder(shell: Shell, tmp_path: Path) -> None:
    flow = left(shell)
    said = shell.run("salvage", flow, "x", "--attempt", "1", "--into", str(tmp_path / "back"), "--json")
    assert (said.code, said.err) == (0, "")
    conforms(said.json(), "salvage-done.v1")
    assert (tmp_path / "back/x.txt").read_text() == "one\nmore\n"
    assert os.access(tmp_path / "back/x.txt", os.X_OK)
    assert (tmp_path / "back/inner/.git/HEAD").is_file()
    again = shell.run("salvage", flow, "x", "--into", str(tmp_path / "back"))
    assert (again.code, "is not empty" in again.err) == (2, True)
    words = ("salvage", flow, "x", "--attempt", "1", "--staged", "--into", str(tmp_path / "staged"))
    assert shell.run(*words).code == 0
    assert (tmp_path / "staged/staged/x.txt").read_text() == "one\n"
    last = shell.run("salvage", flow, "x", "--into", str(tmp_path / "last"))
    assert (last.code, (tmp_path / "last/x.txt").read_text()) == (0, "two\n")


def test_an_attempt_comes_back_on_a_branch_that_is_new(shell: Shell) -> None:
    flow = left(shell)
    before = shell.repo.head()
    said = shell.run("salvage", flow, "x", "--attempt", "1", "--branch", "back", "--json")
    conforms(said.json(), "salvage-done.v1")
    assert shell.repo.show("back:x.txt") == "one\nmore"
    for name in ("back", "main"):
        taken = shell.run("salvage", flow, "x", "--branch", name)
        assert (taken.code, f"there is a branch {name} already" in taken.err) == (2, True)
    assert shell.repo.head() == before
    assert shell.run("salvage", flow, "x", "--branch", "-b").code == 2
    assert shell.run("salvage", flow, "y").code == 2
    assert shell.run("salvage", flow, "x", "--attempt", "7", "--branch", "b").code == 2


def test_a_step_that_one_agent_does_comes_back_too(shell: Shell, tmp_path: Path) -> None:
    spec = shell.spec(
        'version: "0.4"\nflows:\n  main:\n    steps:\n      - {id: plan, agent: default, intent: Plan}\n'
    )
    shell.run("run", spec, shell.agent("echo p > plan.txt; exit 1"))
    assert shell.run("salvage", shell.flow(), "plan", "--into", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back/plan.txt").read_text() == "p\n"


def test_work_that_is_not_over_is_told_of_and_where_it_lies(shell: Shell, tmp_path: Path) -> None:
    agent = shell.agent('echo half > x.txt; touch "$HOME/at-work"; exec sleep 100')
    process = shell.start("run", shell.spec(), shell.tasks({"id": "x"}), agent)
    wait_for(shell.home / "at-work")
    (busy,) = listed(shell, shell.flow())["at_work"]
    assert (busy["attempt"], busy["is_live"]) == (1, True)
    assert (Path(busy["path"]) / "x.txt").read_text() == "half\n"
    said = shell.run("salvage", shell.flow(), "x", "--into", str(tmp_path / "back"))
    assert (said.code, "is at work in" in said.err) == (2, True)
    interrupt(process)
    assert shell.run("salvage", shell.flow(), "x", "--into", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back/x.txt").read_text() == "half\n"


@pytest.mark.parametrize("name", ["..", ".git", ".GIT"])
def test_a_tree_that_an_agent_forged_writes_nowhere_else(
    shell: Shell, writer: ObjectWriter, tmp_path: Path, name: str
) -> None:
    blob = writer.blob(b"evil")
    inner = b"100644 evil\0" + bytes.fromhex(blob)
    tree = writer._write(b"tree", inner)
    top = Oid(writer._write(b"tree", f"40000 {name}\0".encode() + bytes.fromhex(tree)))
    with pytest.raises(Exception, match="the commit has a file called"):
        write_out(open_repository(shell.repo.path), top, tmp_path / "deep" / "back")
    assert not list(tmp_path.rglob("evil"))
