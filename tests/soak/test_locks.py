"""Servers are killed with their gits: a few times here, two hundred times by ``tests/soak/locks.py``."""

from __future__ import annotations

import random
from pathlib import Path

from tests.soak.locks import kill


def test_locks_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    found = kill(4, tmp_path, random.Random(2))
    assert found.is_well, found.notes
    assert (found.kills, found.locks_left) == (4, 0)
