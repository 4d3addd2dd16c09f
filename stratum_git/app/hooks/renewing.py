"""SubagentStart where more than a look is needed: a lease is renewed, or a worktree is somebody's again."""

from __future__ import annotations

from pathlib import Path

from stratum_git.app.client_records import FLOW, client_worktrees, rest
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked, Ground
from stratum_git.app.hooks.prolonging import renew
from stratum_git.app.hooks.subagents import rules, whose
from stratum_git.app.hooks.tenants import Tenant
from stratum_git.slots.folders import StateFolders


def subagent_start(asked: Asked) -> Answer:
    """Tells a subagent that works in a slot what holds there, and renews its lease."""
    ground = asked.ground
    if ground is None:
        return NOTHING
    here, tasks = whose(asked, ground)
    if here is not None and here.flow == FLOW:
        _wake(ground, here)
    renew(ground, tasks)
    return rules(here, tasks)


def _wake(ground: Ground, here: Tenant) -> None:
    """Notes that somebody goes on in a worktree whose subagent had ended."""
    folders = StateFolders(Path(ground.state))
    for one in client_worktrees(folders):
        if one.key == here.task and one.rested:
            rest(folders, one, 0.0)
