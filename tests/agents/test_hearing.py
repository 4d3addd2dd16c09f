"""A program that prints all the time is heard now and then, and none is kept waiting for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio
import trio.testing

from stratum_git.agents.hearing import BURST, CHUNK, GAP, hear

SECONDS = 10.0


@dataclass
class Chatter:
    """Says *size* bytes each hundredth of a second, for ten seconds; what is not read is kept."""

    size: int
    reads: list[float] = field(default_factory=list)
    read: int = 0

    async def receive_some(self, most: int) -> bytes:
        while not (said := self._said()) and trio.current_time() < SECONDS:
            await trio.sleep(0.01)
        self.reads.append(trio.current_time())
        taken = min(said, most)
        self.read += taken
        return b"x" * taken

    def _said(self) -> int:
        return int(min(trio.current_time(), SECONDS) * 100) * self.size - self.read


async def heard(chatter: Chatter, over: trio.Event) -> int:
    parts: list[bytes] = []
    await hear(chatter, parts.append, over)
    return len(b"".join(parts))


async def test_who_prints_all_the_time_is_read_now_and_then(autojump_clock: trio.testing.MockClock) -> None:
    chatter = Chatter(10)
    assert await heard(chatter, trio.Event()) == 10 * 100 * SECONDS
    assert len(chatter.reads) <= BURST + SECONDS / GAP + 2
    assert chatter.reads[BURST - 2] < 1.1 * BURST * 0.01


async def test_who_fills_the_pipe_is_read_at_once(autojump_clock: trio.testing.MockClock) -> None:
    chatter = Chatter(CHUNK // 2)
    await heard(chatter, trio.Event())
    assert len(chatter.reads) >= 100 * SECONDS


async def test_nothing_is_waited_for_after_the_end(autojump_clock: trio.testing.MockClock) -> None:
    chatter, over = Chatter(10), trio.Event()
    over.set()
    await heard(chatter, over)
    assert len(chatter.reads) >= 99 * SECONDS
