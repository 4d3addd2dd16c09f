"""Something gets in the way of a run: once each here, many times by ``tests/soak/full_disk.py``."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.soak.full_disk import CASES, MIB, Case, fill, obstruct
from tests.soak.power import CLIENT_SPEC, Machine
from tests.support.disks import make_image, mounted, remount, unable

pytestmark = pytest.mark.skipif(bool(unable()), reason=f"no disks of our own: {unable()}")
SHORT = [case for case in CASES if case.name in {"full", "killed gits"}]


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_what_gets_in_the_way_of_a_run_is_told_and_the_run_resumed(case: Case, tmp_path: Path) -> None:
    found = obstruct(case, 1, tmp_path, random.Random(1))
    assert found.is_well, "\n".join(found.notes)


def made_read_only(place: Path) -> None:
    """Remounts a disk as soon as nobody has a file open there for writing, or one that is deleted."""
    deadline = time.monotonic() + 10
    while True:
        try:
            remount(place, "ro")
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


@pytest.mark.parametrize("obstacle", ["full", "read-only"])
def test_a_server_says_what_is_in_the_way_and_goes_on_afterwards(tmp_path: Path, obstacle: str) -> None:
    machine = Machine(tmp_path / "disk-of-user")
    with mounted(make_image(tmp_path / "user.img", MIB), machine.place):
        machine.settle_in()
        with machine.served() as server:
            flow = server.call("stratum_plan", spec=CLIENT_SPEC, flow="main", inputs={"tasks": []})["flow_id"]
            given = {"flow_id": flow, "step_id": "first", "result": {"ok": False}}
            first = server.call("stratum_step_done", **given)
            assert first["status"] == "ensure_failed"
            ballast = machine.place / "ballast"
            if obstacle == "full":
                fill(ballast)
                given["result"] = {"ok": False, "much": "".join(map(str, range(90_000)))}
            else:
                made_read_only(machine.place)
            said = server.call("stratum_step_done", **given)
            assert (said["status"], said["error_type"]) == ("error", "host_error")
            assert "resume" in said["hint"]
            if obstacle == "full":
                ballast.unlink()
            else:
                remount(machine.place, "rw")
            again = server.call("stratum_step_done", **given)
            assert again["status"] == "ensure_failed"
            assert again["retries_remaining"] == first["retries_remaining"] - 1
        assert not list((machine.repo.path / ".git/objects").rglob("tmp_obj_*"))
        assert machine.repo.git("fsck", "--full", "--strict", "--no-dangling") == ""
