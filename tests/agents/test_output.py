"""The bounds of what is kept, and the text that is shown. No processes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.agents.output import (
    ESCAPES,
    PAUSE,
    LastLine,
    LogFile,
    Tail,
    plain,
    plain_text,
    replace_private,
)


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30))
def test_a_tail_is_the_end_of_the_stream(parts: list[bytes], limit: int) -> None:
    tail = Tail(limit)
    for part in parts:
        tail.add(part)
    assert tail.value() == b"".join(parts)[-limit:]


@pytest.mark.parametrize(("size", "left_out"), [(0, 0), (99, 0), (100, 0), (101, 1), (5000, 4900)])
def test_a_log_drops_the_middle_and_says_so(tmp_path: Path, size: int, left_out: int) -> None:
    data = bytes(65 + i % 26 for i in range(size))
    log = LogFile(tmp_path / "log", 100)
    for start in range(0, size, 7):
        log.add(data[start : start + 7])
    log.close()
    note = f"\n[{left_out} bytes are left out here]\n".encode() if left_out else b""
    kept = data if not left_out else data[:50] + note + data[-50:]
    assert (tmp_path / "log").read_bytes() == kept


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0;2;0;0;0\x1b\\after", "after"),
        (b"\x1b(Bcharset\x1b7\x1b=", "charset"),
        ("\x9b31mred".encode(), "red"),
        (b"cut \x1b[38;5", "cut"),
        (b"a\tb\x00c\x08d", "a bcd"),
        ("left\u202eright\u200b".encode(), "leftright"),
        (b"\xff\xfe", "��"),
        ("ünïcödé 漢字 🎉".encode(), "ünïcödé 漢字 🎉"),
        (b"x" * 500, "x" * 200),
        (b"\x1b" * 9, ""),
    ],
)
def test_a_shown_line_is_plain(raw: bytes, shown: str) -> None:
    assert plain(raw) == shown


@given(st.binary(max_size=60))
def test_whatever_is_shown_is_printable(raw: bytes) -> None:
    text = plain(raw)
    assert text.isprintable()
    assert len(text) <= 200


@pytest.mark.parametrize(
    "text", ["plain", "tab\tand\x0bmore", "a\x00b\x85c\xa0d", "\x1b[1mé\u2003\u200b\x07"]
)
def test_what_is_shown_is_the_same_on_the_short_way(text: str) -> None:
    without = ESCAPES.sub("", text)
    wanted = "".join(" " if c.isspace() else c for c in without if c.isprintable() or c.isspace())
    assert plain(b"<" + text.encode() + b">") == f"<{wanted}>"


def test_plain_text_keeps_its_lines() -> None:
    assert plain_text(b"\x1b[1mone \x1b[0m\r\n\n  two\n") == "one\n\n  two"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"one\ntwo\n", "two"),
        (b"one\ntwo", "one"),
        (b" 10%\r 20%\r 30", "20%"),
        (b"one\n\n \n", "one"),
        (b"x" * 20_000 + b"\ny", "x" * 200),
    ],
)
async def test_the_last_complete_line_is_told(
    data: bytes, line: str, autojump_clock: trio.testing.MockClock
) -> None:
    assert await told([(0, data)]) == [line]


async def test_the_stream_that_spoke_last_is_told(autojump_clock: trio.testing.MockClock) -> None:
    assert await told([(0, b"out\n"), (1, b"err\n")]) == ["err"]
    assert await told([(1, b"err\n"), (0, b"half")]) == ["err"]


async def test_lines_of_two_streams_are_not_mixed(autojump_clock: trio.testing.MockClock) -> None:
    assert await told([(0, b"half "), (1, b"err\n"), (0, b"whole\n")]) == ["half whole"]


async def told(parts: list[tuple[int, bytes]]) -> list[str]:
    lines: list[str] = []
    last = LastLine(lines.append)
    for stream, data in parts:
        last.add(stream, data)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(last.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return lines


async def test_lines_are_told_ten_times_a_second_and_the_last_one_always(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lines: list[tuple[float, str]] = []
    start = trio.current_time()
    last = LastLine(lambda line: lines.append((trio.current_time() - start, line)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(last.run)
        for number in range(1000):
            last.add(0, b"%d\n" % number)
            await trio.sleep(0.001)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert len(lines) == 11
    assert all(b - a >= PAUSE - 1e-9 for (a, _), (b, _) in pairwise(lines))
    # Not only when the program speaks again: it may be silent for an hour now.
    assert lines[-1][1] == "999"
    assert lines[-1][0] < 1.2


def test_the_very_last_line_is_told_at_the_end() -> None:
    lines: list[str] = []
    last = LastLine(lines.append)
    last.add(0, b"one\ntwo")
    assert last.close() == "two"
    assert lines == ["two"]


def test_a_private_file_replaces_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    replace_private(tmp_path / "file", b"data")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "file").read_bytes() == b"data"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["file", "symlink", "hard link", "folder"])
def test_a_log_that_goes_on_follows_no_link(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "log", tmp_path / "other"
    other.write_bytes(b"of somebody else\n")
    match kind:
        case "file":
            path.write_bytes(b"before\n")
        case "symlink":
            path.symlink_to(other)
        case "hard link":
            path.hardlink_to(other)
        case _:
            path.mkdir()
            with pytest.raises(OSError, match="directory"):
                LogFile(path, 100, goes_on=True)
            return
    log = LogFile(path, 100, goes_on=True)
    log.add(b"and then more\n")
    log.close()

    assert other.read_bytes() == b"of somebody else\n"
    assert path.read_bytes() == (b"before\n" if kind == "file" else b"") + b"and then more\n"
