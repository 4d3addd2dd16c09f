"""Puts a slot on its branch."""

from __future__ import annotations

from stratum_git.errors import HostError
from stratum_git.git.refs import LostRace, RefSession, RefUpdate, tip_nowait, transact
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import attach
from stratum_git.model.ids import RefName
from stratum_git.slots.slot import Slot

BY = "stratum-git"
DETACHED = RefName("")
"""The branch of a slot that is on none."""


def join(repo: Repository, refs: RefSession | None, slot: Slot) -> None:
    """Makes the slot's branch, or moves it, to the base, where its files are; and puts its HEAD on it.

    *refs* moves it, where many are moved. Raises HostError when somebody else moved it meanwhile.
    """
    if slot.branch == DETACHED:
        return
    now = tip_nowait(repo, slot.branch)
    if now != slot.base:
        update = [RefUpdate(slot.branch, slot.base, now)]
        answer = transact(repo, update, message=BY) if refs is None else refs.transact(update)
        if isinstance(answer, LostRace):
            raise HostError(f"{slot.branch} was moved by somebody else meanwhile")
    attach(slot.path, slot.branch)
