"""Tries whether slots can be mounted in a namespace of this process's own, by mounting one."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.slots.folders import StateFolders
from stratum_git.spawn.namespace import called, hindrance

OPTIONS = "userxattr,index=off,metacopy=off,xino=off"


def why_not(folders: StateFolders) -> str:
    """Returns why slots cannot be mounted in a namespace here; empty when they can be.

    Only for a process without threads: a child of it tries.
    """
    place = Path(tempfile.mkdtemp(prefix="trial-", dir=folders.trash))
    try:
        return hindrance(partial(_trial, place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _trial(place: Path) -> None:
    """Mounts a small overlay, deletes and makes anew in it; raises OSError or HostError."""
    lower, upper, work, top = (place / name for name in ("lower", "upper", "work", "top"))
    for folder in (lower / "folder", upper, work, top):
        folder.mkdir(parents=True)
    (lower / "folder" / "old").write_text("old", encoding="ascii")
    options = f"lowerdir={lower},upperdir={upper},workdir={work},{OPTIONS}"
    libc = ctypes.CDLL(None, use_errno=True)
    called(libc.mount(b"overlay", os.fsencode(top), b"overlay", 0, os.fsencode(options)), "mount")
    # Where attributes of trusted processes are needed, this is what fails.
    shutil.rmtree(top / "folder")
    (top / "folder").mkdir()
    (top / "folder" / "new").write_text("new", encoding="ascii")
    seen = {path.name for path in (top / "folder").iterdir()}
    if seen != {"new"} or (upper / "folder" / "new").read_text(encoding="ascii") != "new":
        raise HostError("what was mounted does not show what is in it")
    # Of a folder of the kernel's nothing can be deleted by whoever comes after.
    (work / "work").chmod(0o700)
