"""Hears what programs say, all at once and now and then, instead of each line as it comes.

Sixty-four agents that print have the loop of a run read six thousand times a second, and whoever waits in it
for something else waits for that. What is not read stays in the pipe, where there is room for 64 KiB. Whoever
fills half of that meanwhile is heard at once for a while, so that no program is slowed down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

CHUNK = 64 * 1024
GAP = 0.05
"""Seconds from one time of reading to the next, of a program that goes on printing."""
BURST = 16
"""Times that are read at once, before that: what is said now and then is heard as it is said."""
HURRY = 1.0
"""Seconds for which whoever has filled a pipe is read at once."""


class Source(Protocol):
    """What is heard; no data is its end."""

    async def receive_some(self, most: int) -> bytes | bytearray:
        """Returns what is there, once something is."""


async def hear(source: Source, take: Callable[[bytes], None], over: trio.Event) -> None:
    """Gives *take* what comes from *source* until its end. Nothing is waited for once it is *over*."""
    spent, hurried = trio.current_time() - BURST * GAP, 0.0
    while data := await source.receive_some(CHUNK):
        take(bytes(data))
        now = trio.current_time()
        spent = max(spent, now - BURST * GAP) + GAP
        if len(data) >= CHUNK // 2:
            hurried = now + HURRY
        if spent > now >= hurried:
            with trio.move_on_after(spent - now):
                await over.wait()
