"""Claude Code does a flow with us: plans it, has subagents work, lands it, waits for a terminal, ends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stratum_git.server.build import INSTRUCTIONS
from tests.clients.around import approved, assert_landed, assert_nothing_left, told
from tests.clients.conftest import Move
from tests.clients.story import PAGES, PROMPT, SERVER, WORKER, script
from tests.support.clients import House


@pytest.mark.parametrize(
    "version",
    ["latest", pytest.param("legacy", marks=pytest.mark.soak), pytest.param("older", marks=pytest.mark.soak)],
)
def test_a_flow_from_plan_to_end(claude: Move, version: str) -> None:
    house = claude(version, script())
    house.install()
    since = house.repo.head()
    run = house.claude(PROMPT)
    flow = approved(house, run)

    assert run.result["result"] == "All is done: the pages."
    assert run.result["permission_denials"] == []
    assert_landed(house, since)
    assert [house.repo.show(f"main:pages/{page}.md") for page in PAGES] == [f"page {page}" for page in PAGES]
    story = told(house, flow)
    assert [line for line in story if not line.startswith("stratum-git: ")] == [
        f"client: Flow {flow}",
        f"client: Start flow pages on main at {since[:10]}",
        "client: plan: done",
        "client: write: 3 tasks reported",
        "Tess Ter: look: approve",
        "client: tell: done",
    ]
    assert (
        f"stratum-git: write: land 3 on main at {house.repo.git('rev-parse', '--short=10', 'main')}" in story
    )
    assert_nothing_left(house, flow)
    _assert_worked_apart(house)
    _assert_words_arrived(house)


def _assert_worked_apart(house: House) -> None:
    """Three subagents, each in a place of its own that is not the user's checkout."""
    prompts = {page: str(house.api.to(f"worker-{page}")[0].body["messages"]) for page in PAGES}
    places = {prompts[page].partition(f"{WORKER} {page} in ")[2].split()[0] for page in PAGES}
    assert len(places) == len(PAGES)
    assert all(Path(place).is_relative_to(house.shell.home / "state") for place in places)


def _assert_words_arrived(house: House) -> None:
    """The model was told all of our instructions, and the schemas of the tools that a flow begins with."""
    asked = [json.dumps(one.body, ensure_ascii=False) for one in house.api.to("main")]
    assert any(json.dumps(INSTRUCTIONS, ensure_ascii=False)[1:-1] in text for text in asked)
    tools = {tool["name"]: tool for tool in house.api.to("main")[-1].body["tools"]}
    for name in ("flows", "resume", "plan", "step_done", "parallel_done", "gate_resolve"):
        assert tools[f"{SERVER}stratum_{name}"]["input_schema"]["type"] == "object"
