"""Calls of every tool of a server with arguments that fit its schema, and with others."""

from __future__ import annotations

import random
from typing import Any

import trio

from tests.soak.fuzz import SPEC, VALUES, Tally, mutated, some_json
from tests.support.portal import Portal

BAD = ("internal error", "traceback", "a mistake of stratum-git")
NOT_NOW = frozenset({"stratum_parallel_wait"})
"""What waits for half a minute when it is told to."""


def call_wildly(server: Portal, draw: random.Random, count: int) -> Tally:
    """Calls tools at random; each call is to be answered, and the server to go on."""
    tally = Tally()
    tools = trio.from_thread.run(_tools, server, trio_token=server.token)
    for _ in range(count):
        name, schema = draw.choice([tool for tool in tools if tool[0] not in NOT_NOW])
        given = arguments(draw, schema)
        tally.try_one(f"{name}", given, lambda name=name, given=given: _call(server, name, given))  # type: ignore[misc]
    return tally


def arguments(draw: random.Random, schema: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments, most of them of the right type."""
    found = {}
    for name, facts in schema.get("properties", {}).items():
        if draw.random() < 0.9:
            found[name] = _value(draw, name, facts.get("type"))
    if draw.random() < 0.05:
        found["no_such"] = some_json(draw)
    return found


def _value(draw: random.Random, name: str, kind: str | None) -> object:
    if draw.random() < 0.15:
        return some_json(draw)
    match kind:
        case "string" if name == "spec":
            return mutated(draw, SPEC)
        case "string":
            return draw.choice([value for value in VALUES if isinstance(value, str)])
        case "integer":
            return draw.choice((-1, 0, 1, 2**31, 2**70))
        case "number":
            return draw.choice((-1, 0, 0.01, 0.1))
        case "boolean":
            return draw.random() < 0.5
        case "array":
            return [some_json(draw) for _ in range(draw.randrange(3))]
        case "object":
            return {"a": some_json(draw), "tasks": some_json(draw)}
        case _:
            return some_json(draw)


async def _tools(server: Portal) -> list[tuple[str, dict[str, Any]]]:
    listed = await server.client.list_tools()
    return [(tool.name, tool.input_schema) for tool in listed.tools]


def _call(server: Portal, name: str, given: dict[str, Any]) -> None:
    async def ask() -> str:
        with trio.fail_after(30):
            try:
                answer = await server.client.call_tool(name, given)
            except Exception as error:  # noqa: BLE001 - a refusal of the protocol is an answer
                return str(error)
            return "".join(getattr(part, "text", "") for part in answer.content)

    said: str = trio.from_thread.run(ask, trio_token=server.token)
    assert not any(word in said.lower() for word in BAD), said[:500]
