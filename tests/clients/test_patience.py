"""A client that gives a call up, or is told more than it shows, goes on; the server is the same as before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from stratum_git.fakes.conversation import Conversation
from stratum_git.fakes.messages_api import Messages
from stratum_git.fakes.scripting import Turn
from tests.clients.conftest import Move
from tests.clients.story import SPEC, Block, claudes, row_of
from tests.support.clients import House

pytestmark = pytest.mark.soak
VERSIONS = pytest.mark.parametrize("version", ["latest", "legacy", "older"])


def call(tool: str, **given: Any) -> Block:
    return {"type": "tool_use", **claudes(f"stratum_{tool}"), "input": given}


def answers(house: House) -> list[tuple[bool, str]]:
    """Returns what the model was told: whether it was an error, and the words."""
    told = Messages().reads(house.api.to("main")[-1].body)
    return [(one.is_error, one.text) for one in told.results]


def script(*calls: Block) -> Mapping[str, Any]:
    """Returns a script of these calls; one that came before the server was there is made again."""

    def is_early(words: str) -> bool:
        return "till connecting" in words or "No such tool" in words

    def play(told: Conversation) -> Turn:
        if is_early(told.last_tool_result):
            return [{"type": "tool_use", "name": "WaitForMcpServers", "input": {}}]
        made = [one for one in told.results if row_of(one) or (one.is_error and not is_early(one.text))]
        return [calls[len(made)]] if len(made) < len(calls) else "done"

    return {"lanes": [{"name": "main", "play": play}]}


@VERSIONS
def test_a_call_that_is_given_up_hinders_no_other(claude: Move, version: str) -> None:
    begin = call("plan", spec=SPEC, flow="pages", inputs={"goal": "x"})
    wait = call("events", flow_id="{{at:flow_id}}", cursor=1000, wait_seconds=30)
    house = claude(version, script(begin, wait, call("flows")))
    house.more = {**house.more, "MCP_TOOL_TIMEOUT": "3000"}
    house.install()
    run = house.claude("Wait for nothing.").wait()
    assert run.result["result"] == "done", run.told()
    (gave_up, words), (failed, flows) = answers(house)[-2:]
    assert (gave_up, failed) == (True, False), words
    assert "timed out" in words.lower()
    assert '"current_step_id":"plan"' in flows


@VERSIONS
def test_a_fan_out_of_very_many_is_told_in_the_conversation(claude: Move, version: str) -> None:
    dispatch = (
        "type: parallel_dispatch, source: $.input.tasks, intent_template: '{task.text}', max_concurrent: 9"
    )
    flow = f"{{input: {{tasks: {{type: array}}}}, steps: [{{id: s, {dispatch}}}]}}"
    text = f"version: '0.4'\nflows: {{m: {flow}}}\n"
    tasks = [{"id": f"t{n}", "text": "some words " * 40} for n in range(400)]
    house = claude(version, script(call("plan", spec=text, flow="m", inputs={"tasks": tasks})))
    house.install()
    run = house.claude("Plan it.").wait()
    assert run.result["result"] == "done", run.told()
    words = next(words for failed, words in answers(house) if not failed and "parallel_dispatch" in words)
    assert '"batch":[{"task_id":"t0"' in words
    assert "saved to" not in words
