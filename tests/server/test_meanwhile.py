"""While a call takes long, others are answered: a client that has lost patience learns where things are."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stratum_git.app.retelling import words_of
from stratum_git.app.teller import Teller
from stratum_git.git.repository import open_repository
from stratum_git.model.ids import FlowId
from stratum_git.store.flows import Stored, load
from stratum_git.store.told import known_words
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


def stored(server: Portal, flow: str) -> Stored:
    return load(open_repository(server.repo.path), FlowId(flow))[0]


def test_what_a_flow_is_told_as_is_written_down_beside_the_calls(server: Portal) -> None:
    flow = plan(server, spec(dispatch()), {"tasks": [{"id": "one"}]})["flow_id"]
    common, now = str(server.repo.path / ".git"), stored(server, flow)
    # Nobody who calls waits for it.
    deadline = time.monotonic() + 5
    while (told := known_words(common, now.tip)) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told == words_of(now.state)
    assert reported(server, flow, row("one"))["status"] == "complete"
    assert stored(server, flow).tip != now.tip


def test_only_the_last_of_many_events_is_told_and_none_is_missed_at_the_end(
    server: Portal, tmp_path: Path
) -> None:
    flow = plan(server, spec(dispatch()), {"tasks": [{"id": "one"}]})["flow_id"]
    before = stored(server, flow)
    assert reported(server, flow, row("one"))["status"] == "complete"
    after, teller = stored(server, flow), Teller(tmp_path, soon=60)
    teller.note(before)
    teller.note(after)
    assert not (tmp_path / "stratum").exists()
    teller.close()
    assert known_words(str(tmp_path), before.tip) is None
    assert known_words(str(tmp_path), after.tip) == words_of(after.state)
