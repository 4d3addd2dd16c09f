"""Deletes what was thrown away. It takes as long as making it did, so it is for when nobody waits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def empty(folder: Path, *, limit: float, clock: Callable[[], float]) -> bool:
    """Deletes what is in *folder* and returns whether all of it is gone.

    No new piece is begun once *limit* seconds have passed on *clock*. Links are removed, never followed.
    Several processes may do it at once.
    """
    end = clock() + limit
    left = False
    for path in sorted(folder.iterdir()):
        if clock() >= end:
            return False
        left |= not _deleted(path)
    return not left


def _deleted(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return True
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        _open_up(path)
        shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _open_up(top: Path) -> None:
    """Makes every folder below *top* deletable: agents run build tools, which write read-only folders."""
    top.chmod(0o700)
    for root, folders, _ in os.walk(top):
        for folder in (Path(root, name) for name in folders):
            if not folder.is_symlink():
                folder.chmod(0o700)
