"""The power is cut in the middle of a flow: a few times here, a hundred times by ``tests/soak/power.py``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak.power import STORIES, Story, cut_power
from tests.support.disks import unable

pytestmark = pytest.mark.skipif(bool(unable()), reason=f"no disks of our own: {unable()}")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_power_cut_loses_nothing_that_was_told(story: Story, tmp_path: Path) -> None:
    found = cut_power(story, 1, tmp_path, random.Random(3))
    assert found.is_well, "\n".join(found.notes)
    assert found.cuts == 1


def test_without_fsync_a_power_cut_loses_what_was_told(tmp_path: Path) -> None:
    assert cut_power(STORIES[0], 2, tmp_path, random.Random(3), honest=False).lost
