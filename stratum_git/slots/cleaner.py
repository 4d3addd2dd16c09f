"""A thread that does what nobody waits for, one piece after the other, while there is any."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path


class Cleaner:
    """Calls *work* with each place that is added, in turn. *work* raises nothing.

    The thread begins with the first place and ends with the last, so nobody has to end it; should its process
    end before, what was not begun stays as it was.
    """

    def __init__(self, work: Callable[[Path], None]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._todo: deque[Path] = deque()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._done = 0
        self._is_waited_for = False

    def add(self, place: Path) -> bool:
        """Has *work* done for a place, soon; returns whether there is a thread for it."""
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="cleaner", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # There are too many, or the process is about to end.
                    return False
                self._thread = thread
            self._todo.append(place)
        return True

    def waited(self) -> bool:
        """Waits until the piece at hand is done; returns whether there was one that nobody else waits for."""
        with self._changed:
            if not self._is_busy or self._is_waited_for:
                return False
            self._is_waited_for = True
            try:
                before = self._done
                self._changed.wait_for(lambda: self._done != before)
            finally:
                self._is_waited_for = False
        return True

    def close(self) -> None:
        """Begins with no other place, and waits for the piece at hand."""
        with self._changed:
            self._todo.clear()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        try:
            while (place := self._next()) is not None:
                try:
                    self._work(place)
                finally:
                    with self._changed:
                        self._is_busy = False
                        self._done += 1
                        self._changed.notify_all()
        finally:
            # Should work raise all the same, nobody is to wait for a thread that has ended.
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _next(self) -> Path | None:
        with self._changed:
            if not self._todo:
                self._thread = None
                return None
            self._is_busy = True
            return self._todo.popleft()
