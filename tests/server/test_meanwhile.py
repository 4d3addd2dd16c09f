"""While a call takes long, others are answered: a client that has lost patience learns where things are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.server.driven import dispatch, plan, reported, row, spec
from tests.support.portal import Portal
from tests.support.shell import wait_for


def test_a_flow_that_is_landing_can_be_looked_at(server: Portal, tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    check = f"touch {begun}; until test -e {go}; do sleep 0.02; done"
    tasks = {"tasks": [{"id": "slow"}]}
    text = spec(dispatch(land_verify=f'"{check}"')).replace('version: "0.3"', 'version: "0.4"')
    said = plan(server, text, tasks)
    flow = said["flow_id"]
    Path(said["batch"][0]["path"], "slow.txt").write_text("x\n", encoding="utf-8")
    with ThreadPoolExecutor() as others:
        landing = others.submit(reported, server, flow, row("slow"))
        try:
            wait_for(begun)
            status = others.submit(server.call, "stratum_parallel_status", flow_id=flow).result(timeout=5)
            events = others.submit(server.call, "stratum_events", flow_id=flow).result(timeout=5)
            assert not landing.done()
        except TimeoutError:
            pytest.fail("nobody is told anything while it lands")
        finally:
            go.touch()
        assert landing.result(timeout=30)["status"] == "complete"
    assert [task["task_id"] for task in status["tasks"]] == ["slow"]
    assert events["total"] >= 2
