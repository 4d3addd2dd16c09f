"""How the server begins and ends: at once, in order, with nothing but messages on its output."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from tests.support.client import raw
from tests.support.shell import Shell

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "0"},
    },
}


def greeted(server: subprocess.Popen[bytes], *messages: object) -> dict[str, object]:
    assert server.stdin is not None
    assert server.stdout is not None
    for message in messages or (HELLO,):
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        server.stdin.write(data + b"\n")
    server.stdin.flush()
    answer: dict[str, object] = json.loads(server.stdout.readline())
    return answer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_at_once(shell: Shell, number: signal.Signals) -> None:
    with raw(shell) as server:
        assert greeted(server)["id"] == 1
        began = time.monotonic()
        server.send_signal(number)
        assert server.wait(timeout=5) == 0
        assert time.monotonic() - began < 1.5
        assert server.stderr is not None
        assert server.stderr.read() == b""


def test_the_end_of_its_input_ends_it(shell: Shell) -> None:
    with raw(shell) as server:
        greeted(server)
        out, err = server.communicate(timeout=5)
        assert (server.returncode, out, err) == (0, b"", b"")


def test_it_says_who_it_is(shell: Shell) -> None:
    with raw(shell) as server:
        answer = greeted(server)
        server.communicate(timeout=5)
    result = answer["result"]
    assert isinstance(result, dict)
    assert result["serverInfo"]["name"] == "stratum-git"
    assert "stratum_plan" in result["instructions"]
    assert len(result["instructions"]) <= 2000


def test_nonsense_between_the_messages_is_no_reason_to_end(shell: Shell) -> None:
    with raw(shell) as server:
        answer = greeted(server, b"nonsense", b"", b"\xff\xfe", b'{"jsonrpc": "2.0"}', HELLO)
        assert server.poll() is None
        assert answer["jsonrpc"] == "2.0"
        server.communicate(timeout=5)
    assert server.returncode == 0
