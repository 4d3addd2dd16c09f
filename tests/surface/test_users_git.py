"""The user's own git in the middle of a run harms nothing."""

from __future__ import annotations

from tests.soak.users_git import play
from tests.support.shell import Shell


def test_a_run_beside_the_users_git_lands_everything(shell: Shell) -> None:
    assert play(shell, 1, 6) == []
