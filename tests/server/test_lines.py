"""Calls that come together: dealt with by one of them, each as if it had come alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_git.app.joint_refs import JointRefs
from stratum_git.app.line import Line
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import Applied, RefSession, RefUpdate, read_refs
from stratum_git.git.repository import Repository
from stratum_git.model.ids import RefName

PATIENCE = 5.0


class Counter:
    """Deals with calls, a number of them at a time, and tells those it was shown; the first is held up."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.shown: list[tuple[str, ...]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def deal(self, calls: Sequence[str]) -> int:
        self.shown.append(tuple(calls))
        self.begun.set()
        assert self.go.wait(PATIENCE)
        if calls[0] == "bad":
            raise ValueError(calls[0])
        return min(self.most, len(calls))


def lined_up(
    line: Line[str], counter: Counter, *names: str, first: str = "first"
) -> Callable[[], list[object]]:
    """Lets calls line up behind one that is held up; returns what lets that go, and tells how all ended."""
    pool = ThreadPoolExecutor()
    asked = [pool.submit(line.pass_through, first, counter.deal)]
    assert counter.begun.wait(PATIENCE)
    for number, name in enumerate(names, 1):
        asked.append(pool.submit(line.pass_through, name, counter.deal))
        while len(line) < number:
            pass

    def finish() -> list[object]:
        counter.go.set()
        with pool:
            return [call.exception(PATIENCE) or call.result(PATIENCE) for call in asked]

    return finish


def test_those_who_come_while_one_is_at_it_are_dealt_with_at_once() -> None:
    counter = Counter()
    finish = lined_up(Line(), counter, "a", "b", "c")
    assert finish() == [True] * 4
    assert counter.shown == [("first",), ("a", "b", "c")]


def test_who_is_left_stands_in_front_of_who_comes_later_and_leads_on() -> None:
    counter = Counter(most=1)
    finish = lined_up(Line(), counter, "a", "b")
    assert finish() == [True] * 3
    assert counter.shown == [("first",), ("a", "b"), ("b",)]


def test_an_error_ends_the_call_of_who_leads_and_no_other() -> None:
    counter = Counter()
    finish = lined_up(Line(), counter, "a", "b", first="bad")
    failed, *others = finish()
    assert isinstance(failed, ValueError)
    assert others == [True, True]


def test_who_has_waited_for_too_long_leaves_and_is_not_dealt_with() -> None:
    line: Line[str] = Line()
    counter = Counter()
    finish = lined_up(line, counter)
    assert line.pass_through("hasty", counter.deal, patience=0.01) is False
    assert finish() == [True]
    assert counter.shown == [("first",)]


def test_who_may_not_leave_waits_on() -> None:
    line: Line[str] = Line()
    counter = Counter()
    finish = lined_up(line, counter)
    threading.Timer(0.05, counter.go.set).start()
    assert line.pass_through("bound", counter.deal, patience=0.01, may_leave=lambda _: False) is True
    assert finish() == [True]


REFS = [RefName(f"refs/stratum/t/{name}") for name in "abcd"]
WISHES = st.lists(
    st.lists(
        st.tuples(st.sampled_from(REFS), st.booleans()), min_size=1, max_size=3, unique_by=lambda w: w[0]
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=WISHES)
def test_moves_that_are_asked_for_together_are_each_all_or_nothing(
    repo: Repository, writer: ObjectWriter, wishes: list[list[tuple[RefName, bool]]]
) -> None:
    # Each creates refs, with a value of its own, or claims wrongly that one is at another value.
    values = [writer.blob(f"{number}".encode()) for number in range(len(wishes))]
    wrong = writer.blob(b"never there")
    asked = [
        [RefUpdate(ref, value, None if is_right else wrong) for ref, is_right in wish]
        for wish, value in zip(wishes, values, strict=True)
    ]
    with JointRefs(repo, "t", durable=True) as refs, ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(refs.transact, asked))
    applied = [wish for wish, answer in zip(asked, found, strict=True) if isinstance(answer, Applied)]
    moved = [update for wish in applied for update in wish]
    there = read_refs(repo, "refs/stratum/t/")
    assert there == {update.ref: update.new for update in moved}
    assert len(there) == len(moved), "no two made the same ref"
    for wish, answer in zip(asked, found, strict=True):
        could = all(update.old is None and update.ref not in there for update in wish)
        assert isinstance(answer, Applied) or not could, "nobody was refused for somebody else's sake"
    with RefSession(repo, "t", durable=False) as plain:
        plain.transact([RefUpdate(ref, None, oid) for ref, oid in there.items()])


def test_what_is_to_be_done_before_a_move_fails_for_its_own_caller_alone(
    repo: Repository, writer: ObjectWriter
) -> None:
    value = writer.blob(b"x")
    gate = threading.Event()

    def held_up() -> None:
        assert gate.wait(PATIENCE)

    def failing() -> None:
        raise OSError("no")

    with JointRefs(repo, "t", durable=True) as refs, ThreadPoolExecutor(4) as pool:
        first = pool.submit(refs.transact, [RefUpdate(REFS[0], value, None)], held_up)
        bad = pool.submit(refs.transact, [RefUpdate(REFS[1], value, None)], failing)
        good = pool.submit(refs.transact, [RefUpdate(REFS[2], value, None)])
        gate.set()
        assert first.result(PATIENCE) == good.result(PATIENCE) == Applied()
        with pytest.raises(OSError, match="no"):
            bad.result(PATIENCE)
    assert set(read_refs(repo, "refs/stratum/t/")) == {REFS[0], REFS[2]}
