"""Something gets in the way of a run: once each here, many times by ``tests/soak/full_disk.py``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak.full_disk import CASES, Case, obstruct
from tests.support.disks import unable

pytestmark = pytest.mark.skipif(bool(unable()), reason=f"no disks of our own: {unable()}")
SHORT = [case for case in CASES if case.name in {"full", "read-only", "killed gits"}]


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_what_gets_in_the_way_of_a_run_is_told_and_the_run_resumed(case: Case, tmp_path: Path) -> None:
    found = obstruct(case, 1, tmp_path, random.Random(1))
    assert found.is_well, "\n".join(found.notes)
