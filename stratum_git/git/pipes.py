"""Pipes where git expects a file, such as a ``.gitignore``: git waits until somebody writes to them.

Nobody ever will, so they are opened for writing here and closed again: git reads an empty file, and goes on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stratum_git.git.programs import places

READ = (".gitignore", ".gitattributes", ".gitmodules", ".mailmap", ".git")
"""What git opens in the folders of a checkout, whatever it is."""


def relieve(checkout: Path) -> None:
    """Ends every pipe that git in *checkout* may be waiting for. It takes as long as looking at all of it."""
    for path in _candidates(checkout):
        with suppress(OSError):
            if stat.S_ISFIFO(path.lstat().st_mode):
                # It can be opened so only while somebody reads from it.
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def _candidates(checkout: Path) -> Iterator[Path]:
    for place in dict.fromkeys(places(checkout)):
        if place is not None:
            for inner in (place, place / "info", *_below(place / "worktrees")):
                yield from _below(inner)
    for folder, _, names in os.walk(checkout):
        yield from (Path(folder, name) for name in READ if name in names)


def _below(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from folder.iterdir()
