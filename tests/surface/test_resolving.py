"""A person resolves a conflict in a slot."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from stratum_git.model.ids import Json
from tests.support.contracts import conforms
from tests.support.repos import ScratchRepo
from tests.support.shell import SPEC, Shell

AGENT = 'echo "$STRATUM_TASK" > a.txt'
WHOLE = SPEC + "      - {id: after, intent: close, depends_on: [build]}\n"
ANY = "        require: 1\n        on_quorum: keep\n"


def conflicted(shell: Shell, more: str = ANY, spec: str = SPEC, *, code: int = 0, tasks: str = "xy") -> str:
    """Returns a flow in which y is parked: x had changed the same file."""
    head, _, tail = spec.partition('        intent_template: "do {task.id}"\n')
    text = f'{head}        intent_template: "do {{task.id}}"\n{more}{tail}'
    rows: list[Json] = [{"id": name} for name in tasks]
    said = shell.run("run", shell.spec(text), shell.tasks(*rows), shell.agent(AGENT))
    assert said.code == code, said
    return shell.flows()[-1]


def opened(shell: Shell, flow: str) -> Path:
    said = shell.run("resolve", flow, "y", "--json")
    assert said.code == 0, said
    conforms(said.json(), "resolve-result.v1")
    return Path(cast("dict[str, Any]", said.json())["path"])


def done(shell: Shell, flow: str, *, code: int = 0) -> dict[str, Any]:
    said = shell.run("resolve", flow, "y", "--done", "--json")
    assert said.code == code, said
    conforms(said.json(), "resolve-result.v1")
    return cast("dict[str, Any]", said.json())


def git(slot: Path, *words: str) -> str:
    return ScratchRepo(slot).git(*words)


def slots(shell: Shell) -> list[str]:
    """Returns the slots that somebody's work is in."""
    found = (shell.home / "state").glob("**/slots/slot-*.json")
    return [path.name for path in found if '"occupant"' in path.read_text()]


def test_a_conflict_is_opened_resolved_and_landed(shell: Shell) -> None:
    flow = conflicted(shell)
    slot = opened(shell, flow)
    assert git(slot, "status", "--porcelain") == "UU a.txt"
    assert git(slot, "show", ":2:a.txt") == "x"
    assert (slot / "a.txt").read_text().startswith("<<<<<<<")
    assert opened(shell, flow) == slot
    told = shell.run("query", "flow", flow, "--long").json()
    conforms(told, "query-flow-long.v1")
    assert "resolves the conflict of y" in shell.run("doctor").out

    (slot / "a.txt").write_text("x and y\n")
    row = done(shell, flow)

    assert row["status"] == "landed"
    assert shell.repo.show("HEAD:a.txt") == "x and y"
    assert shell.repo.head() == row["commit"]
    assert shell.repo.git("status", "--porcelain") == ""
    body = shell.repo.git("log", "-1", "--format=%B")
    assert "Stratum-Task: y\n" in body
    assert "Stratum-Mended: a.txt (person " in body
    assert slots(shell) == []
    assert done(shell, flow)["status"] == "landed"
    again = shell.run("resolve", flow, "y")
    assert (again.code, "has landed" in again.err) == (2, True)


def test_the_same_conflict_resolves_itself_the_next_time(shell: Shell) -> None:
    flow = conflicted(shell)
    (opened(shell, flow) / "a.txt").write_text("x and y\n")
    done(shell, flow)
    shell.repo.git("reset", "-q", "--hard", "HEAD~2")

    conflicted(shell)

    assert shell.repo.show("HEAD:a.txt") == "x and y"


def test_what_is_not_resolved_is_named_and_changes_nothing(shell: Shell) -> None:
    flow = conflicted(shell, ANY + "        verify: test ! -e bad.txt\n")
    slot, head = opened(shell, flow), shell.repo.head()

    row = done(shell, flow, code=1)
    assert row["status"] == "unresolved"
    assert row["findings"][0].startswith("a.txt:1: a conflict marker is left")
    (slot / "a.txt").write_text("x and y\n")
    (slot / "bad.txt").write_text("x\n")
    assert "`test ! -e bad.txt` exited with 1" in done(shell, flow, code=1)["findings"][0]
    assert (shell.repo.head(), (slot / "a.txt").read_text()) == (head, "x and y\n")
    (slot / "bad.txt").unlink()
    assert done(shell, flow)["status"] == "landed"


def test_who_gives_up_loses_nothing(shell: Shell) -> None:
    flow = conflicted(shell)
    slot = opened(shell, flow)
    (slot / "a.txt").write_text("half of it\n")

    said = shell.run("resolve", flow, "y", "--abort", "--json")
    conforms(said.json(), "resolve-result.v1")

    assert slots(shell) == []
    assert shell.repo.show(f"refs/stratum/attempts/{flow}/build/y/2:a.txt") == "half of it"
    assert shell.repo.show("HEAD:a.txt") == "x"
    slot = opened(shell, flow)
    assert (slot / "a.txt").read_text().startswith("<<<<<<<")
    assert shell.run("resolve", flow, "x").code == 2
    assert shell.run("resolve", flow, "y", "--abort").code == 0
    said = shell.run("resolve", flow, "y", "--abort")
    assert (said.code, "nobody resolves" in said.err) == (2, True)


def test_a_flow_that_failed_for_the_conflict_goes_on(shell: Shell) -> None:
    flow = conflicted(shell, "        require: all\n", WHOLE, code=1)
    (opened(shell, flow) / "a.txt").write_text("x and y\n")

    assert done(shell, flow)["flow_status"] == "running"
    said = shell.run("resume", flow, shell.agent(AGENT))

    assert said.code == 0, said
    (row,) = cast("dict[str, Any]", shell.run("query", "flow", flow, "--long").json())["steps"][1:]
    assert row["state"] == "succeeded"


def test_others_that_start_meanwhile_leave_it_alone(shell: Shell) -> None:
    flow = conflicted(shell)
    slot = opened(shell, flow)
    (slot / "a.txt").write_text("x and y\n")

    other = shell.run("run", shell.spec(), shell.tasks({"id": "z"}), shell.agent("echo z > z.txt"))
    assert other.code == 0, other
    kept = shell.run("gc", "--older-than", "0s", "--json")

    assert f"resolve {flow} y" in kept.out
    assert (slot / "a.txt").read_text() == "x and y\n"
    assert git(slot, "status", "--porcelain") == "UU a.txt"
    assert done(shell, flow)["status"] == "landed"
    assert shell.repo.show("HEAD:z.txt") == "z"


def test_the_second_one_is_told_where_the_first_one_is(shell: Shell) -> None:
    flow = conflicted(shell)
    slot = opened(shell, flow)
    shell.repo.git("config", "user.name", "Somebody Else")

    for more in ((), ("--done",), ("--abort",)):
        said = shell.run("resolve", flow, "y", *more)
        assert said.code == 2
        assert str(slot) in said.err


def test_a_target_that_moved_on_brings_less_of_it_back(shell: Shell) -> None:
    flow = conflicted(shell)
    slot = opened(shell, flow)
    (slot / "a.txt").write_text("x and y\n")
    shell.repo.commit("theirs", {"a.txt": "theirs\n"})

    row = done(shell, flow, code=1)

    assert (row["status"], row["paths"]) == ("conflicts_again", ["a.txt"])
    assert slots(shell) == []
    slot = opened(shell, flow)
    assert git(slot, "show", ":2:a.txt") == "theirs"
    assert git(slot, "show", ":3:a.txt") == "x and y"
    (slot / "a.txt").write_text("all of them\n")
    assert done(shell, flow)["status"] == "landed"
    assert shell.repo.show("HEAD:a.txt") == "all of them"


def test_what_is_in_the_way_blocks_it_and_the_slot_stays(shell: Shell) -> None:
    flow = conflicted(shell)
    slot = opened(shell, flow)
    (slot / "a.txt").write_text("x and y\n")
    shell.repo.write("a.txt", "mine\n")

    said = shell.run("resolve", flow, "y", "--done")

    assert (said.code, "a.txt" in said.err, "--done" in said.err) == (2, True, True)
    assert (shell.repo.path / "a.txt").read_text() == "mine\n"
    assert (slot / "a.txt").read_text() == "x and y\n"
    shell.repo.git("checkout", "-q", "a.txt")
    assert done(shell, flow)["status"] == "landed"


def test_what_the_landing_has_to_pass_is_run(shell: Shell) -> None:
    flow = conflicted(shell, ANY + "        land_verify: '! grep -q bad a.txt'\n")
    slot = opened(shell, flow)
    (slot / "a.txt").write_text("bad\n")

    row = done(shell, flow, code=1)

    assert "grep -q bad a.txt" in row["findings"][0]
    assert shell.repo.show("HEAD:a.txt") == "x"
    (slot / "a.txt").write_text("good\n")
    assert done(shell, flow)["status"] == "landed"


MOMENTS = [0.6, *(pytest.param(moment, marks=pytest.mark.soak) for moment in (0.25, 0.4, 0.9))]


@pytest.mark.parametrize("after", MOMENTS)
def test_who_is_killed_does_it_again(shell: Shell, after: float) -> None:
    flow = conflicted(shell, ANY + "        verify: sleep 0.1\n")
    slot = opened(shell, flow)
    (slot / "a.txt").write_text("x and y\n")
    doing = shell.start("resolve", flow, "y", "--done")
    try:
        doing.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(doing.pid, signal.SIGKILL)
        doing.communicate()

    assert done(shell, flow)["status"] == "landed"
    log = shell.repo.git("log", "--format=%s").splitlines()
    assert log == ["y: do y", "x: do x", "first"]
    assert shell.repo.git("status", "--porcelain") == ""
    assert slots(shell) == []


def test_a_slot_that_was_not_made_to_its_end_is_made_again(shell: Shell) -> None:
    flow = conflicted(shell)
    slot = opened(shell, flow)
    (slot / "a.txt").write_text("half of it\n")
    # As it is when whoever opened it is killed before all of it lay there.
    (ready,) = (shell.home / "state").glob(f"**/attempts/{flow}/build/y/2/conflict")
    ready.unlink()

    assert (opened(shell, flow) / "a.txt").read_text().startswith("<<<<<<<")
    assert len(slots(shell)) == 1
    assert shell.repo.show(f"refs/stratum/attempts/{flow}/build/y/2:a.txt") == "half of it"
