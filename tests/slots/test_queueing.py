"""A lock is waited for, whoever holds it, and for no longer than was said."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from stratum_git.slots.queueing import lock_within


def test_a_lock_is_one_with_that_of_the_library(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    theirs = FileLock(path)
    with theirs:
        assert lock_within(path, 0) is None
        assert lock_within(path, 0.03) is None
    ours = lock_within(path, 0)
    assert ours is not None
    with pytest.raises(Timeout):
        theirs.acquire(timeout=0)
    ours.release()
    theirs.acquire(timeout=0)
    theirs.release()


def test_a_lock_is_had_as_soon_as_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    held = lock_within(path, 0)
    assert held is not None
    free = threading.Timer(0.05, held.release)
    free.start()
    found = lock_within(path, 30)
    assert found is not None
    found.release()
    free.join()


def test_a_lock_without_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lock_within(tmp_path / "gone" / "x.lock", 5)
