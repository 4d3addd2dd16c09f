"""Shows ssh the settings that all share as files of the user's own, where root's seem to be nobody's.

In a user namespace of one user all others are ``nobody``, and ssh refuses a file that its system-wide
settings include when it is neither root's nor the user's: no ``git fetch`` over ssh would work. So copies are
laid over such files, for whoever is in the namespace. At the main file ssh does not look so.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from stratum_git.spawn.temporary import temporary

SETTINGS = Path("/etc/ssh/ssh_config")
INCLUDE = re.compile(r"(?mi)^[ \t]*include[ \t=]+(.*)$")
BIND = 0x1000
DEEPEST = 16
"""Files that include one another; ssh follows no more."""

Mount = Callable[[bytes, Path, bytes, int], None]
"""Mounts a source at a place, as a kind of file system, with flags; raises OSError."""


def included(top: Path = SETTINGS) -> frozenset[Path]:
    """Returns the files that the settings in *top* include, where they are not this user's."""
    found, todo = set[Path](), {top}
    for _ in range(DEEPEST):
        todo = {path for file in todo for path in _named(file, top.parent)} - found
        found |= todo
    return frozenset(path for path in found if path.stat().st_uid != os.getuid())


def show_as_own(files: frozenset[Path], mount: Mount, unmount: Callable[[Path], None]) -> None:
    """Lays copies over *files*; they are gone with the namespace. Raises OSError."""
    if not files:
        return
    with temporary("ssh") as place:
        mount(b"stratum-git", place, b"tmpfs", 0)
        try:
            for number, path in enumerate(sorted(files)):
                copy = place / str(number)
                copy.write_bytes(path.read_bytes())
                copy.chmod(0o644)
                mount(os.fsencode(copy), path, b"", BIND)
        finally:
            # What lies over the files keeps it there; nobody else has to see it.
            unmount(place)


def _named(file: Path, folder: Path) -> Iterator[Path]:
    with suppress(OSError, ValueError):
        for row in INCLUDE.findall(file.read_text(encoding="utf-8")):
            for word in row.split():
                for name in glob.glob(str(folder / word.strip('"'))):  # noqa: PTH207 - it may be a whole path
                    path = Path(name)
                    # Resolved: it is laid over the file that a link leads to.
                    if path.is_file() and os.access(path, os.R_OK):
                        yield path.resolve()
