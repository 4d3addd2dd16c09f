"""Streams of lines: cut anywhere, of any length, with anything in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_git.agents.claude_events import Run
from stratum_git.agents.output import LogFile, Output
from stratum_git.agents.secrets import Secrets
from stratum_git.agents.stream import Lines, Story, event_of, number

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "type",
        "subtype",
        "message",
        "content",
        "usage",
        "event",
        "error",
        "permission_denials",
        "id",
        "name",
        "input",
        "rate_limit_info",
        "resetsAt",
        "status",
        "retry_delay_ms",
        "error_status",
        "result",
        "errors",
        "structured_output",
        "session_id",
        "parent_tool_use_id",
        "input_tokens",
        "output_tokens",
        "modelUsage",
    ]
)
TYPES = st.sampled_from(["system", "assistant", "user", "result", "stream_event", "rate_limit_event"])
SUBTYPES = st.sampled_from(["init", "api_retry", "success", "error_max_turns"])
INNER = st.dictionaries(NAMES, JSON, max_size=4)


@pytest.fixture(autouse=True)
def _tethers() -> None:
    """Nothing is started here."""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(min_value=1, max_value=20))
def test_lines_are_the_same_however_they_arrive(pieces: list[bytes], longest: int) -> None:
    whole = b"".join(pieces)
    lines = Lines(longest)

    found = [line for piece in pieces for line in lines.feed(piece)] + lines.over()

    wanted = whole.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    assert found == [line if len(line) <= longest else None for line in wanted]


def test_what_is_told_and_what_is_kept_are_two_things() -> None:
    story = Story(lambda line: None if line == b"piece" else [line.decode().upper(), "and more"])

    assert story.feed(b"one\npie") == (b"one\n", b"ONE\nand more\n")
    assert story.feed(b"ce\nla") == (b"", b"")
    assert story.over() == (b"la\n", b"LA\nand more\n")
    assert story.over() == (b"", b"")


def test_a_line_that_is_too_long_is_left_out_and_told() -> None:
    lines = Lines(4)

    assert lines.feed(b"12345") == []
    assert lines._held == []
    assert lines.feed(b"6\nok\n") == [None, b"ok"]


def test_secrets_are_hidden_before_a_line_is_read(tmp_path: Path) -> None:
    heard: list[bytes] = []

    def read(line: bytes) -> list[str]:
        heard.append(line)
        return [line.decode()]

    story = Story(read)
    secrets = Secrets({b"hunter2": "KEY"})
    logs = LogFile(tmp_path / "log", 1000), LogFile(tmp_path / "raw", 1000)
    output = Output(logs[0], lambda _: None, lambda: None, secrets, (story, logs[1]))

    for piece in (b"it is hun", b"ter2\nhunt", b"er2 is it"):
        output.hear(0, piece)
    output.hear(1, b"an error\n")
    output.over()
    output.close()

    assert heard == [b"it is [KEY]", b"[KEY] is it"]
    assert (tmp_path / "raw").read_text() == "it is [KEY]\n[KEY] is it\n"
    assert (tmp_path / "log").read_text() == "it is [KEY]\nan error\n[KEY] is it\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.builds(lambda a, b, c: {**c, "type": a, "subtype": b}, TYPES, SUBTYPES, INNER), max_size=4),
    st.lists(INNER, max_size=3),
)
def test_nothing_that_a_client_may_tell_is_too_odd(rows: list[object], inner: list[object]) -> None:
    run = Run(lambda _: None, lambda: None, tokens=1000)

    for row in rows:
        assert isinstance(row, dict)
        for part in inner or [{}]:
            nested = {**row, "message": part, "event": {"type": "message_delta", "usage": part}}
            for event in (row, nested, {**row, "message": {"content": [part]}}):
                told = run.read(json.dumps(event).encode())
                assert told is None or all(isinstance(line, str) for line in told)


def test_what_is_no_number_counts_as_none() -> None:
    row = event_of(b'{"a": NaN, "b": Infinity, "c": true, "d": "1", "e": 1.5}')

    assert row is not None
    assert [number(value) for value in row.values()] == [0, 0, 0, 0, 1.5]
    assert event_of(b"[1]") is event_of(b'{"a":') is event_of(b"") is event_of(b"{" * 100_000) is None
