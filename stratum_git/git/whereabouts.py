"""Where a checkout lies, read from its files alone, as texts: for whoever has time for nothing else.

What git would find in other ways (variables, a bare repository) is not found here; then there is none.
Neither ``pathlib`` nor ``dataclasses`` is loaded: a hook runs before each command of a client's.
"""

from __future__ import annotations

import errno
import os
import re
import stat

try:
    # As the random module of the standard library does it: hashlib loads all of OpenSSL for one digest.
    from _sha2 import sha256  # type: ignore[import-not-found] # it is there, and in no stub
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found] # as above, before 3.12
    except ImportError:
        from hashlib import sha256

__all__ = ["Checkout", "Undecided", "checkout_at", "key_of", "pointer", "resolved", "sha256"]
POINTER = 64 * 1024
"""Bytes of the files in which git notes where something is; a path has four thousand at most."""


class Undecided(Exception):  # noqa: N818 - nothing is wrong
    """What is asked cannot be seen in files for certain: git has to be asked."""


class Checkout:
    """A checkout: its top, its own git directory, and the one that all checkouts share; resolved paths."""

    __slots__ = ("common_dir", "git_dir", "root")

    def __init__(self, root: str, git_dir: str, common_dir: str) -> None:
        self.root = root
        self.git_dir = git_dir
        self.common_dir = common_dir


def checkout_at(place: str) -> Checkout | None:
    """Returns the checkout around *place*, as git would find it; ``None`` where there is none."""
    try:
        folder = resolved(place)
        while True:
            git_dir = _git_dir(os.path.join(folder, ".git"))
            if git_dir is not None:
                return Checkout(folder, git_dir, _common(git_dir))
            above = os.path.dirname(folder)
            if above == folder:
                return None
            folder = above
    except (OSError, ValueError):
        return None


def key_of(common_dir: str) -> str:
    """Returns a name for folders: the checkout's name, and digits of the common directory's path."""
    owner = os.path.dirname(common_dir) if os.path.basename(common_dir) == ".git" else common_dir
    digest = sha256(os.fsencode(common_dir)).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(owner))[:40].strip(".-")
    return f"{name or 'repository'}-{digest}"


def pointer(path: str) -> str:
    """Returns the one line of a file of git's, such as a ``gitdir``; raises OSError when it is no such file.

    Only a regular file is read: who may write beside it may have put anything in its place.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is not a regular file")
        data = file.read(POINTER)
    return data.decode("utf-8", "surrogateescape").strip()


def resolved(place: str) -> str:
    """Returns a path without links; raises OSError where links lead in a circle."""
    found = os.path.realpath(place)
    try:
        os.stat(found)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise
    return found


def _git_dir(marker: str) -> str | None:
    if os.path.isdir(marker):
        head = os.path.join(marker, "HEAD")
        return marker if os.path.isfile(head) or os.path.islink(head) else None
    if not os.path.isfile(marker):
        return None
    told = pointer(marker).removeprefix("gitdir: ")
    found = resolved(os.path.join(os.path.dirname(marker), told))
    return found if os.path.isdir(found) else None


def _common(git_dir: str) -> str:
    try:
        return resolved(os.path.join(git_dir, pointer(os.path.join(git_dir, "commondir"))))
    except FileNotFoundError:
        return git_dir
