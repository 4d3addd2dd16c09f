"""Sets of small numbers, and copies of frozen values: each beside what it stands in for."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core import codec
from stratum_git.model.changing import replace
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, Oid, RefName
from stratum_git.model.indices import HIGHEST, Indices
from stratum_git.model.spending import Spent
from stratum_git.model.state import FannedOut, Pending

numbers = st.sets(st.integers(0, 300))


@given(numbers, st.integers(0, 300), st.integers(-1, 20))
def test_indices_are_a_set_in_ascending_order(known: set[int], one: int, count: int) -> None:
    found = Indices.of(known)
    assert list(found) == sorted(known)
    assert (len(found), bool(found), one in found) == (len(known), bool(known), one in known)
    assert found.first(count) == tuple(sorted(known)[: max(0, count)])
    assert found.including(one) == Indices.of(known | {one})
    assert found.without(one, *found.first(count)) == Indices.of(known - {one} - set(found.first(count)))


@pytest.mark.parametrize("number", [-1, HIGHEST])
def test_a_number_that_is_no_index_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="no indices"):
        Indices.of([3, number])


@pytest.mark.parametrize("stored", [[10**12], [True], {"bits": 3}, ["1"], 3])
def test_stored_indices_that_make_no_sense_are_unreadable(stored: Json) -> None:
    fan = FannedOut(Oid("a" * 40), RefName("refs/heads/x"), TaskGraph((), (), (), ()), (), Indices.of([2, 7]))  # type: ignore[arg-type]
    row = codec.encode(fan)
    assert isinstance(row, dict)
    assert row["ready"] == [2, 7]
    assert codec.decode(FannedOut, row).ready == fan.ready
    with pytest.raises(codec.UnreadableError):
        codec.decode(FannedOut, {**row, "ready": stored})


def test_a_changed_copy_is_the_one_of_the_library() -> None:
    before = Pending(2, 3, 1, ("no",))
    assert replace(before, waits=0, findings=()) == dataclasses.replace(before, waits=0, findings=())
    assert replace(before) == before
    assert replace(Spent(3), usd=1.5) == Spent(3, 1.5)


def test_what_follows_from_the_fields_is_made_anew() -> None:
    graph = TaskGraph((), (), (), ())
    assert replace(graph, order=(0,)) == TaskGraph((), (), (), (0,))


@pytest.mark.parametrize("name", ["nothing", "size"])
def test_a_field_that_a_value_is_not_made_with_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        replace(TaskGraph((), (), (), ()), **{name: 3})  # type: ignore[arg-type]  # that is the point
