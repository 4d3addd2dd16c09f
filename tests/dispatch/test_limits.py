"""Attempts that wait for room at their model's server: no failure, no other attempt, and nobody hammers."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from stratum_git.agents.base import AgentTimedOut, Assignment, Finished, Outcome
from stratum_git.agents.scripted import Script, ScriptedAgent
from stratum_git.core.narration import narrate
from stratum_git.dispatch.limits import Limits, OutOfPatience, work_patiently
from stratum_git.dispatch.notices import Notice, Recorded, Remark
from stratum_git.dispatch.spending import Meter
from stratum_git.model.ids import Json, Oid
from stratum_git.model.messages import Lost, Suspended, TaskReported
from stratum_git.model.state import Merged, Pending
from tests.support.flows import Stage, dispatch_spec, fan

ONE: list[Json] = [{"id": "one"}]
BUSY = "429"


def assignment(number: int = 1, timeout: float | None = None) -> Assignment:
    slot = Path("/nowhere")
    return Assignment("f", "s", "t", number, Oid("a" * 40), None, "do it", slot, slot, timeout)


class Server:
    """A model's server with room for *room* calls at once, and none at all until some time."""

    def __init__(self, until: float, seconds: float = 1.0, after: float | None = None) -> None:
        self.until, self.seconds, self.after = until, seconds, after
        self.calls: list[float] = []

    def play(self, assignment: Assignment) -> Script:
        self.calls.append(trio.current_time() - self.begun)
        usage: dict[str, Json] = {"session_id": f"s{assignment.attempt}", "usd": 0.25}
        if trio.current_time() - self.begun < self.until:
            return Script(limited=BUSY, after=self.after, seconds=0.1, usage=usage)
        return Script(seconds=self.seconds, usage=usage)

    async def serve(self, workers: int, patience: float = 3600.0) -> list[Outcome | OutOfPatience]:
        self.begun, self.told = trio.current_time(), list[str]()
        agent, limits = ScriptedAgent("a", self.play), Limits(patience)
        ends: list[Outcome | OutOfPatience] = []

        async def work(number: int) -> None:
            ends.append(
                await work_patiently(
                    agent, assignment(number), Meter(), limits, self.told.append, lambda _: None
                )
            )

        async with trio.open_nursery() as nursery:
            for number in range(workers):
                nursery.start_soon(work, number)
        return ends


async def test_eight_workers_do_not_hammer(autojump_clock: MockClock) -> None:
    """One looks whether there is room again; the others wait for what it finds."""
    server = Server(until=600)
    ends = await server.serve(8)
    assert [type(end) for end in ends] == [Finished] * 8
    looked = [at for at in server.calls if 1 < at < 600]
    assert len(looked) <= 8
    gaps = [later - at for at, later in itertools.pairwise(looked)]
    assert min(gaps) >= 5
    assert max(server.calls) < 600 + 300 * 1.25 + 1
    assert len(server.told) == 8
    assert server.told[0].startswith("a: the model's server has no room (429): again in ")


async def test_what_the_server_says_is_waited(autojump_clock: MockClock) -> None:
    server = Server(until=29, after=30.0)
    await server.serve(1)
    assert len(server.calls) == 2
    assert 30 <= server.calls[1] <= 30 * 1.25 + 1


async def test_after_an_hour_it_gives_up(autojump_clock: MockClock) -> None:
    server = Server(until=1e9)
    ends = await server.serve(2)
    assert [type(end) for end in ends] == [OutOfPatience] * 2
    assert 3000 < max(server.calls) < 3700


async def test_nobody_waits_for_what_is_too_far_off(autojump_clock: MockClock) -> None:
    """Nor do those who wait already, when one of them learns of it."""
    server = Server(until=1e9)
    server.after = 60.0
    begun = trio.current_time()

    async def later() -> None:
        await trio.sleep(30)
        server.after = 4 * 3600.0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        ends = await server.serve(3)
    assert len(server.calls) == 4
    assert trio.current_time() - begun < 100
    assert all(isinstance(end, OutOfPatience) for end in ends)
    assert isinstance(ends[0], OutOfPatience)
    assert ends[0].why.startswith("a: the model's server has no room (429) for another ")


async def test_a_call_that_hangs_lets_the_others_look(autojump_clock: MockClock) -> None:
    """It has been at it for so long that there is room."""
    server = Server(until=4, seconds=10_000)
    begun = trio.current_time()
    await server.serve(3)
    assert trio.current_time() - begun < 10_100


async def test_waiting_is_no_time_of_the_attempt(autojump_clock: MockClock) -> None:
    calls: list[Assignment] = []

    def play(handed: Assignment) -> Script:
        calls.append(handed)
        limited = BUSY if len(calls) < 3 else None
        return Script(limited=limited, after=100.0, seconds=4.0, usage={"usd": 0.1, "session_id": "s"})

    meter = Meter()
    told = await work_patiently(
        ScriptedAgent("a", play), assignment(timeout=10.0), meter, Limits(), lambda _: None, lambda _: None
    )
    assert isinstance(told, AgentTimedOut)
    assert [handed.timeout for handed in calls] == [10.0, 6.0, 2.0]
    assert [(h.session, bool(h.followup)) for h in calls] == [(None, False), ("s", True), ("s", True)]
    usage = meter.usage()
    assert (usage["ms"], usage["usd"]) == (10_000, 0.3)
    waited = usage["waited_ms"]
    assert isinstance(waited, int)
    assert waited >= 200_000


async def test_one_that_is_cancelled_does_not_keep_the_others(autojump_clock: MockClock) -> None:
    agent, limits = ScriptedAgent("a", lambda _: Script(limited=BUSY, after=5.0)), Limits()
    with trio.move_on_after(20):
        await work_patiently(agent, assignment(), Meter(), limits, lambda _: None, lambda _: None)
    good = ScriptedAgent("a", lambda _: Script())
    with trio.fail_after(60):
        told = await work_patiently(good, assignment(), Meter(), limits, lambda _: None, lambda _: None)
    assert isinstance(told, Finished)


async def test_a_limited_attempt_goes_on_in_its_slot(stage: Stage) -> None:
    handed: list[Assignment] = []

    def play(assignment: Assignment) -> Script:
        handed.append(assignment)
        usage: dict[str, Json] = {"session_id": "s", "usd": 0.5}
        if len(handed) == 1:
            return Script(files={"half.txt": b"1\n"}, limited=BUSY, after=1.0, usage=usage)
        assert (assignment.slot / "half.txt").exists()
        return Script(files={"good.txt": b"1\n"}, usage=usage)

    state = await stage.play(dispatch_spec(verify=["test -f good.txt"]), play, ONE)
    merged = fan(state).tasks[0]
    assert isinstance(merged, Merged)
    assert merged.attempt == 1
    assert [a.session for a in handed] == [None, "s"]
    assert state.spent.total.dispatches == 1
    assert state.spent.total.usd == 1.0
    remarks = [n.text for n in stage.notices if isinstance(n, Remark)]
    assert remarks == ["default: the model's server has no room (429): again in 1 s"]
    stories = [
        narrate(n.event, n.state, n.effects).details
        for n in stage.notices
        if isinstance(n, Recorded) and isinstance(n.event, TaskReported)
    ]
    assert stories == [("It cost 1.00 usd.", "It waited 1 s for room at its model's server.")]


async def test_a_flow_without_room_is_suspended_and_can_be_resumed(stage: Stage) -> None:
    """No retry is lost by it, and it does not go on without end."""

    begun, refused = trio.Event(), trio.Event()

    def play(assignment: Assignment) -> Script:
        if assignment.task == "two":
            begun.set()
            return Script(files={"two.txt": b"1\n"}, until=refused)
        return Script(files={"half.txt": b"1\n"}, limited="usage limit", after=7200.0, until=begun)

    def watch(notice: Notice) -> None:
        stage.notices.append(notice)
        if isinstance(notice, Recorded) and isinstance(notice.event, Suspended):
            refused.set()

    driver, effects = stage.prepare(dispatch_spec(), play, {"tasks": [{"id": "one"}, {"id": "two"}]})
    driver.watch = watch
    with driver.journal.log, closing(driver.context), trio.fail_after(30):
        state = await driver.drive(effects)  # type: ignore[arg-type]
    assert state.paused
    assert state.status == "running"
    now = fan(state).tasks[0]
    assert isinstance(now, Pending)
    assert (now.failures, now.attempt) == (0, 1)
    events = [n.event for n in stage.notices if isinstance(n, Recorded)]
    ends = [e for e in events if isinstance(e, Suspended)]
    assert ends[0].why.startswith("default: the model's server has no room (usage limit) for another ")
    lost = [e.outcome for e in events if isinstance(e, TaskReported) and isinstance(e.outcome, Lost)]
    assert len(lost) == 1
    assert lost[0].result is not None
    assert type(fan(state).tasks[1]).__name__ == "Verified"


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
async def test_whoever_waits_is_ended_at_once(stage: Stage, how: str) -> None:
    script = Script(files={"half.txt": b"1\n"}, limited=BUSY, after=60.0)
    driver, effects = stage.prepare(dispatch_spec(), lambda _: script, {"tasks": ONE})

    def end() -> None:
        for attempt in driver.attempts.values():
            attempt.halt("no more") if how == "cancel" else driver.interrupt("me")

    def watch(notice: Notice) -> None:
        if isinstance(notice, Remark):
            end()

    driver.watch = watch
    with driver.journal.log, closing(driver.context), trio.fail_after(30):
        state = await driver.drive(effects)  # type: ignore[arg-type]
    now = fan(state).tasks[0]
    assert type(now).__name__ == ("Stopped" if how == "cancel" else "Pending")
