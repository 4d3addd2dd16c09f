"""The lock of Claude Code on a file of its own state: a folder beside the file.

A running client reads, changes and writes that file at any time; whoever else does takes the lock first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stratum_git.errors import HostError

PATIENCE = 15.0
STALE = 10.0
"""Seconds after which a lock is of a dead client, by the client's own rule: it touches its own every five."""


@contextmanager
def client_lock(place: Path) -> Iterator[None]:
    """Keeps Claude Code from writing *place* meanwhile; raises HostError when it does not let go of it."""
    lock = place.with_name(f"{place.name}.lock")
    deadline = time.time() + PATIENCE
    while True:
        try:
            lock.mkdir()
            break
        except FileExistsError as error:
            with suppress(OSError):
                if time.time() - lock.stat().st_mtime > STALE:
                    lock.rmdir()
                    continue
            if time.time() > deadline:
                hint = "end the client that is at work, and try once more"
                raise HostError(f"a client holds {lock}", hint=hint) from error
            time.sleep(0.05)
        except OSError as error:
            raise HostError(f"{lock} cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()
