"""What is stored comes back, and what was stored once stays readable."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.codec import UnreadableError, decode_any, dump, encode, load
from stratum_git.model import messages
from stratum_git.model.choosing import Chosen, Ranked
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.model.messages import (
    Answered,
    Called,
    CancelRequested,
    Checkpointed,
    Completed,
    Considered,
    Event,
    GateResolved,
    Gathered,
    Halted,
    Landed,
    LandedLater,
    LandedResult,
    LandingBlocked,
    LoopAborted,
    LoopReported,
    LoopStarted,
    Lost,
    Opened,
    ParkedResult,
    Rejected,
    Resumed,
    Reverted,
    SkipRequested,
    Started,
    StepReported,
    Suspended,
    Synced,
    TaskReport,
    TaskReported,
    Undone,
)
from stratum_git.model.resolutions import ResolvingBegan, ResolvingEnded
from stratum_git.model.sessions import (
    Continued,
    ReviewBegan,
    Reviewed,
    ReviewTask,
    SessionClosed,
    SessionTerms,
)
from stratum_git.model.sightings import Collision, Sighted
from stratum_git.model.spending import BudgetSpent

TEXT = st.text(max_size=12)
ID = st.text("abAB019._-", max_size=8).map(lambda text: "x" + re.sub(r"\.\.+", ".", text))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OID = st.sampled_from([Oid("a" * 40), Oid("b" * 64)])
REF = st.sampled_from([RefName("refs/heads/main"), RefName("refs/heads/ä")])
KNOWN = {
    "Oid": OID,
    "RefName": REF,
    "StepId": ID.map(StepId),
    "TaskId": ID.map(TaskId),
    "FlowId": ID.map(FlowId),
    "Json": JSON,
}
OUTCOMES = st.one_of(
    st.builds(Completed, OID, OID, JSON),
    st.builds(Rejected, st.sampled_from(["verify", "scope"]), st.lists(TEXT).map(tuple), st.none() | OID),
    st.builds(
        Rejected,
        st.just("budget"),
        st.just(()),
        usage=st.dictionaries(TEXT, JSON, max_size=3),
        session=TEXT,
    ),
    st.builds(Halted, TEXT, usage=st.dictionaries(TEXT, JSON, max_size=3)),
    st.builds(Lost, TEXT, st.none() | OID),
    st.builds(Halted, TEXT, st.none() | OID),
)
TASK = st.none() | ID.map(TaskId)
ENTRIES = st.one_of(
    st.builds(LandedResult, TASK, OID, st.none() | OID),
    st.builds(ParkedResult, TASK, OID, OID, st.lists(TEXT).map(tuple)),
)
AT = st.floats(0, 1e10)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
STEP = ID.map(StepId)
REPORTS = st.builds(TaskReport, ID.map(TaskId), OUTCOMES)
RANKED = st.builds(
    Ranked,
    ID.map(lambda task: TaskId(f"{task}@1")),
    st.sampled_from(["verified", "failed"]),
    st.integers(0, 9),
    st.none() | OID,
    st.none() | OID,
    st.lists(ID.map(TaskId), max_size=2).map(tuple),
    st.integers(0, 9),
    st.integers(0, 9),
    st.dictionaries(TEXT, JSON, max_size=2),
    st.none() | st.integers(1, 9),
    TEXT,
)
REVIEWS = st.builds(
    ReviewTask, OID, OID, st.lists(TEXTS, max_size=2).map(tuple), TEXT, TEXT, st.none() | TEXT,
    st.none() | ID.map(FlowId), st.none() | STEP, TASK,
)  # fmt: skip
TERMS = st.builds(
    SessionTerms, TEXT, st.sampled_from(["general", "verification"]), JSON,
    st.lists(TEXTS, max_size=2).map(tuple), st.none() | AT, st.none() | AT, st.none() | REVIEWS,
)  # fmt: skip
COLLISIONS = st.builds(
    Collision, ID.map(TaskId), ID.map(TaskId), TEXTS, AT, st.just((1, 2)), st.integers(0, 9)
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Considered, AT, TEXT, STEP, st.booleans()),
    st.builds(Answered, AT, TEXT, STEP, JSON, st.sampled_from(["ok", "ensure_failed"]), TEXTS, JSON),
    st.builds(SkipRequested, AT, TEXT, STEP, TEXT),
    st.builds(Called, AT, TEXT, STEP, ID.map(FlowId)),
    st.builds(Gathered, AT, TEXT, STEP, st.lists(REPORTS, max_size=3).map(tuple), st.booleans()),
    st.builds(LoopStarted, AT, TEXT, STEP),
    st.builds(LoopReported, AT, TEXT, STEP, JSON, TEXT, st.booleans(), st.none() | AT, st.none() | TEXT),
    st.builds(LoopAborted, AT, TEXT, STEP, TEXT),
    st.builds(Checkpointed, AT, TEXT, TEXT, st.none() | OID),
    st.builds(Reverted, AT, TEXT, TEXT),
    st.builds(Started, AT, TEXT, ID.map(FlowId), TEXT, st.dictionaries(TEXT, JSON, max_size=3), OID, REF),
    st.builds(
        Started, AT, TEXT, ID.map(FlowId), TEXT, st.just({}), OID, REF, st.just("runner"), session=TERMS
    ),
    st.builds(Opened, AT, TEXT, ID.map(StepId), OID, REF),
    st.builds(StepReported, AT, TEXT, ID.map(StepId), st.integers(1, 9), OUTCOMES),
    st.builds(TaskReported, AT, TEXT, ID.map(StepId), ID.map(TaskId), st.integers(1, 9), OUTCOMES),
    st.builds(
        Chosen, AT, TEXT, STEP, ID.map(TaskId), ID.map(TaskId), st.lists(RANKED, max_size=3).map(tuple)
    ),
    st.builds(GateResolved, AT, TEXT, ID.map(StepId), st.sampled_from(["approve", "kill"]), TEXT),
    st.builds(
        Landed,
        AT,
        TEXT,
        ID.map(StepId),
        REF,
        OID,
        OID,
        st.lists(ENTRIES, max_size=3).map(tuple),
        TEXTS,
    ),
    st.builds(LandedLater, AT, TEXT, STEP, REF, OID, OID, st.lists(ENTRIES, max_size=3).map(tuple), TEXTS),
    st.builds(Undone, AT, TEXT, REF, OID, OID),
    st.builds(LandingBlocked, AT, TEXT, ID.map(StepId), TEXT, TEXTS),
    st.builds(ResolvingBegan, AT, TEXT, STEP, ID.map(TaskId), st.integers(1, 9), OID, OID, TEXTS),
    st.builds(
        ResolvingEnded,
        AT,
        TEXT,
        STEP,
        ID.map(TaskId),
        st.integers(1, 9),
        st.none() | OID,
        st.booleans(),
        st.none() | OID,
        TEXTS,
    ),
    st.builds(Synced, AT, TEXT, REF, TEXTS),
    st.builds(CancelRequested, AT, TEXT, TEXT, TASK),
    st.builds(Suspended, AT, TEXT),
    st.builds(Resumed, AT, TEXT),
    st.builds(Continued, AT, TEXT, STEP, TEXT, OID, TEXT),
    st.builds(SessionClosed, AT, TEXT, TEXT),
    st.builds(ReviewBegan, AT, TEXT, ID.map(FlowId), REVIEWS),
    st.builds(Reviewed, AT, TEXT, ID.map(FlowId), JSON),
    st.builds(Sighted, AT, TEXT, STEP, st.lists(COLLISIONS, max_size=3).map(tuple), st.integers(0, 9)),
    st.builds(
        BudgetSpent,
        AT,
        TEXT,
        STEP,
        st.sampled_from(["flow", "step"]),
        st.dictionaries(TEXT, JSON, max_size=3),
    ),
)


def test_every_event_is_tried() -> None:
    kinds = {kind.__name__ for kind in messages.Event.__args__}
    built = {
        "Started", "Opened", "StepReported", "TaskReported", "GateResolved", "Landed", "LandingBlocked",
        "LandedLater", "Undone",
        "Synced", "CancelRequested", "Suspended", "Resumed", "Considered", "Answered",
            "SkipRequested",
            "Called", "Gathered", "LoopStarted", "LoopReported", "LoopAborted", "Checkpointed", "Reverted",
            "ResolvingBegan", "ResolvingEnded", "Chosen",
            "Sighted", "BudgetSpent", "Continued", "SessionClosed", "ReviewBegan", "Reviewed",
    }  # fmt: skip
    assert kinds == built


@given(EVENTS)
def test_every_event_comes_back(event: Event) -> None:
    assert decode_any(load(dump(encode(event)))) == event


@given(JSON)
def test_all_of_json_comes_back(value: Json) -> None:
    assert load(dump(value)) == value


def test_a_state_reads_well_line_by_line() -> None:
    assert dump({"b": [1, {"c": "ä"}], "a": None}) == '{\n"a": null,\n"b": [1, {"c": "ä"}]\n}\n'.encode()
    assert dump([1, [2]]) == b"[\n1,\n[2]\n]\n"
    assert dump({}) == b"{}\n"


OIDS = {digit: Oid(digit * 40) for digit in "bcd01"}
REPORTED = """
{"type": "task_reported", "at": 2, "by": "agent a", "step": "s", "task": "t", "attempt": 1,
 "outcome": {"type": "completed", "base": "@b", "result": "@c", "output": {"n": 1}}}
"""
LANDED = """
{"type": "landed", "at": 3, "by": "x", "step": "s", "target": "refs/r", "old": "@0", "new": "@1",
 "entries": [{"type": "parked_result", "task": "t", "result": "@c", "conflict": "@d", "paths": ["p"]}]}
"""
PARKED = ParkedResult(TaskId("t"), OIDS["c"], OIDS["d"], ("p",))
STORED: list[tuple[str, Event]] = [
    ('{"type": "suspended", "at": 1.5, "by": "me"}', Suspended(1.5, "me")),
    (
        REPORTED,
        TaskReported(2, "agent a", StepId("s"), TaskId("t"), 1, Completed(OIDS["b"], OIDS["c"], {"n": 1})),
    ),
    (LANDED, Landed(3.0, "x", StepId("s"), RefName("refs/r"), OIDS["0"], OIDS["1"], (PARKED,))),
]


@pytest.mark.parametrize(("stored", "event"), STORED)
def test_what_version_one_wrote_is_read(stored: str, event: Event) -> None:
    text = re.sub("@(.)", lambda found: OIDS[found[1]], stored)
    assert decode_any(load(text.encode())) == event


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert decode_any({"type": "resumed", "at": 1.0, "by": "me", "mood": "good"}) == Resumed(1.0, "me")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"type": "no_such_thing"},
        {"type": "resumed"},
        {"type": 3},
        {"type": "synced", "notes": 3},
        {"type": "resumed", "at": "now", "by": "me"},
        {"type": "resumed", "at": True, "by": "me"},
        {"type": "resumed", "at": 1, "by": ["me"]},
        {"type": "opened", "at": 1, "by": "", "step": "s", "base": "--output=x", "target": "refs/heads/x"},
        {"type": "opened", "at": 1, "by": "", "step": "s", "base": "a" * 40, "target": "--x"},
        {"type": "opened", "at": 1, "by": "", "step": "s", "base": "a" * 40, "target": "refs/../x"},
        {"type": "opened", "at": 1, "by": "", "step": "../s", "base": "a" * 40, "target": "refs/heads/x"},
        {
            "type": "step_reported",
            "at": 1,
            "by": "",
            "step": "s",
            "attempt": 1,
            "outcome": {"type": "waiting"},
        },
        {"type": "gate_resolved", "at": 1, "by": "", "step": "s", "verdict": "perhaps"},
    ],
)
def test_what_cannot_be_read_is_told(data: Json) -> None:
    with pytest.raises(UnreadableError):
        decode_any(data)


def test_no_field_of_an_event_is_left_out_of_the_tests() -> None:
    for kind in messages.Event.__args__:
        assert dataclasses.fields(kind)[0].name == "at"
