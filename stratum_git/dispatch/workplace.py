"""Where an attempt works, by isolation: a leased worktree, a private clone, or the shared checkout.

The three differ in how the work is found afterwards, and in what counts as a violation; an attempt does not
need to know which one it has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from stratum_git.core.sessions import is_open
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.errand import Errand
from stratum_git.dispatch.judge import Finding
from stratum_git.dispatch.keeping import (
    forget_raw,
    is_kept,
    keep,
    keep_raw,
    keep_rest,
    list_ignored,
    put_by,
    ref_of,
    set_aside,
    set_aside_modules,
    set_aside_whole,
)
from stratum_git.dispatch.names import branch_ref, stash_ref
from stratum_git.dispatch.shared import fingerprint
from stratum_git.dispatch.shared_place import SharedPlace
from stratum_git.dispatch.staying import come_back, come_to_rest
from stratum_git.dispatch.withholding import with_commits, without_secrets
from stratum_git.errors import HostError, StratumError, UserError
from stratum_git.git.fence import Post
from stratum_git.git.flushing import flush
from stratum_git.git.gathering import GatheringWriter
from stratum_git.git.layered import repositories_around
from stratum_git.git.objects import ObjectWriter, Signature, are_there, read_objects
from stratum_git.git.pack_writer import Held, PackWriter, RunWriter
from stratum_git.git.packs import content
from stratum_git.git.refs import RefUpdate, read_refs, tip_nowait, transact
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.snapshot import Captured, UnreadableSlot, capture, inner_repositories
from stratum_git.git.stash import stashed_on
from stratum_git.git.tree_reader import differences
from stratum_git.git.worktree import fetch_result, git_dir_of
from stratum_git.model.effects import Launch
from stratum_git.model.ids import FlowId, Hooks, Oid, StepId
from stratum_git.model.state import FlowState
from stratum_git.slots.occupancy import Occupant
from stratum_git.slots.slot import Slot
from stratum_git.spawn.namespace import is_entered

EVERYTHING = "."
TRIES = 5


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

    def capture(self, base: Oid, message: str, author: Signature, *, held: bool = False) -> Captured:
        """Makes a commit of what the attempt left.

        *held*: it may be in memory alone until an event speaks of it, and nothing changes the place before.
        """

    def guard(self, environment: Mapping[str, str], hooks: Hooks = "inherit") -> Mapping[str, str]:
        """Returns *environment* for a program that is started here: its git is kept to what is its own."""

    def violation(self) -> Finding | None:
        """Returns how the attempt broke its isolation, if it did."""

    def is_parting(self) -> bool:
        """Returns whether nobody gets the place once it is given back."""

    def close(self) -> None:
        """Gives the place back."""

    def retire(self) -> None:
        """Gives the place up: whoever worked there may still be at it, so nobody else gets it."""

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
    stays: bool = False
    """Whether the slot stays with its flow: a session's does."""
    _taken: list[Captured] = field(default_factory=list, compare=False)
    _packs: dict[str, Path] = field(default_factory=dict, compare=False)
    """By object, the pack that it was put into: no git takes anything out of it."""
    _held: list[Held] = field(default_factory=list, compare=False)

    @property
    def path(self) -> Path:
        """Returns the slot's directory."""
        return self.slot.path

    def capture(self, base: Oid, message: str, author: Signature, *, held: bool = False) -> Captured:
        """Makes a commit of what the attempt left, and brings a clone's commits home."""
        secrets, private = self.context.secrets, self.slot.kind == "branch"
        who = self.slot.occupant
        try:
            mended = self.context.pool.mend(self.slot)
            # Whoever was here may have deleted this as well.
            self.context.folders.attempt(who.flow, who.step, who.task, who.attempt)
            if secrets and private:
                self._clone()
            held = held and not secrets and not self.stays
            taking = partial(self._safely_captured, base, message, author, held=held)
            taken = without_secrets(secrets, self.path, self.folder, base, taking)
            taken = replace(taken, mended=mended)
        except UnreadableSlot:
            # Nothing that git could say of it; what lies there is kept as it is.
            set_aside_whole(self.context.repo, self.path, self.folder)
            taken = Captured(base, base, dirty=False, unsaved=(EVERYTHING,))
        taken = with_commits(secrets, self.context.repo, base, taken, ref_of(who))
        self._taken.append(taken)
        if taken.rest is not None:
            keep_rest(self.context.repo, who, taken.rest)
        list_ignored(self.path, self.folder, taken.ignored)
        keep_raw(self.path, self.folder, self.context.merger.trees, base, taken.result)
        set_aside(self.path, self.folder, (*taken.embedded, *taken.unsaved))
        return taken

    def _safely_captured(self, base: Oid, message: str, author: Signature, *, held: bool) -> Captured:
        """Makes the commit, again when a git of the user's deleted meanwhile what had just been written."""
        for again in range(TRIES):
            self.context.writer.heal()
            try:
                return self._captured(base, message, author, afresh=again > 0, held=held)
            except HostError:
                if again == TRIES - 1:
                    raise
        raise UnreadableSlot(f"git cannot read the slot {self.path}")

    def _captured(
        self, base: Oid, message: str, author: Signature, *, afresh: bool, held: bool = False
    ) -> Captured:
        private = self.slot.kind == "branch"
        # A clone's blobs and trees lie in the clone: its commit is made there, and all of it is fetched.
        # Another's are in a pack that is kept, before they count: the user's git may delete what no ref has.
        shared = self.context.writer
        kept = partial(GatheringWriter, shared.repo, shared.durable, memory=shared.memory)
        writer = ObjectWriter(self._clone(), durable=True) if private else kept()
        taken = capture(
            self.path,
            base=base,
            writer=writer,
            message=message,
            author=author,
            committer=author,
            trees=None if private else self.context.merger.trees,
            others=self._others(writer.repo),
            afresh=afresh,
            layer=self.slot.layer,
        )
        if (
            held
            and taken.rest is None
            and isinstance(writer, GatheringWriter)
            and self._is_held(writer, taken)
        ):
            return taken
        writer.sync()
        if isinstance(writer, GatheringWriter):
            self._packs.update(writer.gathered.kept)
        if private:
            fetch_result(self.context.repo, self.path, taken.rest or taken.result)
            # The clone goes when the attempt is over, and its stash with it.
            self._bring_home(_stash(self.context, self.slot))
        return taken

    def _is_held(self, writer: GatheringWriter, taken: Captured) -> bool:
        """Returns whether what was captured waits for its event: one pack then, and one wait for the disk."""
        run = self.context.writer
        held = writer.held_by(run, taken.result) if isinstance(run, RunWriter) else None
        if held is None:
            return False
        self._held.append(held)
        # Whoever asks git for it has it written.
        self.context.merger.trees.remember_commit(taken.result, content(held.rows[taken.result]))
        return True

    def _clone(self) -> Repository:
        """Returns the private clone; raises UnreadableSlot when the agent made something else of it."""
        wrong = f"{self.path} is not the repository that it was"
        try:
            found = open_repository(self.path)
        except UserError as error:
            raise UnreadableSlot(wrong) from error
        is_ours = found.root.resolve() == self.path.resolve()
        if not is_ours or read_objects(found, [self.base])[0] is None:
            raise UnreadableSlot(wrong)
        return found

    def _others(self, repo: Repository) -> Iterator[Oid]:
        """Yields commits of the attempt that its HEAD may not have: other refs of its own, and its stash."""
        if self.slot.kind == "branch":
            yield from read_refs(repo, "refs/").values()
            return
        tip = tip_nowait(self.context.repo, self.slot.branch)
        if tip is not None:
            yield tip
        nameless = stashed_on(self.context.repo.common_dir, None)
        yield from map(Oid, (_stash(self.context, self.slot) | nameless) - self.stashed)

    def guard(self, environment: Mapping[str, str], hooks: Hooks = "inherit") -> Mapping[str, str]:
        """Returns *environment* with the fence; in a clone everything is its own, and the user's nothing."""
        slot = self.slot
        private = slot.kind == "branch"
        # The kernel lets nobody but root mount so that folders of a lower layer can be renamed.
        copies = slot.is_mount and is_entered()
        post = Post(slot.path)
        if not private:
            post = Post(slot.path, git_dir_of(slot.path), slot.branch, copies)
        return self.context.fence.around(environment, post, hooks)

    def violation(self) -> Finding | None:
        """Returns the work that was put where it is not the attempt's own: into the stash."""
        new = _stash(self.context, self.slot) - self.stashed
        if not new:
            return None
        what = f"work was left in the stash, which all worktrees share ({', '.join(sorted(new))[:200]})"
        return Finding("stash", (what, "commit it instead, or leave it uncommitted"))

    def _bring_home(self, stashes: Iterable[str]) -> None:
        """Gives a private clone's stash refs in the repository."""
        who = self.slot.occupant
        for oid in map(Oid, sorted(stashes)):
            fetch_result(self.context.repo, self.path, oid)
            ref = stash_ref(FlowId(who.flow), StepId(who.step), who.task, who.attempt, oid)
            transact(self.context.repo, [RefUpdate(ref, oid, None)], message="stratum-git", durable=True)

    def is_parting(self) -> bool:
        """Returns whether the slot is thrown away in the background."""
        return not self.stays and self.context.pool.is_parting(self.slot)

    def close(self) -> None:
        """Releases the slot. What is not on a ref by now, because nobody wanted the report, gets one."""
        if self.stays:
            come_to_rest(self.context, self.slot)
            self.context.pool.leave(self.slot)
            return
        self._keep_last()
        self.context.pool.release(self.slot)

    def retire(self) -> None:
        """Throws the slot away; what is not on a ref by now gets one."""
        self._keep_last()
        self.context.pool.retire(self.slot)

    def _keep_last(self) -> None:
        unwritten = [held for held in self._held if held.pack is None]
        if unwritten:
            # Nobody wanted the report, or could record it.
            own = PackWriter(self.context.repo, durable=True, late=True)
            own.take(unwritten)
            own.sync()
        for taken in self._taken[-1:]:
            if not self._is_whole(taken):
                who = self.context.identity
                self._captured(self.base, "again\n", who, afresh=True)
            self._keep(taken)

    def _is_whole(self, taken: Captured) -> bool:
        """Returns whether the objects of a result are there: a prune begun before may delete them."""
        if taken.result == self.base or self.slot.kind == "branch":
            return True
        trees = self.context.merger.trees
        found = differences(trees, trees.root(self.base), trees.root(taken.result))
        made = (change.new for change in found if change.new_mode not in {"000000", "160000"})
        known = self._packs | {oid: one.pack for one in self._held if one.pack for oid in one.rows}
        packs = {pack for pack in set(known.values()) if os.path.lexists(f"{pack}.idx")}
        others = [oid for oid in (trees.root(taken.result), *made) if known.get(oid) not in packs]
        return are_there(self.context.repo, others)

    def _keep(self, taken: Captured) -> None:
        context, own = self.context, ref_of(self.slot.occupant)
        if taken.result != self.base:
            if not is_kept(context, (self.slot.branch, own), taken.result):
                # What was held until now may be in a pack whose name is not on the disk.
                flush([context.repo.common_dir / "objects" / "pack"])
                keep(context.repo, own, taken.result)
            if tip_nowait(context.repo, own) is None:
                # It is a result; what git made of its files is what was wanted.
                forget_raw(self.folder)
        if EVERYTHING not in taken.unsaved:
            set_aside(self.path, self.folder, (*taken.links, *self._inner()))
            set_aside_modules(self.path, self.folder)

    def _inner(self) -> tuple[str, ...]:
        """Returns the repositories that were made around files of the base."""
        context, layer = self.context, self.slot.layer
        if layer is not None:
            found = repositories_around(self.path, layer, self.slot.base, context.merger.trees)
            if found is not None:
                return found
        return inner_repositories(
            self.path, (f"{folder}/.git" for folder in context.pool.folders_at(self.slot.base))
        )

    def abandon(self) -> None:
        """Lets go of the slot; its tenant is still recorded."""
        self.context.pool.leave(self.slot)

    def forgo(self) -> None:
        """Forgets what is held for an event: there will be none that speaks of it, and the slot has it."""
        if isinstance(self.context.writer, RunWriter):
            self.context.writer.give(taken.result for taken in self._taken)


def fresh_folder(context: Context, state: FlowState, launch: Launch) -> Path:
    """Returns an attempt's own folder, empty: that of a former one with the same number is put by."""
    folder = context.folders.attempt(state.flow, launch.step, launch.task, launch.attempt)
    put_by(folder)
    return folder


def open_workplace(
    context: Context,
    state: FlowState,
    launch: Launch,
    errand: Errand,
    base: Oid,
    folder: Path | None = None,
    *,
    visible: bool = False,
) -> Workplace:
    """Returns a place for an attempt at *base*, with its :func:`fresh_folder`; raises WorkplaceError.

    *visible*: other processes of the user are to see it, and not only those that this one starts.
    """
    folder = folder or fresh_folder(context, state, launch)
    try:
        if errand.isolation == "none":
            return SharedPlace(context, folder, base, fingerprint(context.repo))
        # The commit to start from may be on no ref yet, and a git of the user's may have deleted it.
        context.writer.heal()
        who = Occupant(state.flow, launch.step, launch.task, launch.attempt)
        slot = come_back(context, state, who, base) or context.pool.acquire(
            base=base,
            branch=branch_ref(state.flow, launch.step, launch.task),
            occupant=who,
            isolation=errand.isolation,
            # A session's slot stays when this process ends.
            visible=visible or is_open(state),
        )
    except StratumError as error:
        raise WorkplaceError(f"no slot could be made ready: {error.message}", hint=error.hint) from error
    nameless = stashed_on(context.repo.common_dir, None)
    return SlotPlace(context, slot, folder, base, _stash(context, slot) | nameless, is_open(state))


def _stash(context: Context, slot: Slot) -> frozenset[str]:
    place = slot.path / ".git" if slot.kind == "branch" else context.repo.common_dir
    return stashed_on(place, slot.branch)
