"""A few hundred random inputs of each kind, always the same; ``tests/soak/fuzz.py`` does many more."""

from __future__ import annotations

import random
from pathlib import Path

from tests.soak.calls import call_wildly
from tests.soak.fuzz import rounds
from tests.support.portal import serving, settle_in


def test_no_random_input_crashes_or_goes_on() -> None:
    tally = rounds(seed=20, count=200, seconds=None)
    assert (tally.crashes, tally.hung, tally.notes) == (0, 0, [])
    assert tally.examples == 200 * 7


def test_a_server_answers_whatever_it_is_asked(tmp_path: Path) -> None:
    with serving(settle_in(tmp_path)) as server:
        tally = call_wildly(server, random.Random(20), count=150)
    assert (tally.crashes, tally.hung, tally.notes) == (0, 0, [])
    assert tally.examples == 150
