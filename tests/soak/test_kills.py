"""The short form of the kills: six; a thousand are made by the program itself."""

from __future__ import annotations

import random

import pytest

from tests.soak.kills import rampage


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.soak) for part in (1, 2))])
def test_whoever_is_killed_at_any_moment_comes_to_the_same_end(part: int) -> None:
    seed = random.SystemRandom().randrange(10_000)
    print(f"part {part}, seed {seed}")
    tally, _ = rampage(6, seed)
    assert [(fault.kind, fault.words) for fault in tally.faults] == []
    assert tally.kills >= 6
