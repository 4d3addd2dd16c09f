"""Keeps everybody's git out of the index of a branch's checkouts while the branch moves and they follow.

Without it, a ``git checkout``, ``stash`` or ``commit -a`` of the user's in the moment between keeps the files
of before, or brings them back. What is held is git's own ``index.lock``: his git says that it exists, as it
does beside any other git. A claim says that it is ours, so that it goes when its holder was killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

from stratum_git.errors import HostError
from stratum_git.git import stale_locks
from stratum_git.git.checkout import checkouts_of
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import RefName

PAUSE, PAUSES = 0.02, 100
"""Seconds, and how many times: as long as a landing waits for a lock of the user's."""


@contextmanager
def held_checkouts(repo: Repository, branch: RefName) -> Iterator[frozenset[Path] | None]:
    """Holds the index of each checkout of *branch*; gives them, or ``None`` where somebody else has one."""
    places = {path: git_dir_of(path).resolve() / "index.lock" for path in checkouts_of(repo, branch)}
    with ExitStack() as stack:
        with stale_locks.moving(repo.common_dir) as handle, stale_locks.held(handle):
            stack.enter_context(stale_locks.claimed(repo.common_dir, places.values()))
            is_ours = all(_took(lock, stack) for lock in places.values())
        if is_ours:
            # Whoever switched to another branch before the lock was there is not on this one any more.
            yield frozenset(path for path in checkouts_of(repo, branch) if path in places)
        else:
            stack.close()
            yield None


def _took(lock: Path, stack: ExitStack) -> bool:
    pause = Event()
    for _ in range(PAUSES):
        try:
            # Open until it goes: by that others see that whoever has it is alive.
            handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            pause.wait(PAUSE)
        except OSError as error:
            raise HostError(f"{lock} cannot be made: {error.strerror}") from error
        else:
            stack.callback(os.close, handle)
            stack.callback(lock.unlink, missing_ok=True)
            return True
    return False
