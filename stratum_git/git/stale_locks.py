"""Lock files of git's that a killed git left behind: deleted where it is certain that they are ours and dead.

*Ours* is a lock of a ref that nobody else writes, or one that we said we would take before we took it. We say
so by a symlink (``.git/stratum/claims/``): its text is in the directory itself, so that it survives whatever
the lock survives, and costs no flush. *Dead* means three things at once. No process of this program is moving
refs or an index: each holds :func:`moving` shared while it is, its git inherits that, and who clears holds it
alone. No process has the lock open. And no other git is at work in the repository: git closes a lock's file
before it makes use of it, so that alone would not do. Whatever is not certain stays, and is told.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.process import MARK
from stratum_git.spawn import outside

OWN = ("refs/stratum/", "refs/heads/stratum/")
"""Refs that nobody but this program, and agents in its slots, ever writes."""
OWN_LOCK = re.compile(rf"(?:{'|'.join(OWN)}).+|worktrees/slot-[0-9a-f]{{8}}/[^/]+")
PATIENCE = 3.0
PAUSE = 0.02
PROC = Path("/proc")
LONGEST = 4000
"""Bytes of a symlink's text; the kernel takes 4095."""


@contextmanager
def moving(common_dir: Path) -> Iterator[int]:
    """Opens the file that whoever moves refs holds; gives the handle, which a git is to inherit."""
    folder = common_dir / "stratum"
    try:
        folder.mkdir(exist_ok=True)
        # Not for writing: nobody is to be kept from making the disk read-only.
        handle = os.open(folder / "moving", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise HostError(f"{folder} cannot be written to: {error.strerror}") from error
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def held(handle: int) -> Iterator[None]:
    """Keeps everybody from clearing locks meanwhile."""
    fcntl.flock(handle, fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def claimed(common_dir: Path, locks: Iterable[Path]) -> Iterator[None]:
    """Says that *locks* are about to be taken, and after them that they are given back. The caller holds."""
    text = "\n".join(map(str, locks))
    if not text or len(os.fsencode(text)) > LONGEST:
        yield
        return
    claim = common_dir / "stratum" / "claims" / os.urandom(8).hex()
    try:
        try:
            claim.symlink_to(text)
        except FileNotFoundError:
            claim.parent.mkdir(parents=True, exist_ok=True)
            claim.symlink_to(text)
    except OSError as error:
        raise HostError(f"{claim.parent} cannot be written to: {error.strerror}") from error
    try:
        yield
    finally:
        claim.unlink(missing_ok=True)


@contextmanager
def taking(common_dir: Path, locks: Iterable[Path]) -> Iterator[None]:
    """Says that git is about to take *locks* by itself, and keeps everybody from clearing them meanwhile."""
    with moving(common_dir) as handle, held(handle), claimed(common_dir, locks):
        yield


def clear(common_dir: Path, lock: Path) -> bool:
    """Deletes *lock* if it is ours and dead; returns whether it is gone."""
    with moving(common_dir) as handle:
        if not _alone(handle):
            return not lock.exists()
        try:
            before = lock.stat()
            if not (_is_own(common_dir, lock) or _is_claimed(common_dir, lock)) or not _is_left(
                common_dir, lock
            ):
                return False
            now = lock.stat()
            if (now.st_ino, now.st_ctime_ns) == (before.st_ino, before.st_ctime_ns):
                lock.unlink()
        except FileNotFoundError:
            # Its owner was about to give it back.
            return True
        except OSError as error:
            raise HostError(f"{lock} cannot be deleted: {error.strerror}") from error
        _forget_claims(common_dir)
        return True


def locks_in(common_dir: Path) -> dict[Path, bool]:
    """Returns the lock files that lie about in a repository, each with whether it is ours."""
    found = [common_dir / name for name in ("HEAD.lock", "packed-refs.lock", "index.lock", "config.lock")]
    found += sorted((common_dir / "refs").rglob("*.lock"))
    found += sorted((common_dir / "worktrees").glob("*/*.lock"))
    return {
        lock: _is_own(common_dir, lock) or _is_claimed(common_dir, lock) for lock in found if lock.is_file()
    }


def _alone(handle: int) -> bool:
    """Takes the lock alone; returns whether the others let go of it in time."""
    for _ in range(int(PATIENCE / PAUSE)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _pause()
        else:
            return True
    return False


def _is_own(common_dir: Path, lock: Path) -> bool:
    with contextlib.suppress(ValueError):
        return OWN_LOCK.fullmatch(str(lock.relative_to(common_dir))) is not None
    return False


def _is_claimed(common_dir: Path, lock: Path) -> bool:
    """Returns whether somebody said that he would take *lock*, before it was there."""
    made = lock.stat().st_ctime_ns
    for claim in (common_dir / "stratum" / "claims").glob("*"):
        with contextlib.suppress(OSError):
            if str(lock) in str(claim.readlink()).split("\n") and claim.lstat().st_ctime_ns <= made:
                return True
    return False


def _is_left(common_dir: Path, lock: Path) -> bool:
    """Waits for whoever may hold *lock* to go; returns whether all of them did."""
    places = _places(common_dir)
    # Whoever is not there now cannot have made it: those who start meanwhile need not be waited for.
    suspects = {(pid, _start_of(pid)) for pid in PROC.glob("[0-9]*") if _may_hold(pid, lock, places)}
    for _ in range(int(PATIENCE / PAUSE)):
        if not suspects:
            return True
        _pause()
        suspects = {
            who for who in suspects if _start_of(who[0]) == who[1] and _may_hold(who[0], lock, places)
        }
    return False


def _start_of(process: Path) -> bytes:
    """Returns when a process started, in ticks of this boot; empty for one that is gone."""
    with contextlib.suppress(OSError):
        return (process / "stat").read_bytes().rpartition(b")")[2].split()[19]
    return b""


def _may_hold(process: Path, lock: Path, places: tuple[Path, ...]) -> bool:
    try:
        if _is_foreign_git(process) and _stands_in(process, places):
            return True
        return str(lock) in outside.handles(int(process.name))
    except FileNotFoundError:
        # It has ended meanwhile.
        return False
    except OSError:
        # Somebody else's: what it has open is not told. Only a git would be asked that question.
        return _is_foreign_git(process)


def _is_foreign_git(process: Path) -> bool:
    with contextlib.suppress(OSError):
        if (process / "comm").read_bytes().startswith(b"git"):
            words = (process / "cmdline").read_bytes()
            return bool(words) and MARK.encode() not in words.split(b"\0")
    return False


def _stands_in(process: Path, places: tuple[Path, ...]) -> bool:
    """Returns whether a git is at work in the repository, or may be: it can be told so from elsewhere."""
    cwd = Path(outside.link(int(process.name), "cwd"))
    if any(cwd.is_relative_to(place) for place in places):
        return True
    words = (process / "cmdline").read_bytes().split(b"\0")
    told = [b for a, b in pairwise(words) if a == b"--git-dir"]
    every = (*words, *outside.read(int(process.name), "environ").split(b"\0"))
    told += [word.partition(b"=")[2] for word in every if word.startswith((b"--git-dir=", b"GIT_DIR="))]
    there = [(cwd / os.fsdecode(name)).resolve() for name in told]
    return any(folder.is_relative_to(place) for folder in there for place in places)


def _places(common_dir: Path) -> tuple[Path, ...]:
    """Returns where a git that works in the repository may stand."""
    found = [common_dir.parent if common_dir.name == ".git" else common_dir, common_dir]
    for marker in (common_dir / "worktrees").glob("*/gitdir"):
        with contextlib.suppress(OSError):
            text = marker.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
            found.append((marker.parent / text).parent)
    return tuple(place.resolve() for place in found)


def _forget_claims(common_dir: Path) -> None:
    """Drops the claims of those who are gone: who clears is alone, so all of them are."""
    for claim in (common_dir / "stratum" / "claims").glob("*"):
        with contextlib.suppress(OSError):
            if not any(Path(name).exists() for name in str(claim.readlink()).split("\n")):
                claim.unlink()


def _pause() -> None:
    select.select((), (), (), PAUSE)
