"""How a program's end is told, what it is given, and what is kept of its output. Real processes."""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys
from pathlib import Path

import pytest
import trio

from stratum_git.agents.output import TAIL
from stratum_git.agents.supervise import Exit, Exited, Signalled, TimedOut, Unstartable, supervise
from stratum_git.errors import HostError
from stratum_git.spawn.orphans import own_mark
from stratum_git.spawn.tether import AIMED_ASIDE
from tests.support.programs import open_descriptors

MIB = 1024 * 1024
ENV = {"PATH": os.defpath, "LANG": "C"}


async def run(tmp_path: Path, *command: str, timeout: float | None = 30.0, log_limit: int = MIB) -> Exit:
    log = tmp_path / "logs" / "log"
    return await supervise(command, cwd=tmp_path, env=ENV, log=log, timeout=timeout, log_limit=log_limit)


async def exited(tmp_path: Path, script: str) -> Exited:
    ended = await run(tmp_path, "sh", "-c", script)
    assert isinstance(ended, Exited)
    return ended


@pytest.mark.parametrize("code", [0, 1, 127, 255])
async def test_an_exit_code_is_passed_on(tmp_path: Path, code: int) -> None:
    ended = await exited(tmp_path, f"echo out; echo err >&2; exit {code}")
    assert (ended.code, ended.tail, ended.errors, ended.leftovers) == (code, b"out\n", b"err\n", 0)


@pytest.mark.parametrize("name", ["KILL", "TERM", "PIPE", "XFSZ", "HUP", "INT"])
async def test_the_signal_that_ended_a_program_is_told(tmp_path: Path, name: str) -> None:
    ended = await run(tmp_path, "sh", "-c", f"echo before; kill -{name} $$; echo after")
    assert isinstance(ended, Signalled)
    assert (f"SIG{name}", ended.tail) == (signal_name(ended.signal), b"before\n")


def signal_name(number: int) -> str:
    import signal

    return signal.Signals(number).name


async def test_a_program_is_ended_at_its_deadline(tmp_path: Path) -> None:
    ended = await run(tmp_path, "sh", "-c", "echo begun; exec sleep 300", timeout=0.5)
    assert ended == TimedOut(0.5, b"begun\n", b"", "begun")


async def test_a_program_that_does_not_exist_is_unstartable(tmp_path: Path) -> None:
    assert await run(tmp_path, "no-such-program") == Unstartable("no-such-program: No such file or directory")


async def test_a_program_that_may_not_be_run_is_unstartable(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    assert await run(tmp_path, "./plain") == Unstartable("./plain: Permission denied")


async def test_a_file_that_is_no_program_is_unstartable(tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("no program")
    (tmp_path / "odd").chmod(0o755)
    assert await run(tmp_path, "./odd") == Unstartable("./odd: Exec format error")


async def test_an_empty_command_is_unstartable(tmp_path: Path) -> None:
    assert await run(tmp_path) == Unstartable("the command is empty")


async def test_a_word_that_no_program_can_be_given_is_unstartable(tmp_path: Path) -> None:
    expected = Unstartable("echo: embedded null byte in the command or its environment")
    assert await run(tmp_path, "echo", "a\0b") == expected


async def test_a_word_that_is_too_long_is_unstartable(tmp_path: Path) -> None:
    expected = Unstartable("echo: the command and its environment are too long")
    assert await run(tmp_path, "echo", "x" * MIB) == expected


@pytest.mark.parametrize("name", ["missing", "file"])
async def test_a_program_cannot_start_where_no_directory_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    ended = await run(tmp_path / name, "true")
    assert ended == Unstartable(f"there is no directory {tmp_path / name}")


async def test_a_log_that_cannot_be_made_is_the_host_s_failure(tmp_path: Path) -> None:
    (tmp_path / "logs" / "log").mkdir(parents=True)
    with pytest.raises(HostError, match="the log cannot be made"):
        await run(tmp_path, "true")


async def test_a_log_that_cannot_be_written_ends_the_program(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    try:
        with pytest.raises(HostError, match="cannot be written: File too large"):
            await run(tmp_path, "sh", "-c", "head -c 3000000 /dev/zero; sleep 300", log_limit=8 * MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_input_is_the_given_file_or_nothing(tmp_path: Path) -> None:
    source = tmp_path / "input"
    source.write_text("words")
    for stdin, expected in ((source, b"words"), (None, b"")):
        ended = await supervise(("cat",), cwd=tmp_path, env=ENV, log=tmp_path / "log", stdin=stdin)
        assert isinstance(ended, Exited)
        assert ended.tail == expected


@pytest.mark.parametrize("env", [{"LANG": "C"}, {"LC_CTYPE": "C"}, {"LANG": "C.UTF-8", "A": "ä\n"}, {}])
async def test_the_environment_arrives_as_it_was_given(tmp_path: Path, env: dict[str, str]) -> None:
    ended = await supervise(("env", "-0"), cwd=tmp_path, env=env, log=tmp_path / "log")
    assert isinstance(ended, Exited)
    seen = dict(entry.split("=", 1) for entry in ended.tail.decode().split("\0") if entry)
    assert seen.pop("STRATUM_TETHER").endswith(f" {own_mark()} {tmp_path / 'log'}")
    assert seen == env


async def test_a_program_has_a_session_of_its_own_and_the_directory_it_was_given(tmp_path: Path) -> None:
    ended = await exited(
        tmp_path, "pwd; echo $$; cut -d' ' -f6 /proc/self/stat; grep SigIgn /proc/self/status"
    )
    where, pid, session, ignored = ended.tail.decode().split("\n")[:4]
    assert (where, session) == (str(tmp_path), pid)
    # What this very process ignores for itself is not the program's; what it was told to ignore is.
    rows = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    mine = int(next(row for row in rows if row.startswith("SigIgn:")).split()[1], 16)
    # Its holder listens to those that end a program, and in a session of its own no terminal sends them.
    others = (signal.SIGPIPE, signal.SIGXFSZ, *AIMED_ASIDE)
    told = mine & ~sum(1 << number - 1 for number in others)
    assert ignored.split() == ["SigIgn:", f"{told:016x}"]


async def test_a_program_inherits_its_three_streams_only_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = open_descriptors()
    with (tmp_path / "secret").open("w"):
        ended = await run(tmp_path, "ls", "-l", "/proc/self/fd")
    assert isinstance(ended, Exited)
    lines = ended.tail.decode().splitlines()[1:]
    assert len(lines) == 4, lines  # the fourth is the listing itself
    await run(tmp_path, "no-such-program")
    await run(tmp_path, "echo", "a\0b")
    assert open_descriptors() == before


async def test_a_dispatcher_may_have_more_than_a_thousand_open_files(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2048), before[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        ended = await run(tmp_path, "echo", "fine")
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert isinstance(ended, Exited)
    assert ended.tail == b"fine\n"


async def test_both_streams_are_in_a_log_for_the_owner_alone(tmp_path: Path) -> None:
    await exited(tmp_path, "echo out; echo err >&2")
    log = tmp_path / "logs" / "log"
    assert sorted(log.read_text().splitlines()) == ["err", "out"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


async def test_a_log_does_not_follow_a_link_that_lies_in_its_place(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "log").symlink_to(precious)
    await exited(tmp_path, "echo out")
    assert precious.read_text() == "precious"
    assert (tmp_path / "logs" / "log").read_text() == "out\n"


async def test_a_flood_is_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    size = 200 * MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with trio.fail_after(20):
        ended = await run(tmp_path, "sh", "-c", f"echo first; head -c {size} /dev/zero; echo; echo last")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert isinstance(ended, Exited)
    assert (len(ended.tail), ended.tail[-6:], ended.last_line) == (TAIL, b"\nlast\n", "last")
    assert grown < 30 * 1024
    log = (tmp_path / "logs" / "log").read_bytes()
    left_out = size + len("first\n\nlast\n") - MIB
    assert log[:6] == b"first\n"
    assert log[-6:] == b"\nlast\n"
    assert f"\n[{left_out} bytes are left out here]\n".encode() in log
    assert len(log) < MIB + 100


async def test_an_invalid_and_endless_line_is_told_as_plain_text(tmp_path: Path) -> None:
    told: list[str] = []
    script = r"import sys; sys.stdout.buffer.write(b'\xff\x1b[31m\xfe' * 100_000)"
    ended = await supervise(
        (sys.executable, "-c", script), cwd=tmp_path, env=ENV, log=tmp_path / "log", on_line=told.append
    )
    assert isinstance(ended, Exited)
    assert told == [ended.last_line]
    assert set(ended.last_line) <= {"�", "[", "3", "1", "m"}
    assert len(ended.last_line) == 200


async def test_the_last_line_is_told_even_if_it_is_not_complete(tmp_path: Path) -> None:
    told: list[str] = []
    await supervise(("printf", "one\\ntwo"), cwd=tmp_path, env=ENV, log=tmp_path / "log", on_line=told.append)
    assert told[-1] == "two"


async def test_a_listener_that_breaks_ends_the_program(tmp_path: Path) -> None:
    def broken(line: str) -> None:
        raise ZeroDivisionError(line)

    with pytest.raises(ExceptionGroup) as caught, trio.fail_after(10):
        await supervise(
            ("sh", "-c", "echo line; exec sleep 300"),
            cwd=tmp_path,
            env=ENV,
            log=tmp_path / "log",
            on_line=broken,
        )
    assert caught.group_contains(ZeroDivisionError)


async def test_many_programs_run_side_by_side(tmp_path: Path) -> None:
    ended: dict[int, Exit] = {}

    async def one(number: int) -> None:
        command = ("sh", "-c", f"echo {number}; exit {number}")
        ended[number] = await supervise(command, cwd=tmp_path, env=ENV, log=tmp_path / f"log{number}")

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    told = {n: (e.code, e.tail) for n, e in ended.items() if isinstance(e, Exited)}
    assert told == {n: (n, f"{n}\n".encode()) for n in range(20)}
