"""Puts files and directories on the disk, several at once: a disk takes many in hardly more time than one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

WIDTH = 3
"""Threads that wait for the disk, the caller's included: it gains a tenth over one, and more gain nothing."""
FEW = 4
"""Files for which handing some to another thread takes longer than it saves."""
OPEN = 96
"""Files that are open at the same time."""


def flush(paths: Iterable[Path | str]) -> None:
    """Flushes those of *paths* that are there; a directory, so that the names made in it survive."""
    every = list(paths)
    for start in range(0, len(every), OPEN):
        with ExitStack() as stack:
            # All are opened here: a thread that does nothing but wait hardly needs the interpreter.
            handles = []
            for path in every[start : start + OPEN]:
                with suppress(FileNotFoundError):
                    handles.append(os.open(path, os.O_RDONLY))
                    stack.callback(os.close, handles[-1])
            if len(handles) > 1:
                for handle in handles:
                    # Linux takes this for a wish to write: the disk has all of them before one is waited for.
                    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            _flush_handles(handles)


def flush_data(handles: Sequence[int]) -> None:
    """Puts on the disk what was written to new files, their sizes included.

    Their times are not: nobody needs those, and it takes a third less.
    """
    for handle in handles:
        # Linux takes this for a wish to write: so one write of the disk's journal is waited for, and not two.
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    for handle in handles:
        os.fdatasync(handle)


def _flush_handles(handles: Sequence[int]) -> None:
    if len(handles) <= FEW:
        _wait(handles)
        return
    others = [_pool().submit(_wait, handles[n::WIDTH]) for n in range(1, min(WIDTH, len(handles)))]
    try:
        _wait(handles[::WIDTH])
    finally:
        for other in others:
            other.result()


def _wait(handles: Iterable[int]) -> None:
    for handle in handles:
        os.fsync(handle)


@cache
def _pool() -> ThreadPoolExecutor:
    # Whoever only looks flushes nothing, and this loads what writes logs.
    pools = import_module("concurrent.futures")
    made: ThreadPoolExecutor = pools.ThreadPoolExecutor(WIDTH - 1, thread_name_prefix="flush")
    return made
