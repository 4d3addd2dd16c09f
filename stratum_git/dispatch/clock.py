"""The one place that reads the wall clock. Deadlines use trio's clock; this one is for the record."""

from __future__ import annotations

import time


def now() -> float:
    """Returns seconds since the epoch."""
    return time.time()


def stamp(at: float) -> str:
    """Returns a moment, in seconds since the epoch, as local time that a person reads."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))


def uptime() -> float:
    """Returns seconds since the machine was started, asleep or not: the same for all, and nobody sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0.0


def local_offset() -> str:
    """Returns the offset of local time as git writes it, such as ``+0200``."""
    seconds = time.localtime().tm_gmtoff
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}{minutes:02}"


def monotonic() -> float:
    """Returns seconds on a clock that nobody sets."""
    return time.monotonic()


def thread_time() -> float:
    """Returns seconds of the CPU that this thread has taken."""
    return time.thread_time()
