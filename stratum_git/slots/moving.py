"""Gives a slot another name, so that whoever was told of the old one finds nothing there, and nobody else."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.changing import replace
from stratum_git.slots.occupancy import Vacant, forget, try_lock, write_record
from stratum_git.slots.slot import Slot


def moved(slot: Slot) -> Slot:
    """Returns a worktree, whose work is on a ref, under a name that was never used; this process holds it.

    Killed on the way, it leaves two records of which neither is of any work: both slots are thrown away.
    """
    if slot.is_mount:
        # It is thrown away when it is given back; nobody else ever lies there.
        return slot
    path, lock = slot.path, None
    while lock is None:
        path = slot.path.with_name(f"slot-{secrets.token_hex(4)}")
        lock = None if path.exists() else try_lock(path)
    try:
        write_record(path, Vacant(slot.kind, slot.base, ready=False, rung=slot.rung))
        slot.path.rename(path)
        _enter(git_dir_of(path), path / ".git")
    except OSError as error:
        forget(path)
        lock.release()
        raise HostError(f"the slot {slot.path} could not be renamed: {error}") from error
    forget(slot.path)
    slot.lock.release()
    return replace(slot, path=path, lock=lock)


def _enter(entry: Path, marker: Path) -> None:
    """Tells the repository where a worktree is now."""
    fresh = entry / f"gitdir-{secrets.token_hex(4)}"
    fresh.write_bytes(os.fsencode(f"{marker}\n"))
    fresh.replace(entry / "gitdir")
