"""How the repository forgets a worktree: first nobody begins to look at its entry, a while later it goes.

Git that lists worktrees reads ``gitdir`` of an entry first, and passes over one that has none. Then it looks
for ``commondir``, reads it, and asks for the real path of ``../..`` from there: it dies when the entry goes
in between ("failed to read .../commondir", "Invalid path ..."). So ``gitdir`` is renamed away, into the
workshop, where it marks what is to go; the entry follows when whoever had read it before is long done.

An absolute path in ``commondir`` would save less: git can still die before it has read it, and in a
repository that was copied or moved it would lead to another one, or have every git die.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from stratum_git.git.files import read_pointer
from stratum_git.git.registration import WORKSHOP, locked, place_of
from stratum_git.git.repository import Repository
from stratum_git.git.whereabouts import pointer

HIDDEN = "hidden-"
"""How a mark's name begins; the rest is that of the entry that is to go."""
GONE = "gone-"
"""How an entry's name begins that went: it may be deleted whoever makes others meanwhile."""
LONG = 1_000_000_000
"""Nanoseconds after which nobody is between ``gitdir`` and ``commondir``, however late his turn comes."""
ENOUGH = 0.1
"""Seconds that are waited for it where nobody comes later."""


def drop_named(repo: Repository, path: Path) -> bool:
    """Does what :func:`unregister` does where the entry has the name of the worktree; else it is ``False``.

    One rename, and no lock: what has such a name is deleted whoever makes entries meanwhile.
    """
    common = os.fspath(repo.common_dir)
    marker = f"{common}/worktrees/{path.name}/gitdir"
    with contextlib.suppress(OSError):
        if pointer(marker) == f"{path}/.git":
            mark = f"{common}/{WORKSHOP}/{HIDDEN}{path.name}"
            os.rename(marker, mark)  # noqa: PTH104 - texts, since somebody waits
            return True
    return False


def unregister(repo: Repository, path: Path) -> None:
    """Makes the repository forget the worktree at *path*, whose directory is gone already.

    What is left of the entry :func:`sweep` deletes.
    """
    if drop_named(repo, path):
        shut(repo, path)
        return
    place, folder = path.resolve(), repo.common_dir / "worktrees"
    # Its entry has its name, but where that was taken: not all of a thousand are read to find one.
    own = folder / path.name / "gitdir"
    for marker in (own,) if place_of(own) == place else folder.glob("*/gitdir"):
        if place_of(marker) == place:
            (repo.common_dir / WORKSHOP).mkdir(parents=True, exist_ok=True)
            # Somebody else may have dropped it by now.
            with contextlib.suppress(FileNotFoundError):
                marker.rename(repo.common_dir / WORKSHOP / f"{HIDDEN}{marker.parent.name}")
                _shut(marker.parent)


def shut(repo: Repository, path: Path) -> None:
    """Has git refuse to work in a worktree that was dropped by its name, whoever may still be there."""
    _shut(repo.common_dir / "worktrees" / path.name)


def is_going(repo: Repository, entry: Path) -> bool:
    """Returns whether an entry was dropped, and stays for a moment."""
    return (repo.common_dir / WORKSHOP / f"{HIDDEN}{entry.name}").exists()


def sweep(repo: Repository, *, to_the_end: bool = False) -> None:
    """Deletes what was dropped, and what those left who died making an entry; not while one is made.

    What was dropped just now stays for the next who sweeps, unless it is *to_the_end*.
    """
    folder = repo.common_dir / WORKSHOP
    if not folder.is_dir():
        return
    names = os.listdir(folder)  # noqa: PTH208 - names
    _take_away(repo, folder, [name for name in names if name.startswith(HIDDEN)], to_the_end=to_the_end)
    for name in names:
        if name.startswith(GONE):
            shutil.rmtree(folder / name, ignore_errors=True)
    if all(name.startswith((GONE, HIDDEN)) for name in names):
        return
    with locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_alone:
        for left in folder.iterdir() if is_alone else ():
            if left.name.startswith(HIDDEN):
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
                continue
            # An index that was copied ahead.
            with contextlib.suppress(OSError):
                left.unlink()


def _take_away(repo: Repository, folder: Path, marks: Sequence[str], *, to_the_end: bool) -> None:
    """Has the entries go that were hidden long ago; with *to_the_end*, all of them."""
    if not marks:
        return
    # Now, by the clock of the file system.
    os.utime(folder)
    now = folder.stat().st_ctime_ns
    ages = {mark: _age(folder / mark, now) for mark in marks}
    if to_the_end and any(age < ENOUGH * 1e9 for age in ages.values()):
        Event().wait(ENOUGH)
    for mark, age in ages.items():
        entry = repo.common_dir / "worktrees" / mark.removeprefix(HIDDEN)
        if age >= LONG or to_the_end:
            _delete(folder, folder / mark, entry)


def _age(mark: Path, now: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        return now - mark.stat().st_ctime_ns
    return 0


def _shut(entry: Path) -> None:
    (entry / "HEAD").unlink(missing_ok=True)


def _delete(folder: Path, mark: Path, entry: Path) -> None:
    gone = folder / f"{GONE}{secrets.token_hex(6)}"
    with contextlib.suppress(FileNotFoundError):
        # One that says something else is another worktree's by now.
        if not (entry / "gitdir").exists() or read_pointer(entry / "gitdir") == read_pointer(mark):
            entry.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    mark.unlink(missing_ok=True)
