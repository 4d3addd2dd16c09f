"""Processes are told apart, also from their successors. Real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.agents.identity import ProcessIdentity, identity_of, is_alive, own_identity
from tests.support.programs import stat_of


def test_this_process_is_alive() -> None:
    me = own_identity()
    assert me == identity_of(os.getpid())
    assert me.pid == os.getpid()
    assert me.start_time > 0
    assert me.boot_id
    assert is_alive(me)


def test_a_process_that_has_ended_is_not_alive_and_has_no_identity() -> None:
    with subprocess.Popen(["sleep", "300"]) as process:
        who = identity_of(process.pid)
        assert who is not None
        assert is_alive(who)
        process.kill()
    assert not is_alive(who)
    assert identity_of(process.pid) is None


def test_a_process_that_nobody_took_leave_of_is_not_alive() -> None:
    with subprocess.Popen(["sleep", "300"]) as process:
        who = identity_of(process.pid)
        assert who is not None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert stat_of(process.pid)[0] == "Z"
        assert not is_alive(who)


@pytest.mark.parametrize("other", [{"start_time": 1}, {"boot_id": "b"}, {"host": "elsewhere"}, {"pid": 0}])
def test_what_differs_in_anything_is_another_process(other: dict[str, str]) -> None:
    assert not is_alive(replace(own_identity(), **other))  # type: ignore[arg-type]  # one field each


@pytest.mark.parametrize("pid", [-1, 0, 2**40])
def test_what_is_no_number_of_a_process_has_no_identity(pid: int) -> None:
    assert identity_of(pid) is None


def test_a_program_s_name_does_not_confuse(tmp_path: Path) -> None:
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / "a) Z (b) 1 2")
    with subprocess.Popen([program, "300"]) as process:
        who = identity_of(process.pid)
        assert who is not None
        assert is_alive(who)
        assert isinstance(who, ProcessIdentity)
        assert who.start_time == int(stat_of(process.pid)[19])
        process.kill()
