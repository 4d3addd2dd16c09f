"""The stand-in for the Responses API: the same scripts, said in other words."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any

from stratum_git.fakes.loopback import Loopback
from stratum_git.fakes.responses_api import serve

PROMPT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "WORK"}]}
AROUND = {"type": "message", "role": "user", "content": "<environment_context>x</environment_context>"}
ORDERS = {"type": "message", "role": "developer", "content": "BE GOOD"}
CALL = {"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{}"}
SPACE = {"type": "namespace", "name": "mcp__stratum", "tools": [{"name": "stratum_plan"}]}


def ask(api: Loopback, items: list[dict[str, Any]], **more: Any) -> tuple[int, Any]:
    wire = HTTPConnection("127.0.0.1", api.port, timeout=5)
    try:
        body = {"model": "m", "input": items, "tools": [SPACE], **more}
        wire.request("POST", "/v1/responses", json.dumps(body))
        answer = wire.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if not more.get("stream") else text
    finally:
        wire.close()


def test_calls_follow_calls_and_take_values_from_results() -> None:
    call = {
        "type": "tool_use",
        "name": "stratum_plan",
        "namespace": "mcp__stratum",
        "input": {"a": "{{at:b}}"},
    }
    lane = {"match": {"first_user": "WORK", "system": "BE GOOD", "has_tool": "mcp__stratum.stratum_plan"}}
    with serve({"lanes": [{**lane, "turns": ["one", [call]]}]}) as api:
        told: list[dict[str, Any]] = [ORDERS, PROMPT, AROUND]
        assert ask(api, told)[1]["output"][0]["content"][0]["text"] == "one"
        output = {"type": "function_call_output", "call_id": "c1", "output": '{"b": 2}'}
        item = ask(api, [*told, CALL, output])[1]["output"][0]
    assert (item["name"], item["namespace"], json.loads(item["arguments"])) == (
        "stratum_plan",
        "mcp__stratum",
        {"a": 2},
    )


def test_a_stream_ends_with_the_whole_answer() -> None:
    with serve([{"text": "hello", "usage": {"input_tokens": 5, "output_tokens": 6}}]) as api:
        status, text = ask(api, [PROMPT], stream=True)
    last = json.loads(text.splitlines()[-2].removeprefix("data: "))
    assert (status, last["type"]) == (200, "response.completed")
    assert last["response"]["usage"]["total_tokens"] == 11
    assert last["response"]["output"][0]["content"][0]["text"] == "hello"


def test_an_error_is_one() -> None:
    with serve([{"error": {"status": 429, "type": "rate_limit", "message": "slow down"}}]) as api:
        assert ask(api, [PROMPT]) == (
            429,
            {"error": {"type": "rate_limit", "code": None, "message": "slow down"}},
        )
