"""Where an attempt works, by isolation: a leased worktree, a private clone, or the shared checkout.

The three differ in how the work is found afterwards, and in what counts as a violation; an attempt does not
need to know which one it has.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stratum_git.dispatch.context import Context
from stratum_git.dispatch.errand import Errand
from stratum_git.dispatch.judge import Finding
from stratum_git.dispatch.names import branch_ref, stash_ref
from stratum_git.dispatch.shared import Fingerprint, fingerprint
from stratum_git.errors import HostError, StratumError
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.git.repository import open_repository
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.stash import stashed_on
from stratum_git.git.worktree import fetch_result
from stratum_git.model.effects import Launch
from stratum_git.model.ids import FlowId, Oid, StepId
from stratum_git.model.state import FlowState
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.pool import Slot

LEFT = "left"
"""The folder of an attempt's own that takes what could not be made a commit."""


class WorkplaceError(HostError):
    """The place for an attempt could not be made ready."""


class Workplace(Protocol):
    """A place for one attempt."""

    @property
    def path(self) -> Path:
        """Returns the directory the agent works in."""

    @property
    def folder(self) -> Path:
        """Returns the attempt's own directory, for prompt, log and result."""

    @property
    def base(self) -> Oid:
        """Returns the commit the attempt started from."""

    def capture(self, base: Oid, message: str, author: Signature) -> Captured:
        """Makes a commit of what the attempt left."""

    def violation(self) -> Finding | None:
        """Returns how the attempt broke its isolation, if it did."""

    def close(self) -> None:
        """Gives the place back."""

    def abandon(self) -> None:
        """Lets go of the place, and leaves everything in it as it is."""


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """A slot of the pool: a worktree of the repository, or a private clone."""

    context: Context
    slot: Slot
    folder: Path
    base: Oid
    stashed: frozenset[str] = frozenset()

    @property
    def path(self) -> Path:
        """Returns the slot's directory."""
        return self.slot.path

    def capture(self, base: Oid, message: str, author: Signature) -> Captured:
        """Makes a commit of what the attempt left, and brings a clone's commits home."""
        private = self.slot.kind == "branch"
        # A clone's blobs and trees lie in the clone: its commit is made there, and all of it is fetched.
        writer = ObjectWriter(open_repository(self.path), durable=True) if private else self.context.writer
        taken = capture(
            self.path,
            base=base,
            writer=writer,
            message=message,
            author=author,
            committer=author,
            trees=None if private else self.context.merger.trees,
        )
        writer.sync()
        if private:
            fetch_result(self.context.repo, self.path, taken.result)
            # The clone goes when the attempt is over, and its stash with it.
            self._bring_home(_stash(self.context, self.slot))
        self._set_aside((*taken.embedded, *taken.unsaved))
        return taken

    def violation(self) -> Finding | None:
        """Returns the work that was put where it is not the attempt's own: into the stash."""
        new = _stash(self.context, self.slot) - self.stashed
        if not new:
            return None
        what = f"work was left in the stash, which all worktrees share ({', '.join(sorted(new))[:200]})"
        return Finding("stash", (what, "commit it instead, or leave it uncommitted"))

    def _set_aside(self, paths: Iterable[str]) -> None:
        """Moves what no commit can hold out of the slot, which is made clean: beside the attempt's log."""
        for name in paths:
            source, place = self.path / name, self.folder / LEFT / name
            if os.path.lexists(source) and not os.path.lexists(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(source, place)

    def _bring_home(self, stashes: Iterable[str]) -> None:
        """Gives a private clone's stash refs in the repository."""
        who = self.slot.occupant
        for oid in map(Oid, sorted(stashes)):
            fetch_result(self.context.repo, self.path, oid)
            ref = stash_ref(FlowId(who.flow), StepId(who.step), who.task, who.attempt, oid)
            transact(self.context.repo, [RefUpdate(ref, oid, None)], message="stratum-git", durable=True)

    def close(self) -> None:
        """Releases the slot."""
        self.context.pool.release(self.slot)

    def abandon(self) -> None:
        """Lets go of the slot; its tenant is still recorded."""
        self.context.pool.leave(self.slot)


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """The user's checkout, read-only: it is compared with how it was before."""

    context: Context
    folder: Path
    base: Oid
    before: Fingerprint

    @property
    def path(self) -> Path:
        """Returns the root of the checkout."""
        return self.context.repo.root

    def capture(self, base: Oid, message: str, author: Signature) -> Captured:
        """Returns the base: nothing was to be changed."""
        del message, author
        return Captured(head=base, result=base, dirty=False)

    def violation(self) -> Finding | None:
        """Returns the files of the shared checkout that changed meanwhile."""
        changed = self.before.differences(fingerprint(self.context.repo))
        if not changed:
            return None
        what = ", ".join(changed[:10])
        return Finding("shared", (f"isolation: none is read-only, but the checkout changed: {what}",))

    def close(self) -> None:
        """Does nothing: the checkout is the user's."""

    def abandon(self) -> None:
        """Does nothing: the checkout is the user's."""


def open_workplace(
    context: Context, state: FlowState, launch: Launch, errand: Errand, base: Oid
) -> Workplace:
    """Returns a place for an attempt at *base*; raises WorkplaceError."""
    folder = context.folders.attempt(state.flow, launch.step, launch.task, launch.attempt)
    try:
        if errand.isolation == "none":
            return SharedPlace(context, folder, base, fingerprint(context.repo))
        slot = context.pool.acquire(
            base=base,
            branch=branch_ref(state.flow, launch.step, launch.task),
            occupant=Occupant(state.flow, launch.step, launch.task, launch.attempt),
            isolation=errand.isolation,
        )
    except StratumError as error:
        raise WorkplaceError(f"no slot could be made ready: {error.message}", hint=error.hint) from error
    return SlotPlace(context, slot, folder, base, _stash(context, slot))


def _stash(context: Context, slot: Slot) -> frozenset[str]:
    place = slot.path / ".git" if slot.kind == "branch" else context.repo.common_dir
    return stashed_on(place, slot.branch)
