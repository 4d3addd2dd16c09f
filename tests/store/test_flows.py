"""Flows as commits: what is written comes back, the late are told, and only what changed is written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from stratum_git.core.engine import advance, begin
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import processes_started
from stratum_git.git.refs import RefUpdate
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import CancelRequested, Completed, Event, Opened, Started, TaskReported
from stratum_git.model.state import FlowState, Program
from stratum_git.store.flows import Entry, FlowLog, Lost, Stored, events_between, load
from stratum_git.store.listing import UnknownFlowError, flow_ref, list_flows
from tests.support.flows import dispatch_spec
from tests.support.repos import ScratchRepo

ME = Signature("Tess Ter", "tess@x", 0.0)
FLOW = FlowId("main-1")
BUILD = StepId("build")
SPEC = dispatch_spec()


@pytest.fixture
def log(repo: Repository, writer: ObjectWriter) -> FlowLog:
    return FlowLog(repo, writer, ME, SPEC)


def program() -> Program:
    loaded = load_spec(SPEC)
    assert loaded.spec is not None
    made = compile_program(loaded.spec, None)
    assert isinstance(made, Program)
    return made


def started(scratch: ScratchRepo, tasks: int, flow: FlowId = FLOW, at: float = 1.0) -> Started:
    inputs: dict[str, Json] = {"tasks": [{"id": f"t{n}"} for n in range(tasks)]}
    return Started(at, "tess", flow, "main", inputs, Oid(scratch.head()), RefName("refs/heads/main"))


def first(log: FlowLog, scratch: ScratchRepo, tasks: int = 3, **options: object) -> Stored:
    event = replace(started(scratch, tasks), **options)  # type: ignore[arg-type]
    state, effects = begin(program(), event)
    stored = log.append(event.flow, None, [Entry(event, state, effects)])
    assert isinstance(stored, Stored)
    return stored


def then(state: FlowState, *events: Event) -> list[Entry]:
    entries = []
    for event in events:
        state, effects = advance(state, event)
        entries.append(Entry(event, state, effects))
    return entries


def opened(state: FlowState) -> Opened:
    return Opened(2.0, "stratum-git", BUILD, state.base, state.target)


def done(state: FlowState, task: str) -> TaskReported:
    return TaskReported(3.0, "agent a", BUILD, TaskId(task), 1, Completed(state.base, state.base, {"n": 1}))


def test_what_was_written_comes_back(log: FlowLog, repo: Repository, scratch: ScratchRepo) -> None:
    with log:
        stored = first(log, scratch, tasks=70)
        events = (opened(stored.state), done(stored.state, "t0"), done(stored.state, "t1"))
        entries = then(stored.state, *events)
        after = log.append(FLOW, stored.tip, entries)
    assert isinstance(after, Stored)
    assert load(repo, FLOW) == (after, SPEC)
    assert after.state == entries[-1].after
    assert events_between(repo, stored.tip, after.tip) == events


def test_who_is_late_writes_nothing(log: FlowLog, repo: Repository, scratch: ScratchRepo) -> None:
    with log, FlowLog(repo, ObjectWriter(repo, durable=False), ME, SPEC) as other:
        stored = first(log, scratch)
        entry = then(stored.state, opened(stored.state))
        winner = log.append(FLOW, stored.tip, entry)
        loser = other.append(FLOW, stored.tip, then(stored.state, CancelRequested(2.0, "x", "why", None)))
        assert isinstance(winner, Stored)
        assert isinstance(loser, Lost)
        assert loser.ref == flow_ref(FLOW)
        assert load(repo, FLOW)[0] == winner
        # Having read what the other wrote, it may go on.
        again = other.append(FLOW, winner.tip, then(winner.state, CancelRequested(2.0, "x", "why", None)))
        assert isinstance(again, Stored)


def test_a_second_flow_of_one_name_is_refused(log: FlowLog, scratch: ScratchRepo) -> None:
    with log:
        first(log, scratch)
        event = started(scratch, 3, at=9.0)
        state, effects = begin(program(), event)
        assert isinstance(log.append(FLOW, None, [Entry(event, state, effects)]), Lost)


def test_other_refs_move_with_the_event_or_not_at_all(
    log: FlowLog, repo: Repository, scratch: ScratchRepo
) -> None:
    mark = RefName("refs/stratum/mark")
    with log:
        stored = first(log, scratch)
        entries = then(stored.state, opened(stored.state))
        head = Oid(scratch.head())
        lost = log.append(FLOW, stored.tip, entries, [RefUpdate(mark, head, head)])
        assert isinstance(lost, Lost)
        assert lost.ref == mark
        assert load(repo, FLOW)[0] == stored
        assert isinstance(log.append(FLOW, stored.tip, entries, [RefUpdate(mark, head, None)]), Stored)
    assert scratch.git("rev-parse", mark) == head


def test_of_eight_writers_none_loses_an_event(repo: Repository, scratch: ScratchRepo) -> None:
    with FlowLog(repo, ObjectWriter(repo, durable=False), ME, SPEC) as log:
        first(log, scratch)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with FlowLog(repo, ObjectWriter(repo, durable=False), ME, SPEC) as mine:
                event = CancelRequested(5.0, f"writer {number}", "why", None)
                while True:
                    stored, _ = load(repo, FLOW)
                    # Recorded whatever the engine makes of it: the store does not judge.
                    entry = Entry(event, replace(stored.state, seq=stored.state.seq + 1), ())
                    if isinstance(mine.append(FLOW, stored.tip, [entry]), Stored):
                        return
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    state = load(repo, FLOW)[0].state
    assert state.seq == 9
    told = scratch.git("log", "--first-parent", "--format=%an", flow_ref(FLOW)).splitlines()
    assert {f"writer {n}" for n in range(8)} <= set(told)


def objects_in(scratch: ScratchRepo) -> set[str]:
    return set(scratch.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split())


def test_an_event_writes_what_it_changed_however_many_tasks_there_are(
    log: FlowLog, scratch: ScratchRepo
) -> None:
    with log:
        stored = first(log, scratch, tasks=2000)
        after = log.append(FLOW, stored.tip, then(stored.state, opened(stored.state)))
        assert isinstance(after, Stored)
        before = objects_in(scratch)
        log.append(FLOW, after.tip, then(after.state, done(after.state, "t1")))
    # The commit, its tree and three folders, the state in short with the event, the chunk of the task.
    assert len(objects_in(scratch) - before) == 7


def test_many_flows_are_listed_with_one_process(
    repo: Repository, scratch: ScratchRepo, make_log: Callable[[], FlowLog]
) -> None:
    for number in range(12):
        with make_log() as log:
            first(log, scratch, flow=FlowId(f"main-{number}"), at=float(number))
    before = processes_started()
    rows = list_flows(repo).headers
    assert processes_started() == before + 1
    assert [row.flow for row in rows] == [f"main-{number}" for number in range(12)]
    assert rows[0].status == "running"


@pytest.fixture
def make_log(repo: Repository) -> Callable[[], FlowLog]:
    return lambda: FlowLog(repo, ObjectWriter(repo, durable=False), ME, SPEC)


def test_a_flow_that_is_not_there_is_told(repo: Repository) -> None:
    with pytest.raises(UnknownFlowError, match="no flow called nothing"):
        load(repo, FlowId("nothing"))


def test_results_live_as_long_as_the_flow_does(log: FlowLog, repo: Repository, scratch: ScratchRepo) -> None:
    with log:
        stored = first(log, scratch)
        after = log.append(FLOW, stored.tip, then(stored.state, opened(stored.state)))
        assert isinstance(after, Stored)
        scratch.git("checkout", "-q", "-b", "work")
        result = Oid(scratch.commit("work", {"w": "w"}))
        scratch.git("checkout", "-q", "main")
        scratch.git("branch", "-qD", "work")
        event = TaskReported(3.0, "agent a", BUILD, TaskId("t0"), 1, Completed(after.state.base, result))
        log.append(FLOW, after.tip, then(after.state, event))
    scratch.git("reflog", "expire", "--expire=now", "--all")
    scratch.git("gc", "-q", "--prune=now")
    assert scratch.show(f"{result}:w") == "w"
    assert load(repo, FLOW)[0].state.seq == 3
