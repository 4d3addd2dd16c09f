"""Enters a user and a mount namespace, in which somebody who is not root may mount.

The process keeps the right to mount until it executes something else: what it starts is the plain user again,
without any right, and simply sees what is mounted. All of it is gone when the last process in there is, so
nothing mounted is ever left behind.

What is lost in there: other users' files seem to be ``nobody``'s, and nothing is run as another user
(``sudo``, ``su``, ``fusermount``, ``newuidmap``). Linux only, and only where the system's rules allow it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.spawn.outside import leave_lookout, recall_lookout
from stratum_git.spawn.ssh_settings import included, show_as_own

NEW_USERS, NEW_MOUNTS = 0x10000000, 0x00020000
RECURSIVE, SLAVE = 0x4000, 1 << 19
DETACH = 2
"""Of ``umount2``: though it is in use."""
ADMIN = 21
"""Number of the capability with which one may mount."""
SELF = Path("/proc/self")
LONGEST = 4000
"""Bytes of what is said of a trial: a pipe takes them at once."""
LIMIT = 10
"""Seconds after which a trial that hangs is over."""
DONE = "done"
FORBIDDING = (
    "who is not root may be forbidden to: sysctl kernel.unprivileged_userns_clone, "
    "kernel.apparmor_restrict_unprivileged_userns, or the seccomp rules of a container"
)

_entered: list[int] = []


def is_entered() -> bool:
    """Returns whether this process is in a namespace of its own: nobody else sees what it mounts."""
    return os.getpid() in _entered


def may_mount() -> bool:
    """Returns whether this process may mount where it is: as root, or in a namespace that it entered."""
    try:
        rows = (SELF / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    rights = next((row.split()[1] for row in rows if row.startswith("CapEff:")), "0")
    return bool(int(rights, 16) >> ADMIN & 1)


def hindrance(trial: Callable[[], str]) -> str:
    """Returns why no namespace can be entered and used here; empty when one can be.

    A child tries it: a namespace that forbids what it is for could not be left again. *trial* returns why
    what is to be done inside is not possible there, or nothing.
    """
    if sys.platform != "linux":
        return "only Linux has them"
    if len(os.listdir(SELF / "task")) > 1:  # noqa: PTH208 - counted
        return "this program has several threads"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _try(writer, trial)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        words = said.read().decode(errors="replace")
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    return "" if words == DONE else words or "the process that tried it was killed"


def enter() -> None:
    """Goes into a new user and mount namespace, and leaves somebody outside who looks.

    Only before there are threads, and where nothing is a :func:`hindrance`. Raises HostError when the system
    refuses all the same: it may have done so halfway, so there is nothing to go on with.
    """
    leave_lookout()
    uid, gid, files = os.getuid(), os.getgid(), included()
    try:
        _unshare()
        _settle(uid, gid, files)
    except OSError as error:
        recall_lookout()
        raise HostError(f"no namespace could be entered: {_words(error)}", hint="try again") from error
    _entered.append(os.getpid())


def _unshare() -> None:
    called(_libc().unshare(NEW_USERS | NEW_MOUNTS), "unshare")


def _settle(uid: int, gid: int, files: frozenset[Path]) -> None:
    """Makes user and group what they were, and keeps to itself what is mounted from now on."""
    # Who could drop groups in there would get past files that say what a group may not.
    (SELF / "setgroups").write_text("deny", encoding="ascii")
    (SELF / "uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    (SELF / "gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    called(_libc().mount(None, b"/", None, RECURSIVE | SLAVE, None), "mount")
    show_as_own(files, _mount, _unmount)


def _mount(source: bytes, place: Path, kind: bytes, flags: int) -> None:
    called(_libc().mount(source, os.fsencode(place), kind, flags, None), "mount")


def _unmount(place: Path) -> None:
    called(_libc().umount2(os.fsencode(place), DETACH), "umount2")


def called(answer: int, name: str) -> None:
    """Raises the OSError of a system call of C's that answered with other than 0."""
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _try(writer: int, trial: Callable[[], str]) -> None:
    """Is the child that tries; never returns."""
    try:
        signal.alarm(LIMIT)
        # Asked before: inside, nobody is anybody until it is said who.
        uid, gid, files = os.getuid(), os.getgid(), included()
        _unshare()
        _settle(uid, gid, files)
        os.write(writer, (trial() or DONE).encode()[:LONGEST])
    except OSError as error:
        os.write(writer, _reason(error).encode()[:LONGEST])
    finally:
        os._exit(0)


def _reason(error: OSError) -> str:
    """Returns why the system let no namespace be made, and what decides that, as far as it is known."""
    what = f"no namespace can be made: {_words(error)}"
    if error.errno == errno.ENOSPC:
        return f"{what}; there may be no more of them: sysctl user.max_user_namespaces"
    if error.errno in {errno.EPERM, errno.EACCES}:
        return f"{what}; {FORBIDDING}"
    return what


def _words(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
