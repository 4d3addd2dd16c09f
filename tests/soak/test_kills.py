"""The short form of the kills: thirty; a thousand are made by the program itself."""

from __future__ import annotations

import random

from tests.soak.kills import rampage


def test_whoever_is_killed_at_any_moment_comes_to_the_same_end() -> None:
    seed = random.SystemRandom().randrange(10_000)
    print(f"seed {seed}")
    tally, _ = rampage(30, seed)
    assert [(fault.kind, fault.words) for fault in tally.faults] == []
    assert tally.kills >= 30
