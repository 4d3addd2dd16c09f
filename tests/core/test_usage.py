"""What is taken of what somebody tells of costs, and how it is told on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.core.usage import MOST, added, in_words, usage_of
from stratum_git.model.ids import Json

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
TOLD = st.dictionaries(
    st.sampled_from(
        ["usd", "tokens", "input_tokens", "output_tokens", "turns", "ms", "model", "session_id", "x"]
    ),
    ANYTHING,
)


@settings(max_examples=50)
@given(TOLD | ANYTHING)
def test_whatever_is_told_comes_to_usage_that_makes_sense(told: Json) -> None:
    found = usage_of(told)
    assert usage_of(found) == found
    for name, value in found.items():
        if name in {"model", "session_id"}:
            assert isinstance(value, str)
            assert value.isprintable()
        else:
            assert isinstance(value, int | float)
            assert math.isfinite(value)
            assert 0 <= value <= 2 * MOST
            assert name == "usd" or isinstance(value, int)
    assert "x" not in found


def test_tokens_are_counted_where_only_the_sides_are_told() -> None:
    assert usage_of({"input_tokens": 5, "output_tokens": 2}) == {
        "input_tokens": 5,
        "output_tokens": 2,
        "tokens": 7,
    }


def test_two_stretches_of_an_attempt_cost_what_both_cost() -> None:
    first: dict[str, Json] = {"usd": 0.1, "tokens": 5, "session_id": "a"}
    later: dict[str, Json] = {"usd": 0.2, "turns": 3, "session_id": "b"}
    assert added(first, later) == {"usd": 0.3, "tokens": 5, "turns": 3, "session_id": "b"}


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        ({}, ""),
        ({"usd": 0.1234, "tokens": 41_230, "turns": 7, "ms": 5}, "0.12 usd, 41 k tokens, 7 turns"),
        ({"usd": 0, "tokens": 1, "turns": 1}, "0.00 usd, 1 token, 1 turn"),
        ({"usd": 0.0012, "tokens": 2_400_000}, "0.0012 usd, 2.4 M tokens"),
    ],
)
def test_usage_is_told_in_a_few_words(usage: dict[str, Json], words: str) -> None:
    assert in_words(usage) == words
