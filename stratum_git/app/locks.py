"""Locks that processes hold for as long as a call takes: files that the kernel locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from stratum_git.slots.locking import SlotLock


@contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """Holds the lock of a file, and waits for who has it; raises filelock's Timeout after *patience* seconds.

    One that nobody has is had without what knows how to wait, which takes as long as all the rest of a call.
    """
    own = SlotLock.taken(str(path))
    if own is None:
        with FileLock(path, thread_local=False, poll_interval=0.01, mode=0o600).acquire(timeout=patience):
            yield
        return
    try:
        yield
    finally:
        own.release()
