"""Writes down what ``query flow`` tells of flows that go on, by whoever has all that takes loaded anyway.

It happens in a thread, a moment after an event that comes alone and once for many, so nobody waits for it;
and when whoever writes the flow is done. A verb that records something, and ends, tells it before it does.
Who asks in between works it out for himself, as he does where nothing is written (``retelling.py``).
"""

from __future__ import annotations

import threading
from pathlib import Path

from stratum_git.app.retelling import words_of
from stratum_git.dispatch.clock import monotonic
from stratum_git.model.ids import FlowId, Oid
from stratum_git.model.state import FlowState
from stratum_git.store.flows import Stored
from stratum_git.store.told import remember_words

SOON = 0.05
"""Seconds after an event: others that come of the same thing come within these."""
REST = 0.5
"""Seconds between two times at least."""
PACE = 100_000
"""Characters a second that are told: they take a hundredth of it. Of a large flow it is told less often."""


class Teller:
    """Writes down what is told of the flows of a repository. Safe for several threads. To be closed."""

    def __init__(self, common_dir: Path, soon: float = SOON) -> None:
        self._common_dir = common_dir
        self._soon = soon
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._due: dict[FlowId, Stored] = {}
        self._timer: threading.Timer | None = None
        self._rests_until = 0.0

    def note(self, stored: Stored) -> None:
        """Notes a flow as it is now: it will be told so, if it does not go on before that."""
        with self._guard:
            self._due[stored.state.flow] = stored
            if self._timer is None:
                self._plan()

    def close(self) -> None:
        """Tells at once what is left to tell; waits for who is at it."""
        with self._guard:
            if self._timer is not None:
                self._timer.cancel()
        self._tell()

    def _tell(self) -> None:
        with self._writing:
            with self._guard:
                due, self._due = self._due, {}
            told = sum(tell(self._common_dir, stored.tip, stored.state) for stored in due.values())
            with self._guard:
                self._timer, self._rests_until = None, monotonic() + max(REST, told / PACE)
                if self._due:
                    self._plan()

    def _plan(self) -> None:
        self._timer = threading.Timer(max(self._soon, self._rests_until - monotonic()), self._tell)
        self._timer.daemon = True
        self._timer.start()


def tell(common_dir: Path, tip: Oid, state: FlowState) -> int:
    """Writes down what is told of a flow whose last event is *tip*; returns how many characters that are."""
    words = words_of(state)
    remember_words(str(common_dir), tip, words)
    return len(words)
