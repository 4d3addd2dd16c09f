from __future__ import annotations

import gc
import sys

import pytest

from stratum_git.dispatch.promptness import TURN, prompt


def test_a_run_has_short_turns_and_leaves_things_as_they_were() -> None:
    before = sys.getswitchinterval()
    with prompt():
        assert sys.getswitchinterval() == pytest.approx(TURN)
        assert gc.get_freeze_count() > 0
    assert sys.getswitchinterval() == before
    assert gc.get_freeze_count() == 0
