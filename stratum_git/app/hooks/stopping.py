"""Stop: a client does not leave work behind without a word. It is told once, and may then go."""

from __future__ import annotations

import os

from stratum_git.app.clients import TOLD, folder_of
from stratum_git.app.hooks.asked import NOTHING, Answer, Asked
from stratum_git.app.hooks.unreported import calls, listed, unreported
from stratum_git.git.files import read_bounded
from stratum_git.git.whereabouts import sha256

RUNNING = ("running", "pending")
KNOWN = 10_000
"""Tasks that a session is known to have been told of."""
LARGEST = 16 * 1024 * 1024
"""Bytes of the file that says of which."""


def stop(asked: Asked) -> Answer:
    """Refuses once while tasks that the session was given are unreported and nothing is at work on them."""
    ground = asked.ground
    if ground is None or _is_busy(asked):
        return NOTHING
    work = unreported(ground, asked.session)
    if not work or not _are_new(asked, [one.name for one in work]):
        return NOTHING
    return Answer(
        err=f"stratum-git: {len(work)} task(s) that were handed to this session are not reported:\n"
        f"{listed(work)}\n"
        f"What lies there is kept, but their flow waits. Report them, finished or failed:\n{calls(work)}\n"
        "If they are to wait, say so to the user and stop; this is asked only once.",
        code=2,
    )


def _is_busy(asked: Asked) -> bool:
    """Returns whether subagents are still at work: the client is called again when they are through."""
    tasks = asked.row.get("background_tasks")
    rows = tasks if isinstance(tasks, list) else []
    return any(isinstance(row, dict) and row.get("status") in RUNNING for row in rows)


def _are_new(asked: Asked, work: list[str]) -> bool:
    """Returns whether this session was not told of some of this work before, and notes that it is."""
    folder = None if asked.ground is None else folder_of(asked.ground.state, asked.session)
    if folder is None:
        return False
    # Each by itself: who reports some of it and leaves the rest was told of the rest.
    digests = [sha256(name.encode()).hexdigest() for name in work]
    path = os.path.join(folder, TOLD)
    known = read_bounded(path, LARGEST).decode("ascii").split() if os.path.exists(path) else []
    fresh = [digest for digest in digests if digest not in known]
    if fresh:
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join([*known[-KNOWN:], *fresh]))
    return bool(fresh)
