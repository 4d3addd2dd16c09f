"""Takes back the worktrees of subagents and sessions that are over, and tells which ones stay.

A client that has hooks for worktrees never removes those of its subagents itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from stratum_git.app.client_records import ClientWorktree, client_worktrees, rest
from stratum_git.app.client_worktrees import End, Lender, Stays, tried
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked
from stratum_git.app.hooks.worktrees import client_process, lender_from_above
from stratum_git.dispatch.clock import monotonic, now

GOING_ON = ("clear", "resume")
"""Reasons for which a session ends while its client goes on in the same folder."""
PATIENCE = 1.5
"""Seconds after which no further one is looked at: somebody waits for the session to begin."""
SHOWN = 10
KEPT = 4
"""Places of subagents that have ended, with nothing done, which stay until the session is over."""


def session_start(asked: Asked) -> Answer:
    """Takes back what sessions that are over have left; tells of what stays."""
    lender = lender_from_above(asked)
    ended = _swept(lender, [one for one in client_worktrees(lender.folders) if one.is_over()])
    lines = [_line(one) for one, end in ended if isinstance(end, Stays)]
    if not lines:
        return NOTHING
    more = [f"- and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    head = (
        "stratum-git: worktrees of sessions that are over, with work in them. "
        "`stratum-git gc --worktrees` keeps that on branches and refs, and takes them back:"
    )
    return Answer(out="\n".join([head, *lines[:SHOWN], *more]))


def session_end(asked: Asked) -> Answer:
    """Takes back the worktrees of a session that ends, if nothing was done in them."""
    if asked.text("reason") in GOING_ON:
        return NOTHING
    lender = lender_from_above(asked)
    own = client_process(asked)
    ours = [one for one in client_worktrees(lender.folders) if one.owner is not None and one.owner == own]
    return _said(_swept(lender, ours, patience=20.0))


def subagent_stop(asked: Asked) -> Answer:
    """Takes back the worktrees of subagents that did nothing in them, but for the last few.

    A session may go on with a subagent that has ended. One whose place is gone the client refuses, or sends
    into the user's checkout.
    """
    lender = lender_from_above(asked)
    known = [one for one in client_worktrees(lender.folders) if one.session == asked.session and one.path]
    name = f"agent-{asked.text('agent_id')}"
    resting = [one for one in known if one.rested and one.name != name]
    resting += [rest(lender.folders, one, now()) for one in known if one.name == name]
    resting.sort(key=lambda one: one.rested)
    ended = _swept(lender, resting[:-KEPT])
    for one, end in ended:
        if isinstance(end, Stays):
            rest(lender.folders, one, 0.0)
    return NOTHING


def _swept(
    lender: Lender, some: Iterable[ClientWorktree], patience: float = PATIENCE
) -> list[tuple[ClientWorktree, End]]:
    until = monotonic() + patience
    return [(one, tried(lender, one)) for one in some if monotonic() < until]


def _said(ended: list[tuple[ClientWorktree, End]]) -> Answer:
    return Answer(err="\n".join(f"{_line(one)}: {end.why}" for one, end in ended if isinstance(end, Stays)))


def _line(one: ClientWorktree) -> str:
    return f"- {one.path}, on the branch {one.key}"
