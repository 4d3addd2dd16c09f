"""What agents do to their slots changes nothing outside of these, and ends no run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratum_git.model.ids import Json
from tests.hostile.tampering import AS_ROOT, DEEDS, LANDED, NOTHING, REFUSED, SLOW, Other, clean_up, script
from tests.support.shell import SPEC, Shell

MERGED = {LANDED: "merged", NOTHING: "merged", REFUSED: "exhausted"}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    yield Other.make(tmp_path / "other")
    clean_up(tmp_path)


def ends(shell: Shell, deeds: dict[str, tuple[str, str]], other: Other, canary: Path) -> dict[str, str]:
    """Returns the state of the task of each deed, all done in one run."""
    # Whatever one of them does, the rest is to land.
    keys = ("require: any", "on_quorum: keep", "timeout: 30", "max_concurrent: 4", "verify: 'echo verified'")
    text = SPEC + "".join(f"        {key}\n" for key in keys)
    rows: list[Json] = [{"id": name} for name in deeds]
    tasks = shell.tasks(*rows)
    shell.unfenced_agent(script(deeds, other, canary))
    said = shell.run("run", shell.spec(text), tasks, timeout=240)
    assert said.code in {0, 1}, said
    flow: Any = shell.run("query", "flow", shell.flow(), "--long").json()
    return {row["task_id"]: row["state"] for row in flow["steps"][0]["tasks"]}


def test_no_deed_reaches_out_of_its_slot(shell: Shell, other: Other, tmp_path: Path) -> None:
    deeds = {**DEEDS, **(AS_ROOT if os.geteuid() == 0 else {})}
    canary = tmp_path / "canary"
    program = shell.file("evil", f"#!/bin/sh\n: > '{canary}'\ncat\n")
    program.chmod(0o755)
    before, mine = other.look(), shell.repo.git("status", "--porcelain")
    states = ends(shell, deeds, other, program)
    assert other.look() == before
    assert not canary.exists()
    assert states == {name: MERGED[end] for name, (_, end) in deeds.items()}
    landed = {name for name, (deed, end) in deeds.items() if end == LANDED and "$STRATUM_TASK.txt" in deed}
    assert landed <= {name.removesuffix(".txt") for name in shell.repo.files("main")}
    assert shell.repo.git("status", "--porcelain") == mine
    assert shell.run("doctor").code == 0
    assert not [row for row in Path("/proc/self/mountinfo").read_text().split() if str(tmp_path) in row]


@pytest.mark.soak
def test_what_makes_git_wait_is_waited_for_a_moment_alone(shell: Shell, other: Other, tmp_path: Path) -> None:
    deeds = {name: (deed.replace("kill", "sleep 0; kill"), end) for name, (deed, end) in SLOW.items()}
    assert ends(shell, deeds, other, tmp_path) == {name: MERGED[end] for name, (_, end) in deeds.items()}
