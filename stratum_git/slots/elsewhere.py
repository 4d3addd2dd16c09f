"""Slots that other processes have mounted, in namespaces of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stratum_git.slots.mounts import mounts_of

PROC = Path("/proc")


def seen_by(place: Path) -> int | None:
    """Returns a process of this user's that sees something mounted at *place*; ``None`` where none does.

    The one with the lowest number: what began a namespace is older than what it started there.
    """
    for pid in sorted(_own()):
        if place in mounts_of(pid):
            return pid
    return None


def _own() -> Iterator[int]:
    here, user = os.readlink(PROC / "self/ns/mnt"), os.getuid()  # noqa: PTH115 - a name, no path
    for entry in os.scandir(PROC):
        try:
            if not entry.name.isdigit() or user not in {0, entry.stat().st_uid}:
                continue
            # Of one that sees what this process sees there is nothing to learn.
            if os.readlink(f"{entry.path}/ns/mnt") != here:  # noqa: PTH115
                yield int(entry.name)
        except OSError:
            continue
