"""What somebody else wrote does nothing to a terminal."""

from __future__ import annotations

import io

import pytest

from stratum_git.cli.words import safe, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[2J\r\x9b", "\\x1b[2J\\r\\x9b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        (b"n\xff", "n\ufffd"),
        ("n\udcff", "n\\udcff"),
    ],
)
def test_what_moves_a_cursor_or_cannot_be_printed_is_written_out(text: str | bytes, shown: str) -> None:
    assert safe(text) == shown


def test_a_name_that_is_no_utf_8_can_be_said_to_a_strict_output() -> None:
    to = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    say("n\udcff", to=to)
    to.seek(0)
    assert to.read() == "n\\udcff\n"
