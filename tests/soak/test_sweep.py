"""The short form of the sweep: a few places out of all, by chance; the long one is a program of its own."""

from __future__ import annotations

import random

import pytest

from tests.soak.sweep import sweep


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_whoever_is_killed_at_a_call_of_git_comes_to_the_same_end(part: int) -> None:
    seed = random.SystemRandom().randrange(10_000)
    print(f"part {part}, seed {seed}")
    tally = sweep(1, seed)
    assert [(fault.kind, fault.words) for fault in tally.faults] == []
    assert tally.kills >= 1
