"""The stand-in for the Messages API: what it answers, what it refuses, and that it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from stratum_git.errors import UserError
from stratum_git.fakes.loopback import Limits, Loopback
from stratum_git.fakes.messages_api import serve

TOOLS = [{"name": "Bash"}]
PROMPT = {"role": "user", "content": "WORK please"}


def ask(
    api: Loopback, messages: Sequence[Mapping[str, Any]], **more: Any
) -> tuple[int, Any, Mapping[str, str]]:
    body = {"model": "m", "messages": messages, "tools": TOOLS, **more}
    return request(api, "POST", "/v1/messages?beta=true", body)


def request(api: Loopback, method: str, path: str, body: Any = None) -> tuple[int, Any, Mapping[str, str]]:
    wire = HTTPConnection("127.0.0.1", api.port, timeout=5)
    try:
        wire.request(method, path, json.dumps(body) if body is not None else None)
        answer = wire.getresponse()
        text = answer.read().decode()
        plain = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if plain else text, dict(answer.headers)
    finally:
        wire.close()


def used(name: str = "Bash", ident: str = "t1") -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": ident, "name": name, "input": {}}]}


def result(text: str, ident: str = "t1", *, error: bool = False) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": ident, "content": text, "is_error": error}
    return {"role": "user", "content": [block]}


def words(answer: Any) -> str:
    return "".join(block.get("text", "") for block in answer["content"])


def test_a_turn_is_the_number_of_answers_since_the_prompt() -> None:
    with serve(["one", "two", "three"]) as api:
        first = [PROMPT, used(), result("x")]
        again = [*first, {"role": "assistant", "content": "two"}, PROMPT]
        beside = [*again, {"role": "user", "content": "<task-notification>done</task-notification>"}]
        said = [words(ask(api, told)[1]) for told in ([PROMPT], first, first, again, beside)]
    assert said == ["one", "two", "two", "one", "one"]


def test_what_a_client_puts_in_between_is_no_prompt() -> None:
    with serve(["one", "two"]) as api:
        after = {"role": "system", "content": "ORDERS"}
        reminded = result("x")
        reminded["content"].append({"type": "text", "text": "by the way"})
        assert words(ask(api, [PROMPT, after, used(), reminded, after])[1]) == "two"
        assert words(ask(api, [PROMPT, used(), result("x"), PROMPT])[1]) == "one"


def test_the_first_lane_that_fits_answers() -> None:
    lanes = [
        {"name": "worker", "match": {"first_user": "WORK"}, "turns": ["at work"]},
        {"name": "main", "turns": ["planned"], "end": "over"},
    ]
    with serve({"lanes": lanes, "side": "a title"}) as api:
        other = {"role": "user", "content": "plan"}
        assert words(ask(api, [PROMPT])[1]) == "at work"
        assert words(ask(api, [other])[1]) == "planned"
        assert words(ask(api, [other, used(), result("x")])[1]) == "over"
        assert words(ask(api, [other], tools=[])[1]) == "a title"
        assert [(one.lane, one.turn) for one in api.asked] == [
            ("worker", 0),
            ("main", 0),
            ("main", -1),
            ("side", -1),
        ]


def test_templates_take_values_out_of_the_last_results() -> None:
    values = {"id": "{{at:tasks.1.id}}", "all": "{{at:tasks}}", "said": "is {{at:n}} {{re:plain (.*)}}"}
    with serve(["x", {"tool": "Bash", "input": values}]) as api:
        told = [PROMPT, used(), result('{"n": 3, "tasks": [{"id": "a"}, {"id": "b"}]}'), result("plain text")]
        block = ask(api, told)[1]["content"][0]
    assert block["input"] == {"id": "b", "all": [{"id": "a"}, {"id": "b"}], "said": "is 3 text"}


def test_what_a_template_does_not_find_is_told() -> None:
    with serve(["{{at:flow}}"]) as api:
        status, answer, _ = ask(api, [PROMPT])
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert "no tool has just answered JSON with flow" in answer["error"]["message"]


def test_a_lane_may_be_a_function_and_its_failure_is_told() -> None:
    with serve(lambda told: {"text": f"{told.turns} of {told.tools[0]}"}) as api:
        assert words(ask(api, [PROMPT, used(), result("x")])[1]) == "1 of Bash"
    with serve(lambda told: told.tools[7]) as api:
        status, answer, _ = ask(api, [PROMPT])
        assert (status, "IndexError" in answer["error"]["message"]) == (400, True)


def test_when_comes_before_the_turns_and_no_oftener_than_it_says() -> None:
    turns = [{"text": "again", "when": {"is_error": True}, "times": 1}, "first", "second"]
    with serve(turns) as api:
        told = [PROMPT, used(), result("no", error=True)]
        assert [words(ask(api, told)[1]) for _ in range(2)] == ["again", "second"]


def test_errors_are_told_as_often_as_asked() -> None:
    error = {"status": 429, "headers": {"retry-after": "1"}}
    with serve([{"error": error, "times": 1, "then": "better"}]) as api:
        status, answer, headers = ask(api, [PROMPT])
        assert (status, answer["error"]["type"], headers["retry-after"]) == (429, "rate_limit_error", "1")
        assert words(ask(api, [PROMPT])[1]) == "better"
        assert [one.status for one in api.asked] == [429, 200]


def test_a_stream_says_the_same_in_pieces() -> None:
    blocks = ["a" * 4001, {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}}]
    with serve([{"content": blocks, "usage": {"output_tokens": 7}}]) as api:
        events = [
            json.loads(line.removeprefix("data: "))
            for line in ask(api, [PROMPT], stream=True)[1].splitlines()
            if line.startswith("data: ")
        ]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(one.get("text", "") for one in deltas) == "a" * 4001
    assert json.loads("".join(one.get("partial_json", "") for one in deltas)) == {"command": "ls"}
    ended = next(event for event in events if event["type"] == "message_delta")
    assert (ended["delta"]["stop_reason"], ended["usage"]["output_tokens"]) == ("tool_use", 7)
    assert events[-1] == {"type": "message_stop"}


def test_a_stream_can_be_cut() -> None:
    with serve([{"text": "hello", "cut_after": 2}]) as api:
        text = ask(api, [PROMPT], stream=True)[1]
    assert text.count("event: ") == 2


def test_an_answer_waits_for_a_file(tmp_path: Path) -> None:
    asked, wanted = tmp_path / "asked", tmp_path / "go"
    with serve([{"text": "now", "touch": str(asked), "until": str(wanted)}]) as api:
        wire = HTTPConnection("127.0.0.1", api.port, timeout=5)
        wire.request("POST", "/v1/messages", json.dumps({"messages": [PROMPT], "tools": TOOLS}))
        while not asked.exists():
            time.sleep(0.01)
        wanted.touch()
        assert json.loads(wire.getresponse().read())["content"][0]["text"] == "now"
        wire.close()


def test_whoever_wants_elsewhere_is_refused_and_noted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serve(["x"], log=log) as api:
        assert request(api, "CONNECT", "api.anthropic.com:443")[0] == 403
        assert request(api, "GET", "http://example.com/x")[0] == 403
        assert request(api, "POST", "/v1/messages/count_tokens", {"a": 1})[1] == {"input_tokens": 2}
        assert request(api, "GET", "/nothing")[0] == 404
        assert api.refused == ["api.anthropic.com:443", "http://example.com/x"]
        ask(api, [PROMPT])
    written = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(one["path"], one["status"]) for one in written] == [
        ("api.anthropic.com:443", 403),
        ("http://example.com/x", 403),
        ("/v1/messages/count_tokens", 200),
        ("/nothing", 404),
        ("/v1/messages?beta=true", 200),
    ]
    assert written[-1]["body"]["messages"] == [PROMPT]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ({"lanes": [{"turns": [], "macth": {}}]}, "unknown: macth"),
        ([{"txt": "x"}], "unknown: txt"),
        ([{"text": "x", "when": {"first_user": "("}}], "first_user"),
        ({"turns": "x"}, "a list of turns"),
        ({"turns": [], "mode": "any"}, "the mode is one of"),
        ("x", "a script is"),
    ],
)
def test_a_script_that_is_wrong_is_refused(script: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem), serve(script):
        pass


def test_it_ends_by_itself() -> None:
    with serve(["x"], limits=Limits(idle=0.1)) as api:
        assert api.ended.wait(5)


def test_it_ends_with_the_process_that_it_watches(tmp_path: Path) -> None:
    script, port, log = tmp_path / "s.json", tmp_path / "port", tmp_path / "log"
    script.write_text('["x"]', encoding="utf-8")
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    words = ["--script", str(script), "--port-file", str(port), "--log", str(log), "--watch", str(other.pid)]
    fake = subprocess.Popen([sys.executable, "-m", "stratum_git.fakes.messages_api", *words])
    while not port.exists():
        assert fake.poll() is None
        time.sleep(0.02)
    other.communicate(b"\n")
    assert fake.wait(5) == 0
