"""Runs whose slots nobody else sees, killed at random instants."""

from __future__ import annotations

import random

import pytest

from tests.soak.private import rampage


@pytest.mark.soak
def test_a_run_in_a_namespace_that_is_killed_loses_nothing_and_leaves_nothing() -> None:
    seed = random.SystemRandom().randrange(10_000)
    print(f"seed {seed}")
    figures = rampage(24, seed)
    assert (figures.lost, figures.unlike, figures.left) == ([], [], [])
    assert figures.private > 0
    assert figures.kills >= 24
