"""A program is run to its end with everything that it starts; nothing of it is left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import trio

from stratum_git.agents.supervise import Exit, Exited, Signalled, TimedOut, Unstartable, supervise

SURVIVORS = {
    "ignores SIGTERM": "sh -c 'trap \"\" TERM; sleep 987' &",
    "calls setsid": "setsid sleep 987 &",
    "forks twice, calls setsid, ignores SIGTERM": "(setsid sh -c 'trap \"\" TERM HUP; sleep 987' &) ;",
    "holds standard output": "(sleep 987 1>&1 &) ;",
}


@pytest.fixture
def marker() -> str:
    """An environment variable by which a test finds its own processes."""
    return f"STRATUM_TEST=m{os.getpid()}x{time.monotonic_ns()}"


def env_with(marker: str) -> dict[str, str]:
    name, _, value = marker.partition("=")
    return {"PATH": os.environ["PATH"], name: value}


def alive(marker: str) -> list[int]:
    """Returns the processes that have the marker and do more than wait to be reaped."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if marker.encode() in (folder / "environ").read_bytes() and stat != "Z":
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def wait_until_dead(marker: str, seconds: float = 5.0) -> list[int]:
    end = time.monotonic() + seconds
    while alive(marker) and time.monotonic() < end:
        time.sleep(0.02)
    return alive(marker)


async def shell(tmp_path: Path, script: str, marker: str, **options: object) -> Exit:
    settings: dict[str, object] = {"grace": 0.3} | options
    return await supervise(
        ["sh", "-c", script],
        cwd=tmp_path,
        env=env_with(marker),
        log=tmp_path / "log",
        **settings,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("how", SURVIVORS)
async def test_nothing_survives_a_normal_end(tmp_path: Path, marker: str, how: str) -> None:
    started = trio.current_time()

    ended = await shell(tmp_path, f"{SURVIVORS[how]} sleep 0.2; echo done", marker)

    assert isinstance(ended, Exited)
    assert (ended.code, ended.tail) == (0, b"done\n")
    assert ended.leftovers >= 1
    assert alive(marker) == []
    assert trio.current_time() - started < 4


@pytest.mark.parametrize("how", SURVIVORS)
async def test_nothing_survives_a_timeout(tmp_path: Path, marker: str, how: str) -> None:
    ended = await shell(tmp_path, f"{SURVIVORS[how]} echo on it; sleep 986", marker, timeout=0.4)

    assert ended == TimedOut(0.4, b"on it\n")
    assert alive(marker) == []


@pytest.mark.parametrize("how", SURVIVORS)
async def test_nothing_survives_a_cancellation(tmp_path: Path, marker: str, how: str) -> None:
    with trio.move_on_after(0.4) as scope:
        await shell(tmp_path, f"{SURVIVORS[how]} sleep 986", marker)

    assert scope.cancelled_caught
    assert alive(marker) == []


@pytest.mark.parametrize("how", SURVIVORS)
async def test_nothing_survives_the_death_of_the_tether(tmp_path: Path, marker: str, how: str) -> None:
    async def kill_tether() -> None:
        with trio.fail_after(5):
            while not (tmp_path / "up").exists():
                await trio.sleep(0.02)
        for pid in alive(marker):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"tether.py" in command:
                os.kill(pid, signal.SIGKILL)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill_tether)
        ended = await shell(tmp_path, f"{SURVIVORS[how]} touch up; sleep 986", marker)

    assert isinstance(ended, Signalled)
    assert wait_until_dead(marker) == []


def test_nothing_survives_the_death_of_the_dispatcher(tmp_path: Path, marker: str) -> None:
    everything = " ".join(SURVIVORS.values())
    program = textwrap.dedent(f"""
        import os, trio
        from pathlib import Path
        from stratum_git.agents.supervise import supervise
        async def main():
            command = ["sh", "-c", {everything + " touch up; sleep 986"!r}]
            log = Path({str(tmp_path / "log")!r})
            await supervise(command, cwd=log.parent, env=dict(os.environ), log=log, grace=0.3)
        trio.run(main)
    """)
    holder = subprocess.Popen([sys.executable, "-c", program], env=os.environ | env_with(marker))
    end = time.monotonic() + 10
    while not (tmp_path / "up").exists() and time.monotonic() < end:
        time.sleep(0.02)

    holder.kill()
    holder.wait()

    assert wait_until_dead(marker) == []


async def test_a_program_that_does_not_exist_is_said_so(tmp_path: Path, marker: str) -> None:
    ended = await supervise(["/no/such/program"], cwd=tmp_path, env=env_with(marker), log=tmp_path / "log")
    assert ended == Unstartable("/no/such/program: No such file or directory")


async def test_a_folder_that_does_not_exist_is_said_so(tmp_path: Path, marker: str) -> None:
    ended = await supervise(["true"], cwd=tmp_path / "no", env=env_with(marker), log=tmp_path / "log")
    assert isinstance(ended, Unstartable)


async def test_a_signal_and_a_code_are_told_apart(tmp_path: Path, marker: str) -> None:
    killed = await shell(tmp_path, "kill -9 $$", marker)
    failed = await shell(tmp_path, "exit 7", marker)

    assert isinstance(killed, Signalled)
    assert killed.signal == 9
    assert isinstance(failed, Exited)
    assert failed.code == 7


async def test_input_is_the_file_or_nothing(tmp_path: Path, marker: str) -> None:
    (tmp_path / "in").write_text("words")

    given = await shell(tmp_path, "cat", marker, stdin=tmp_path / "in")
    nothing = await shell(tmp_path, "cat", marker)

    assert isinstance(given, Exited)
    assert given.tail == b"words"
    assert isinstance(nothing, Exited)
    assert nothing.tail == b""


async def test_a_flood_of_output_is_bounded(tmp_path: Path, marker: str) -> None:
    script = "head -c 60000000 /dev/zero; echo; echo the end; head -c 3000000 /dev/zero >&2"

    ended = await shell(tmp_path, script, marker, log_limit=1_000_000)

    assert isinstance(ended, Exited)
    assert ended.tail.endswith(b"\nthe end\n")
    assert len(ended.tail) <= 1024 * 1024
    log = (tmp_path / "log").read_bytes()
    assert len(log) < 1_100_000
    assert b"bytes are left out here" in log
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


async def test_the_last_line_is_shown_as_plain_text(tmp_path: Path, marker: str) -> None:
    lines: list[str] = []
    script = r"printf 'one\n\033[31mred\033[0m \033]0;title\007two\001\n'; sleep 0.3; printf 'caf\351 last'"

    await shell(tmp_path, script, marker, on_line=lines.append)

    assert lines == ["red two", "caf\ufffd last"]


async def test_each_attempt_leads_a_session_of_its_own(tmp_path: Path, marker: str) -> None:
    ended = await shell(tmp_path, "ps -o sid= -p $$; echo $$", marker)

    assert isinstance(ended, Exited)
    session, own = ended.tail.split()
    assert session == own
    assert int(session) != os.getsid(0)
