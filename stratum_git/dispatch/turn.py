"""One landing at a time in a repository, until the checkouts have followed.

The compare-and-swap of the target is enough to be right. The turn spares those who land at the same moment
from doing it again, and from taking a checkout that is about to follow another landing for a changed one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import trio
from filelock import FileLock, Timeout

from stratum_git.dispatch.context import Context
from stratum_git.git.holding import held_checkouts
from stratum_git.model.messages import Landed, LandedLater, LandingBlocked, Undone

PATIENCE = 60.0
"""Seconds to wait for others that land. Whoever has waited for so long goes on without the turn."""
PAUSE = 0.01


@contextmanager
def landing_turn(context: Context, patience: float = PATIENCE) -> Iterator[bool]:
    """Keeps others from landing meanwhile; says whether that could be had."""
    lock = FileLock(
        context.folders.locks / "landing.lock", thread_local=False, poll_interval=PAUSE, mode=0o600
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.acquire(timeout=patience))
        except Timeout:
            yield False
            return
        yield True


@asynccontextmanager
async def own_turn(context: Context) -> AsyncIterator[None]:
    """Does the same without keeping a thread waiting."""
    deadline = trio.current_time() + PATIENCE
    with ExitStack() as stack:
        while not stack.enter_context(landing_turn(context, 0.0)):
            if trio.current_time() >= deadline:
                break
            await trio.sleep(PAUSE)
        yield


@contextmanager
def hold(
    context: Context, event: Landed | LandedLater | Undone | LandingBlocked
) -> Iterator[frozenset[Path] | None]:
    """Keeps everybody's git out of the checkouts that are to follow *event*; gives them.

    ``None`` when somebody's git is at work in one of them: then it is to be looked again.
    """
    if isinstance(event, LandingBlocked) or event.old == event.new:
        yield frozenset()
        return
    with held_checkouts(context.repo, event.target) as places:
        yield places
