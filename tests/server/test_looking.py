"""What a client can look at: resources, prompts, events as they come, and whether all is well."""

from __future__ import annotations

import json

import trio
from mcp.types import TextContent, TextResourceContents

from stratum_git.app.skills import shipped_skills
from stratum_git.server.build import INSTRUCTIONS, SETS
from tests.support.client import call, client_of
from tests.support.shell import Shell

SPEC = """
version: "0.3"
flows:
  m:
    input: {}
    steps: [{id: a, intent: do}, {id: b, intent: do, depends_on: [a]}]
"""


def test_the_instructions_are_short_enough_for_every_client() -> None:
    assert len(INSTRUCTIONS) <= 2000


async def test_flows_can_be_read_and_prompts_be_had(shell: Shell) -> None:
    async with client_of(shell) as client:
        flow = (await call(client, "stratum_plan", spec=SPEC, flow="m", inputs={}))["flow_id"]
        (read,) = (await client.read_resource(f"stratum://flow/{flow}")).contents
        assert isinstance(read, TextResourceContents)
        found = json.loads(read.text)
        assert (found["state"]["current_step_id"], found["audit"]["status"]) == ("a", "in_progress")
        (listed,) = (await client.read_resource("stratum://flows")).contents
        assert isinstance(listed, TextResourceContents)
        assert [row["flow_id"] for row in json.loads(listed.text)] == [flow]
        prompts = (await client.list_prompts()).prompts
        assert {prompt.name for prompt in prompts} == {skill.name for skill in shipped_skills()}
        said = (await client.get_prompt("stratum-feature", {"goal": "a {goal}"})).messages[0].content
        assert isinstance(said, TextContent)
        assert "Feature: a {goal}" in said.text
        assert "parallel_dispatch" in said.text


async def test_events_are_waited_for(shell: Shell) -> None:
    async with client_of(shell) as client, client_of(shell) as other:
        flow = (await call(client, "stratum_plan", spec=SPEC, flow="m", inputs={}))["flow_id"]
        first = await call(client, "stratum_events", flow_id=flow)
        assert (first["cursor"], first["total"]) == (1, 1)
        none = await call(client, "stratum_events", flow_id=flow, cursor=1, wait_seconds=0.2)
        assert none["events"] == []
        heard = {}

        async def listen() -> None:
            nonlocal heard
            heard = await call(other, "stratum_events", flow_id=flow, cursor=1, wait_seconds=20)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(0.3)
            await call(client, "stratum_step_done", flow_id=flow, step_id="a", result={})
        assert [event["trailers"]["Stratum-Event"] for event in heard["events"]] == ["Answered"]


async def test_the_doctor_finds_what_is_wrong(shell: Shell) -> None:
    async with client_of(shell) as client:
        well = await call(client, "stratum_doctor")
        assert (well["verdict"], [f["verdict"] for f in well["findings"] if f["verdict"] == "fail"]) == (
            "ok",
            [],
        )
        shell.repo.write(".stratum/config.yaml", "agents: {gone: {command: [/no/such/program]}}\n")
        ill = await call(client, "stratum_doctor")
        assert ill["verdict"] == "fail"
        assert [f["check"] for f in ill["findings"] if f["verdict"] == "fail"] == ["agent gone"]
    assert shell.run("doctor").code == 1
    assert json.loads(shell.run("doctor", "--json").out)[0]["check"] == "program"


async def test_only_the_tools_that_are_asked_for_are_served(shell: Shell) -> None:
    async with client_of(shell, words=("--toolsets", "workers")) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert names == {f"stratum_task_{verb}" for verb in ("claim", "renew", "complete", "abandon")}
    said = shell.run("mcp", "--toolsets", "nonsense")
    assert said.code == 2
    assert all(name in said.err for name in SETS)
