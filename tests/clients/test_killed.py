"""The client is killed in the middle; one that is started anew learns from the tools where the flow is."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.around import approved, assert_landed, assert_nothing_left, waits_at_gate
from tests.clients.conftest import Move
from tests.clients.story import PAGES, PROMPT, SERVER, script
from tests.support.clients import House, servers, until

pytestmark = pytest.mark.soak
KILL, TERM = signal.SIGKILL, signal.SIGTERM


def called(house: House, tool: str) -> bool:
    """Returns whether the model has just called a tool of ours."""
    return any(f"{SERVER}stratum_{tool}" in json.dumps(one.reply) for one in house.api.to("main"))


def one_has_written(house: House) -> bool:
    """Returns whether the first page is written, and its worker about to say so."""
    return len(house.api.to("worker-one")) > 1 and bool(house.api.to("worker-two"))


INSTANTS: dict[str, Callable[[House], bool]] = {
    "the plan is asked for": lambda house: called(house, "plan"),
    "the plan is there": lambda house: called(house, "step_done"),
    "the tasks are handed out": lambda house: bool(house.api.to("worker-two")),
    "a page is written": one_has_written,
    "the results are reported": lambda house: called(house, "parallel_done"),
    "the gate waits": waits_at_gate,
}
MANY = [
    (version, number, instant)
    for version in ("latest", "older")
    for number in (KILL, TERM)
    for instant in INSTANTS
] + [("legacy", KILL, "the results are reported")]


@pytest.mark.parametrize(("version", "number", "instant"), MANY)
def test_a_new_session_goes_on(
    claude: Move, tmp_path: Path, version: str, number: signal.Signals, instant: str
) -> None:
    killed = tmp_path / "killed"
    held = {"until": str(killed)} if instant == "a page is written" else {}
    house = claude(version, script(one=held))
    house.install()
    since = house.repo.head()
    run = house.claude(PROMPT)
    until(lambda: run.is_over() or INSTANTS[instant](house), instant)
    assert not run.is_over(), run.told()
    assert run.kill(number).code != 0
    killed.touch()
    until(lambda: not servers(house.repo.path), "the end of the server")
    wrote = _pages(house)
    house.api.asked.clear()

    again = house.claude("Please go on with what was begun.")
    flow = approved(house, again)

    assert again.result["result"] == "All is done: the pages."
    assert_landed(house, since)
    assert_nothing_left(house, flow)
    # Who goes on works where the one before had worked: a line of each, nothing was thrown away.
    for page in PAGES:
        text = house.repo.show(f"main:pages/{page}.md")
        assert text.count(f"page {page}") >= wrote.count(page) + (not wrote.count(page)), (page, wrote)
        if page == "one" and instant == "a page is written":
            assert text.splitlines() == ["page one", "page one"]


def _pages(house: House) -> list[str]:
    """Returns the pages that lie in slots."""
    return [path.stem for path in (house.shell.home / "state").glob("**/slot-????????/pages/*.md")]
