"""Secret values are found in any form that they usually take, wherever a stream is cut."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.agents.base import AgentFailed, AgentSpec, Assignment, Finished
from stratum_git.agents.command import CommandAgent
from stratum_git.agents.secrets import NONE, Redactor, Secrets, secrets_of, sounds_secret
from stratum_git.model.ids import Oid

VALUE = 'sk-ant/"q+é=~0123'
PEM = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEAabcdefgh\nqrstuvwxyz0123456789ABCD\n-----END KEY-----"


def made(**values: str) -> Secrets:
    return secrets_of([AgentSpec("a", ("x",), secrets=tuple(values))], values)


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        f"say {VALUE} and {VALUE}",
        json.dumps({"a": VALUE}),
        json.dumps({"a": VALUE}, ensure_ascii=False),
        json.dumps(json.dumps({"a": VALUE})),
        quote(VALUE),
        quote(VALUE, safe=""),
        VALUE.encode().hex(),
        *(base64.b64encode(b"x" * n + VALUE.encode() + b"y" * n).decode() for n in range(4)),
        base64.urlsafe_b64encode(f"u:{VALUE}".encode()).decode(),
    ],
)
def test_a_value_is_hidden_however_it_is_written(text: str) -> None:
    shown = made(API=VALUE).hidden_text(text)

    assert "[API]" in shown
    assert VALUE not in shown
    assert "ant" not in shown


def test_a_line_of_a_key_is_hidden_too() -> None:
    hidden = made(PEM=PEM).hidden_text("2: MIIEpAIBAAKCAQEAabcdefgh\n3: other")

    assert hidden == "2: [PEM]\n3: other"


@given(
    st.lists(
        st.sampled_from(["abcabd", "abcabdabcabd", "bdabca", "x", "ab", "abc", "\n", "aabcab"]), max_size=12
    ),
    st.lists(st.integers(1, 5), min_size=1),
)
def test_a_stream_is_the_same_wherever_it_is_cut(parts: list[str], cuts: list[int]) -> None:
    secrets = Secrets({b"abcabd": "A", b"abcabdabcabd": "AA", b"bdabca": "B"})
    text = "".join(parts).encode()
    redactor, out, at = Redactor(secrets), b"", 0
    for turn in range(len(text)):
        size = cuts[turn % len(cuts)]
        out += redactor.feed(text[at : at + size])
        at += size
    out += redactor.feed(text[at:]) + redactor.close()

    assert out == secrets.hidden(text)
    assert b"abcabd" not in out


def test_only_what_may_be_a_value_is_held_back() -> None:
    redactor = Redactor(made(API="secret-value"))

    assert redactor.feed(b"line one\nsecret") == b"line one\n"
    assert redactor.feed(b" service\n") == b"secret service\n"
    assert redactor.feed(b"secret-") + redactor.feed(b"value\n") == b"[API]\n"


def test_values_in_json_are_hidden_at_any_depth() -> None:
    secrets = made(API="hunter22", PIN="123456")

    assert secrets.hidden_json({"a": ["x hunter22"], "hunter22": 1, "n": 123456, "t": True}) == {
        "a": ["x [API]"], "[API]": 1, "n": "[PIN]", "t": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("API_KEY", True), ("key", True), ("GITHUB_TOKEN", True), ("DB_PASSWORD", True),
        ("AWS_CREDENTIAL", True),
        ("MAX_TOKENS", False), ("MONKEY", False), ("KEYBOARD", False), ("MODEL", False),
    ],
)  # fmt: skip
def test_a_name_says_whether_its_value_is_secret(name: str, *, secret: bool) -> None:
    spec = AgentSpec("a", ("x",), env={name: "something-long"})

    assert sounds_secret(name) is secret
    assert bool(secrets_of([spec], {})) is secret


def test_what_is_too_short_to_be_told_apart_is_refused() -> None:
    spec = AgentSpec("a", ("sh",), secrets=("PIN", "UNSET"))

    assert secrets_of([spec], {"PIN": "1234"}) == NONE
    problem = CommandAgent(spec, {**os.environ, "PIN": "1234"}).problem()
    assert problem == "the secret PIN of the agent a is too short to be told from other words"
    assert CommandAgent(spec, dict(os.environ)).problem() is None


def assigned(tmp_path: Path) -> Assignment:
    (tmp_path / "slot").mkdir()
    return Assignment(
        flow="f", step="s", task="t", attempt=1, base=Oid("b" * 40), branch=None, intent="Do it.",
        slot=tmp_path / "slot", folder=tmp_path / "folder", timeout=30.0,
    )  # fmt: skip


def agent(script: str) -> CommandAgent:
    environment = {**os.environ, "API": VALUE}
    spec = AgentSpec("tester", ("sh", "-c", script), secrets=("API",))
    return CommandAgent(spec, environment, secrets_of([spec], environment))


async def test_nothing_that_comes_back_from_an_agent_has_it(tmp_path: Path) -> None:
    lines: list[str] = []
    pieces = 'echo "$API"; echo "$API" >&2; printf %s "${API%23}"; sleep 0.2; echo 23'
    result = (
        """; python3 -c 'import json,os; print(json.dumps({"a": os.environ["API"]}))' >$STRATUM_RESULT_FILE"""
    )
    found = await agent(pieces + result).run(assigned(tmp_path), lines.append)

    assert isinstance(found, Finished)
    assert found.output == {"a": "[API]"}
    assert found.text_tail.splitlines() == ["[API]", "[API]"]
    assert set(lines) == {"[API]"}
    kept = {path.name: path.read_text() for path in (tmp_path / "folder").iterdir()}
    assert kept["output.log"].splitlines() == ["[API]"] * 3
    assert kept["result.json"] == '{"a": "[API]"}\n'


async def test_nor_has_the_reason_why_it_failed(tmp_path: Path) -> None:
    found = await agent('printf "bad \\033[1m%s\\033[0m" "$API" >&2; exit 3').run(assigned(tmp_path), print)

    assert isinstance(found, AgentFailed)
    assert found.reason == "tester exited with 3: bad [API]"
