"""Servers that are killed while workers report at once, each at another instant."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak.answers import killed
from tests.support.portal import settle_in


@pytest.mark.soak
def test_what_a_killed_server_has_answered_is_recorded_and_the_rest_can_be_reported_again(
    tmp_path: Path,
) -> None:
    draw = random.Random(7)
    for number in range(5):
        place = tmp_path / f"round-{number}"
        place.mkdir()
        killed(settle_in(place), place, draw)
