"""Nothing that an attempt started outlives it, however it ends. Real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from stratum_git.agents.supervise import Exit, Exited, HolderKilled, TimedOut, supervise
from stratum_git.spawn.client import current, serving
from tests.support.programs import Family, parent_of, wait_until_gone

GRACE = 0.2
ROOT = Path(__file__).parents[2]

ALONE = """
import contextlib, sys, trio
from pathlib import Path
from stratum_git.agents.supervise import supervise
from stratum_git.spawn.client import serving

async def main():
    way, here, *command = sys.argv[1:]
    with serving() if way == "served" else contextlib.nullcontext():
        await supervise(command, cwd=Path(here), env={}, log=Path(here, "log"), grace=0.2)

trio.run(main)
"""


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path / "family")


async def hold(command: tuple[str, ...], tmp_path: Path, timeout: float | None = None) -> Exit:
    return await supervise(command, cwd=tmp_path, env={}, log=tmp_path / "log", timeout=timeout, grace=GRACE)


async def test_nobody_survives_the_end_of_the_command(family: Family, tmp_path: Path) -> None:
    with trio.fail_after(10):
        ended = await hold(family.command("leave"), tmp_path)
    assert family.complete()
    assert family.survivors() == {}
    assert isinstance(ended, Exited)
    assert (ended.code, ended.leftovers, ended.tail) == (0, 4, b"all are there\n")


async def test_who_holds_the_output_open_delays_nothing_beyond_the_grace(tmp_path: Path) -> None:
    family = Family(tmp_path / "family", ("holder",))
    ended = await supervise(family.command("leave"), cwd=tmp_path, env={}, log=tmp_path / "log", grace=60.0)
    assert isinstance(ended, Exited)
    assert ended.seconds < 10.0
    assert family.survivors() == {}


async def test_nobody_survives_a_timeout(family: Family, tmp_path: Path) -> None:
    ended = await hold(family.command("stay"), tmp_path, timeout=1.5)
    assert family.complete()
    assert family.survivors() == {}
    assert isinstance(ended, TimedOut)
    assert (ended.after, ended.tail) == (1.5, b"all are there\n")


async def test_nobody_survives_a_cancellation(family: Family, tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, family.command("stay"), tmp_path)
            await family.assembled()
            scope.cancel()
    assert scope.cancelled_caught
    assert family.survivors() == {}


async def test_nobody_survives_the_death_of_the_dispatcher(family: Family, tmp_path: Path, way: str) -> None:
    command = [sys.executable, "-c", ALONE, way, str(tmp_path), *family.command("stay")]
    with subprocess.Popen(command, cwd=ROOT) as dispatcher:  # noqa: ASYNC220 - it is to be killed
        await family.assembled()
        tether = parent_of(family.pids()["leader"])
        dispatcher.kill()
    await family.dispersed()
    with trio.fail_after(5):
        while Path(f"/proc/{tether}").exists():
            await trio.sleep(0.005)


async def test_nobody_survives_the_death_of_the_tether(family: Family, tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(HolderKilled):
            await hold(family.command("stay"), tmp_path)
        assert family.survivors() == {}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await family.assembled()
        os.kill(parent_of(family.pids()["leader"]), signal.SIGKILL)


async def test_the_command_dies_when_tether_and_dispatcher_die_in_one_blow(tmp_path: Path, way: str) -> None:
    family = Family(tmp_path / "family", ())
    command = [sys.executable, "-c", ALONE, way, str(tmp_path), *family.command("stay")]
    with subprocess.Popen(command, cwd=ROOT) as dispatcher:  # noqa: ASYNC220 - it is to be killed
        await family.assembled()
        dispatcher.send_signal(signal.SIGSTOP)
        os.kill(parent_of(family.pids()["leader"]), signal.SIGKILL)
        await family.dispersed()
        dispatcher.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
async def test_a_signal_that_hits_the_tether_ends_nothing(tmp_path: Path, number: signal.Signals) -> None:
    family = Family(tmp_path / "family", ())
    ended: list[Exit] = []

    async def run() -> None:
        ended.append(await hold(family.command("stay"), tmp_path))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await family.assembled()
        leader = family.pids()["leader"]
        os.kill(parent_of(leader), number)
        os.kill(leader, signal.SIGUSR1)
    assert isinstance(ended[0], Exited)
    assert (ended[0].code, ended[0].leftovers) == (7, 0)


async def test_a_program_may_say_its_last_words_while_it_is_being_ended(tmp_path: Path) -> None:
    words = (
        'trap "head -c 300000 /dev/zero; echo last words; exit 0" TERM; (echo ready; exec sleep 300) & wait'
    )
    told: list[str] = []
    with trio.CancelScope() as scope:

        def listen(line: str) -> None:
            told.append(line)
            scope.cancel()

        await supervise(
            ("sh", "-c", words), cwd=tmp_path, env={}, log=tmp_path / "log", grace=30.0, on_line=listen
        )
    assert scope.cancelled_caught
    assert (tmp_path / "log").read_bytes().endswith(b"last words\n")


async def test_nobody_survives_the_death_of_the_server(family: Family, tmp_path: Path, way: str) -> None:
    server = current()
    if server is None:
        assert way == "direct"
        return

    async def run() -> None:
        with pytest.raises(HolderKilled):
            await hold(family.command("stay"), tmp_path)
        assert family.survivors() == {}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await family.assembled()
        os.kill(server.pid, signal.SIGKILL)
    assert isinstance(await hold(("true",), tmp_path), Exited), "another server takes its place"
    assert current() is not server


def test_a_server_ends_with_whoever_began_it() -> None:
    outer = current()
    with serving():
        server = current()
        assert server is not outer
        assert server is not None
    assert current() is outer
    wait_until_gone(server.pid)
