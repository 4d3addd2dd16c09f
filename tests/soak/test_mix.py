"""Everybody at once in one repository: a short run of the long one."""

from __future__ import annotations

from tests.soak import mix


def test_whatever_everybody_does_at_once_nothing_is_lost() -> None:
    found = mix.figures(2.5, seed=7)
    assert found["wrong"] == 0
    assert isinstance(found["flows"], int)
    assert found["flows"] > 0
