"""Deletes what was thrown away. It takes as long as making it did, so it is for when nobody waits."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stratum_git.slots.mounts import detach


def empty(folder: Path, *, limit: float, clock: Callable[[], float]) -> bool:
    """Deletes what is in *folder* and returns whether all of it is gone.

    No new piece is begun once *limit* seconds have passed on *clock*. Links are removed, never followed, and
    nothing is deleted that lies on a file system mounted there. Several processes may do it at once.
    """
    end = clock() + limit
    left = False
    for path in sorted(folder.iterdir()):
        if clock() >= end:
            return False
        left |= not _deleted(path)
    return not left


def delete(path: Path) -> None:
    """Deletes one piece of what was thrown away; what cannot be deleted stays for :func:`empty`."""
    _deleted(path)


def _deleted(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return True
    if not detach(path):
        return False
    try:
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            _open_up(path)
            shutil.rmtree(path, ignore_errors=True)
    except (RecursionError, OSError):
        # Nested deeper than Python or a path can follow, or made so that nobody can change it.
        _flatten(path)
    return not path.exists()


def _open_up(top: Path) -> None:
    """Makes every folder below *top* deletable: agents run build tools, which write read-only folders."""
    top.chmod(0o700)
    for root, folders, _ in os.walk(top):
        for folder in (Path(root, name) for name in folders):
            if not folder.is_symlink():
                folder.chmod(0o700)


def _flatten(top: Path) -> None:
    """Deletes a tree however deep: each folder is taken out of the one above it before it is emptied."""
    todo = [top]
    while todo:
        at = todo.pop()
        with suppress(OSError):
            at.chmod(0o700)
            for path in list(at.iterdir()):
                if path.is_symlink() or not path.is_dir():
                    path.unlink()
                else:
                    todo.append(path.rename(top.parent / f"deep-{secrets.token_hex(8)}"))
            at.rmdir()
