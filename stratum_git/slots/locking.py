"""The lock of a slot: the kernel's, on a file, gone with whoever holds it."""

from __future__ import annotations

import fcntl
import os
from typing import Self


class SlotLock:
    """A lock that is held, until it is released, passed on, or its process ends. Any thread may do that."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._process = os.getpid()

    @classmethod
    def taken(cls, path: str) -> Self | None:
        """Returns the lock of the file at *path*, or ``None`` when somebody has it; raises OSError."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.fstat(handle).st_nlink > 0
        except (BlockingIOError, PermissionError):
            # Some file systems have the second word for it.
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        if is_there:
            return cls(handle)
        # Who had it has deleted it meanwhile: nobody else would find what is locked here.
        os.close(handle)
        return None

    @property
    def is_locked(self) -> bool:
        """Returns whether it is held through this object."""
        return self._handle >= 0

    def release(self) -> None:
        """Lets go of it; once it is not held any more, that does nothing."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            if os.getpid() == self._process:
                # Of whatever was forked meanwhile as well, and never by that.
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def passed_on(self) -> SlotLock:
        """Returns the same lock for somebody else; this object does not hold it any more."""
        handle, self._handle = self._handle, -1
        return SlotLock(handle)

    def __del__(self) -> None:
        self.release()
