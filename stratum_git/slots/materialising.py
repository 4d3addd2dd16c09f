"""Makes ordinary files of an overlay that cannot be mounted any more: its base, with what changed applied.

Another kernel, a container, a user without the rights: the work is in the upper directory all the same.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from stratum_git.model.changing import replace
from stratum_git.model.values import dataclass, field

MARKS = ("trusted.overlay.", "user.overlay.")
OPAQUE = tuple(f"{mark}opaque" for mark in MARKS)
"""What a folder has that hides the one below it instead of being merged with it."""

MOVED = tuple(f"{mark}redirect" for mark in MARKS)
STATUS = Path("/proc/self/status")
SYS_ADMIN = 1 << 21
"""The right to mount, and to see attributes whose names begin with ``trusted``."""


def is_whiteout(facts: os.stat_result) -> bool:
    """Returns whether something in an upper directory says that there is nothing by that name."""
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0


def is_opaque(folder: Path) -> bool:
    """Returns whether a folder of an upper directory hides what lies below it."""
    for name in OPAQUE:
        with suppress(OSError):
            if os.getxattr(folder, name, follow_symlinks=False) == b"y":
                return True
    return False


def sees_all_marks() -> bool:
    """Returns whether the marks that root's overlays leave can be read: to others they are not there."""
    with suppress(OSError, StopIteration, ValueError):
        rows = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return bool(int(next(row for row in rows if row.startswith("CapEff:")).split()[1], 16) & SYS_ADMIN)
    return False


def has_moved(upper: Path) -> bool:
    """Returns whether a folder in an upper directory is one of the base that was given another name."""
    return any(_moved_from(Path(root, name)) for root, folders, _ in os.walk(upper) for name in folders)


def apply_upper(upper: Path, tree: Path, pristine: Path) -> None:
    """Changes the files in *tree*, a checkout of the base, as an overlay with this *upper* would show them.

    *pristine* is another such checkout, looked at where folders were moved. Modes, times, links, owners and
    attributes are those of the upper directory. Files that had two names have them again. Sockets are
    left out.
    """
    _merge(upper, tree, _Sources(pristine, pristine))


@dataclass(frozen=True)
class _Sources:
    """Where the files of a folder lie in the base, whose top is ``top``; and what has a name already."""

    top: Path
    here: Path
    shared: dict[tuple[int, int], Path] = field(default_factory=dict)

    def below(self, folder: Path) -> _Sources:
        moved = _moved_from(folder)
        if moved.startswith("/"):
            return replace(self, here=self.top / moved.lstrip("/"))
        return replace(self, here=self.here / (moved or folder.name))


def _merge(upper: Path, tree: Path, sources: _Sources) -> None:
    with os.scandir(upper) as rows:
        entries = [(Path(entry.path), entry.stat(follow_symlinks=False)) for entry in rows]
    for path, facts in entries:
        target = tree / path.name
        if stat.S_ISDIR(facts.st_mode):
            below = sources.below(path)
            if is_opaque(path) or _moved_from(path) or target.is_symlink() or not target.is_dir():
                _remove(target)
            if _moved_from(path) and below.here.is_dir():
                shutil.copytree(below.here, target, symlinks=True)
            target.mkdir(exist_ok=True)
            _merge(path, target, below)
            _dress(path, target, facts)
            continue
        _remove(target)
        if not is_whiteout(facts):
            _copy(path, target, facts, sources.shared)


def _moved_from(folder: Path) -> str:
    """Returns the name that a folder had, or from the top on its path; empty where it was not moved."""
    for name in MOVED:
        with suppress(OSError):
            return os.fsdecode(os.getxattr(folder, name, follow_symlinks=False))
    return ""


def _copy(source: Path, target: Path, facts: os.stat_result, shared: dict[tuple[int, int], Path]) -> None:
    first = shared.get((facts.st_dev, facts.st_ino))
    if first is not None:
        os.link(first, target, follow_symlinks=False)
        return
    if stat.S_ISLNK(facts.st_mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISREG(facts.st_mode):
        shutil.copyfile(source, target)
    elif not stat.S_ISSOCK(facts.st_mode):
        os.mknod(target, facts.st_mode, facts.st_rdev)
    else:
        return
    if facts.st_nlink > 1:
        shared[facts.st_dev, facts.st_ino] = target
    _dress(source, target, facts)


def _dress(source: Path, target: Path, facts: os.stat_result) -> None:
    """Gives *target* the owner, mode, times and attributes of *source*, as far as this user may."""
    with suppress(OSError):
        os.chown(target, facts.st_uid, facts.st_gid, follow_symlinks=False)
    shutil.copystat(source, target, follow_symlinks=False)
    for name in os.listxattr(target, follow_symlinks=False):
        if name.startswith(MARKS):
            os.removexattr(target, name, follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
