"""Keeps a run quick to answer while its threads work, and others print."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TURN = 0.001
"""Seconds after which a thread that computes lets another one on. Python's own five are for each of them that
is waited for, and the owner of a run waits for up to eight whenever it has read or written something."""


@contextmanager
def prompt() -> Iterator[None]:
    """Has threads take shorter turns meanwhile, and what is there by now not be looked through for garbage.

    Looking through all that the program has loaded takes a tenth of a second, in which nothing else is done.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, TURN))
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
