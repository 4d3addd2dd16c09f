"""Somebody sets the clock by hours: of one server and not of the other, while workers are at their tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.soak import clock
from tests.support.client import call, client_of
from tests.support.portal import settle_in
from tests.support.shifted import ShiftedShell

HOURS = 3600


@pytest.fixture
def shells(tmp_path: Path) -> tuple[ShiftedShell, ShiftedShell]:
    """Two users of one repository, each with a clock of his own."""
    user = settle_in(tmp_path)
    return ShiftedShell(user.home, user.repo, "one"), ShiftedShell(user.home, user.repo, "two")


def test_the_clock_is_really_another_one(shells: tuple[ShiftedShell, ShiftedShell]) -> None:
    shells[0].set(5 * HOURS)
    asked = [sys.executable, "-c", "import time; print(int(time.time()))"]
    said = [
        int(subprocess.run(asked, env=shell.environment, capture_output=True, check=True).stdout)
        for shell in shells
    ]
    assert abs(said[0] - said[1] - 5 * HOURS) < 60


async def test_setting_a_clock_forward_takes_no_task_from_anybody(
    shells: tuple[ShiftedShell, ShiftedShell],
) -> None:
    async with client_of(shells[0]) as here, client_of(shells[1]) as there:
        plan = {"spec": clock.SPEC, "flow": "main", "inputs": {"tasks": [{"id": "a"}]}}
        flow = (await call(here, "stratum_plan", **plan))["flow_id"]
        task = await call(here, "stratum_task_claim", worker="w", seconds=600)
        shells[1].set(400 * HOURS)
        assert (await call(there, "stratum_task_claim", worker="v"))["status"] == "idle"
        refused = await call(there, "stratum_parallel_start", flow_id=flow, agents=["default=true"])
        assert refused["error_type"] == "task_claimed"
        shells[0].set(400 * HOURS)
        Path(task["path"], "a.txt").write_text("a\n")
        done = await call(here, "stratum_task_complete", lease=task["lease"], status="complete", result={})
    assert done["status"] == "accepted"


async def test_setting_a_clock_back_makes_no_lease_last(shells: tuple[ShiftedShell, ShiftedShell]) -> None:
    shells[0].set(5 * HOURS)
    async with client_of(shells[0]) as here, client_of(shells[1]) as there:
        await call(here, "stratum_plan", spec=clock.SPEC, flow="main", inputs={"tasks": [{"id": "a"}]})
        late = await call(here, "stratum_task_claim", worker="late", seconds=0.3)
        Path(late["path"], "half.txt").write_text("half\n")
        await trio.sleep(0.4)
        quick = await call(there, "stratum_task_claim", worker="quick")
        assert (quick["status"], quick["attempt"]) == ("claimed", 2)
        # Whoever is late may not know it: he must not be able to write into the place of the next one.
        assert quick["path"] != late["path"]
        assert not Path(late["path"]).exists()
        shells[0].set(-5 * HOURS)
        for verb, more in clock.MORE.items():
            refused = await call(here, f"stratum_task_{verb}", lease=late["lease"], **more)
            assert (refused["error_type"], bool(refused["next"])) == ("lease_lost", True)
        Path(quick["path"], "a.txt").write_text("a\n")
        done = await call(there, "stratum_task_complete", lease=quick["lease"], status="complete", result={})
        assert done["status"] == "accepted"
    kept = shells[0].repo.git("for-each-ref", "--format=%(refname)", "refs/stratum/attempts")
    assert shells[0].repo.show(f"{kept}:half.txt") == "half"


def test_whatever_the_clocks_say_each_task_has_one_result() -> None:
    found = clock.rounds(1, seed=1)
    assert (found["wrong"], found["landed"], found["accepted"]) == (0, clock.TASKS, clock.TASKS)
