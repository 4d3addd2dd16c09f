"""Small trials of ways to make slots: each really does it, and looks at what came of it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from stratum_git.slots import btrfs
from stratum_git.slots.mounts import lay_over, take_off
from stratum_git.slots.reflinks import clone
from stratum_git.slots.rungs.copied import refused

FORBIDDEN = {errno.EPERM, errno.EACCES}
TEXT = "as it was\n"


def overlay(place: Path, *, by_user: bool) -> str:
    """Returns why nothing can be laid over a checkout in *place*, an empty folder; else nothing."""
    lower, upper, work, top = (place / name for name in ("lower", "upper", "work", "top"))
    for folder in (lower, lower / "folder", upper, work, top):
        folder.mkdir(mode=0o700)
    for path in (lower / "changed", lower / "gone", lower / "folder/file"):
        path.write_text(TEXT)
    try:
        lay_over((lower,), upper, work, top, by_user=by_user)
    except OSError as error:
        if error.errno in FORBIDDEN and not by_user:
            return "mounting takes root, or a namespace of the user's own, in which this process is not"
        return f"an overlay cannot be mounted here: {error.strerror}"
    try:
        return _walked(lower, upper, top)
    except OSError as error:
        return f"an overlay can be mounted, but not worked in: {error.strerror}"
    finally:
        with suppress(OSError):
            take_off(top)


def _walked(lower: Path, upper: Path, top: Path) -> str:
    """Does in an overlay what agents do in a slot, and looks at both of its layers."""
    if _sign(lower / "changed") != _sign(top / "changed"):
        return "files look different in an overlay, so that git would read all of them"
    (top / "changed").write_text("new\n")
    (top / "gone").unlink()
    (top / "folder/file").unlink()
    (top / "folder").rmdir()
    (top / "folder").mkdir()
    if os.listdir(top / "folder") or (top / "gone").exists():  # noqa: PTH208 - names are enough
        return "what is deleted in an overlay comes back"
    apart = sorted(path.name for path in upper.iterdir())
    if (lower / "changed").read_text() != TEXT or apart != ["changed", "folder", "gone"]:
        return "an overlay does not keep what changes apart"
    return ""


def _sign(path: Path) -> tuple[int, int, int]:
    at = path.stat()
    return at.st_ino, at.st_mtime_ns, at.st_ctime_ns


def snapshot(place: Path) -> str:
    """Returns why no subvolume can be copied in *place*, an empty folder; else nothing."""
    source, copy = place / "source", place / "copy"
    try:
        btrfs.create(source)
        (source / "file").write_text(TEXT)
        btrfs.snapshot(source, copy)
    except OSError as error:
        return refused(error)
    finally:
        btrfs.destroy(source)
    try:
        return "" if (copy / "file").read_text() == TEXT else "a snapshot has other files"
    finally:
        btrfs.destroy(copy)


def reflink(place: Path) -> str:
    """Returns why files cannot share their blocks in *place*, an empty folder; else nothing."""
    (place / "source").write_text(TEXT)
    try:
        clone(place / "source", place / "copy")
    except OSError as error:
        return refused(error)
    with (place / "copy").open("r+") as file:
        file.write("new")
    return "" if (place / "source").read_text() == TEXT else "a change in one file comes up in the other"
