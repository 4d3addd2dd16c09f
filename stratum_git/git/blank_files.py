"""Files that are made ahead, since to make one may take longer than to fill it and to have it on the disk.

They have no name until they are asked for, so nobody sees them, and those of a killed process are gone
with it. Where the system has no such files (``O_TMPFILE``), or none is ready, they are made when asked for.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

MOST = 4
"""Files of a kind that are made ahead."""
FOLDERS = 8
"""Kinds of which any are."""
MAKE = os.O_WRONLY | os.O_CLOEXEC


class BlankFiles:
    """Makes files, and some ahead in a thread, once :meth:`renew` asks for it. Safe for several threads.

    To be closed; it can be used again then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: dict[tuple[str, int], list[int]] = {}
        self._asked: Counter[tuple[str, int]] = Counter()
        self._pool: ThreadPoolExecutor | None = None
        self._making: Future[None] | None = None

    def make(self, path: str, mode: int) -> int:
        """Makes a file that was not there and returns it, open for writing; raises OSError."""
        kind = path.rpartition("/")[0], mode
        with self._lock:
            self._asked[kind] += 1
            ready = self._ready.get(kind)
            handle = ready.pop() if ready else -1
        if handle >= 0:
            try:
                # With a folder to begin at, which is not looked at, a link is what it leads to.
                os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=handle)
            except FileExistsError:
                os.close(handle)
                raise
            except OSError:
                # No /proc, or its folder was deleted and made again meanwhile.
                os.close(handle)
            else:
                return handle
        return os.open(path, MAKE | os.O_CREAT | os.O_EXCL, mode)

    def renew(self) -> None:
        """Has as many made as were asked for since, in a thread. What cannot be is made when asked for."""
        with self._lock:
            if not self._asked or not hasattr(os, "O_TMPFILE"):
                return
            asked, self._asked = self._asked, Counter()
            if self._pool is None:
                # Whoever only looks makes nothing, and this loads what writes logs.
                pools = import_module("concurrent.futures")
                self._pool = pools.ThreadPoolExecutor(1, thread_name_prefix="blank")
            # There are too many threads, or the process is about to end.
            with suppress(RuntimeError):
                self._making = self._pool.submit(self._renew, asked)

    def wait(self) -> None:
        """Waits until what was asked for is made."""
        with self._lock:
            making = self._making
        if making is not None:
            making.result()

    def close(self) -> None:
        """Lets go of all that nobody has asked for."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        with self._lock:
            ready, self._ready = self._ready, {}
        for handle in (handle for every in ready.values() for handle in every):
            os.close(handle)

    def _renew(self, asked: Counter[tuple[str, int]]) -> None:
        for kind, many in asked.items():
            for _ in range(min(many, MOST)):
                if not self._made(*kind):
                    break

    def _made(self, folder: str, mode: int) -> bool:
        with suppress(OSError):
            handle = os.open(folder, MAKE | os.O_TMPFILE, mode)
            with self._lock:
                ready = self._ready.setdefault((folder, mode), [])
                ready.append(handle)
                left = [] if len(ready) <= MOST else [ready.pop(0)]
                if len(self._ready) > FOLDERS:
                    left += self._ready.pop(next(iter(self._ready)))
            for one in left:
                os.close(one)
            return True
        return False
