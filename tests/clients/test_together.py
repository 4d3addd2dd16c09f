"""Several clients at once on one repository: each does its flow, or all of them one."""

from __future__ import annotations

import pytest

from tests.clients.around import assert_landed, assert_nothing_left, gates, told
from tests.clients.conftest import Move
from tests.clients.story import PAGES, PROMPT, script
from tests.support.clients import until

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("version", ["latest", "older"])
def test_two_clients_do_two_flows(claude: Move, version: str) -> None:
    house = claude(version, script((*PAGES, "uno", "due", "tre")))
    house.install()
    since = house.repo.head()
    runs = [house.claude(PROMPT), house.claude("Write these pages: uno due tre.")]
    until(lambda: any(run.is_over() for run in runs) or len(gates(house)) == 2, "two gates")
    assert not any(run.is_over() for run in runs), [run.told() for run in runs]
    for gate in gates(house):
        assert house.shell.run("gate", "approve", gate["flow_id"], gate["step_id"]).code == 0
    for run in runs:
        assert run.wait().result["result"] == "All is done: the pages.", run.told()

    wrote = house.repo.git("log", "--format=%s", f"{since}..main").splitlines()
    assert sorted(wrote) == sorted(
        f"{page}: Write the page {page}." for page in (*PAGES, "uno", "due", "tre")
    )
    assert house.repo.git("status", "--porcelain") == ""
    for flow in house.shell.flows():
        assert_nothing_left(house, flow)
        assert told(house, flow)[-1] == "client: tell: done"


@pytest.mark.parametrize("version", ["latest", "older"])
def test_two_clients_take_up_one_flow(claude: Move, version: str) -> None:
    """Both are told the same; what one has reported, the other is told is done."""
    house = claude(version, script())
    house.install()
    since = house.repo.head()
    first = house.claude(PROMPT)
    until(lambda: first.is_over() or house.api.to("worker-two"), "work")
    first.kill()
    house.api.asked.clear()
    runs = [house.claude("Please go on."), house.claude("Please go on.")]
    until(lambda: any(run.is_over() for run in runs) or gates(house), "a gate")
    assert not any(run.is_over() for run in runs), [run.told() for run in runs]
    (gate,) = gates(house)
    assert house.shell.run("gate", "approve", gate["flow_id"], gate["step_id"]).code == 0
    for run in runs:
        assert run.wait().result["result"] == "All is done: the pages.", run.told()
    assert_landed(house, since)
    assert_nothing_left(house, gate["flow_id"])
    assert told(house, gate["flow_id"])[-1] == "client: tell: done"
