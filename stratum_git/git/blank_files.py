"""Files that are made ahead, since to make one may take longer than to fill it and to have it on the disk.

They have no name until they are asked for, so nobody sees them, and those of a killed process are gone
with it. Where the system has no such files (``O_TMPFILE``), or none is ready, they are made when asked for.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress

MOST = 4
"""Files of a kind that are made ahead."""
FOLDERS = 8
"""Kinds of which any are."""
IDLE = 3.0
"""Seconds after which they are let go of where nobody asks: who has a file open keeps its disk from being
taken away, or made read-only."""
MAKE = os.O_WRONLY | os.O_CLOEXEC


class BlankFiles:
    """Makes files, and some ahead in a thread, once :meth:`renew` asks for it. Safe for several threads.

    To be closed; it can be used again then.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready: dict[tuple[str, int], list[int]] = {}
        self._asked: Counter[tuple[str, int]] = Counter()
        self._thread: threading.Thread | None = None
        self._is_due = self._is_making = self._is_closing = False

    def make(self, path: str, mode: int) -> int:
        """Makes a file that was not there and returns it, open for writing; raises OSError."""
        kind = path.rpartition("/")[0], mode
        with self._changed:
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
        with self._changed:
            if not self._asked or self._is_closing or not hasattr(os, "O_TMPFILE"):
                return
            self._is_due = True
            self._changed.notify_all()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="blank", daemon=True)
                # There are too many threads, or the process is about to end.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def wait(self) -> None:
        """Waits until what was asked for is made."""
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None or not (self._is_due or self._is_making))

    def close(self) -> None:
        """Lets go of all that nobody has asked for."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._changed:
            self._is_closing = False
            self._let_go()

    def _run(self) -> None:
        try:
            while (asked := self._wanted()) is not None:
                for kind, many in asked.items():
                    for _ in range(min(many, MOST)):
                        if not self._made(*kind):
                            break
        finally:
            with self._changed:
                if self._thread is threading.current_thread():
                    self._end()

    def _wanted(self) -> Counter[tuple[str, int]] | None:
        """Waits for the next files to make; returns ``None`` when nobody asks any more."""
        with self._changed:
            self._is_making = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_due or self._is_closing, IDLE)
            if self._is_closing or not self._is_due:
                self._end()
                return None
            asked, self._asked = self._asked, Counter()
            self._is_due, self._is_making = False, True
            return asked

    def _made(self, folder: str, mode: int) -> bool:
        with suppress(OSError):
            handle = os.open(folder, MAKE | os.O_TMPFILE, mode)
            with self._changed:
                ready = self._ready.setdefault((folder, mode), [])
                ready.append(handle)
                left = [] if len(ready) <= MOST else [ready.pop(0)]
                if len(self._ready) > FOLDERS:
                    left += self._ready.pop(next(iter(self._ready)))
            for one in left:
                os.close(one)
            return True
        return False

    def _end(self) -> None:
        self._let_go()
        self._thread = None
        self._is_making = False
        self._changed.notify_all()

    def _let_go(self) -> None:
        ready, self._ready = self._ready, {}
        for handle in (handle for every in ready.values() for handle in every):
            os.close(handle)
