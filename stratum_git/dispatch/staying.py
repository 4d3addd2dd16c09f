"""The slot that stays with a session: each attempt comes back to the one that the attempt before was in.

No process holds it between turns. Its path stays the same, since the agent's conversation speaks of it, and
so do files that git ignores. What of its work has landed becomes the commit that it is at; what has not stays
as it lies there, and the agent goes on with it. Nothing is taken from it before it is on a ref.
"""

from __future__ import annotations

from dataclasses import replace

from stratum_git.core.sessions import is_open
from stratum_git.dispatch.clock import now
from stratum_git.dispatch.context import Context
from stratum_git.dispatch.keeping import is_kept, keep, keep_rest, ref_of
from stratum_git.errors import HostError
from stratum_git.git.diff import is_ancestor
from stratum_git.git.objects import Signature
from stratum_git.git.process import Git
from stratum_git.git.refs import LostRace, RefUpdate, tip_nowait, transact
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.worktree import attach, forget_unfinished, git_dir_of
from stratum_git.model.ids import Oid
from stratum_git.model.state import FlowState
from stratum_git.slots.occupancy import Occupant, write_record
from stratum_git.slots.slot import Slot, occupied


def come_back(context: Context, state: FlowState, occupant: Occupant, base: Oid) -> Slot | None:
    """Returns the slot of a session, held by this process and at *base*; ``None`` when it has none.

    Whoever calls it has the flow's lock: nobody else is in the slot.
    """
    if not is_open(state):
        return None
    found = context.pool.recover(state.flow)
    if not found:
        return None
    slot, *others = found
    for other in others:
        # Whoever made a second one was killed while he did; there is no work in it.
        context.pool.leave(other)
    try:
        return _made_ready(context, state, slot, occupant, base)
    except BaseException:
        context.pool.leave(slot)
        raise


def come_to_rest(context: Context, slot: Slot) -> None:
    """Leaves a slot so that its status is what has not been recorded yet; its work is on refs by now."""
    tip = tip_nowait(context.repo, slot.branch)
    if tip is not None:
        _point(context, slot, tip)


def _made_ready(context: Context, state: FlowState, slot: Slot, occupant: Occupant, base: Oid) -> Slot:
    session = state.book.session
    looks = session is not None and session.terms.profile == "verification"
    there = _taken(context, slot)
    if slot.base != base or looks:
        _advance(context, slot, there.result, base, clear=looks)
    else:
        # Of an attempt that was cut off what was staged is part of what it left.
        _point(context, slot, _gone_on_from(context, state, slot, there.result, base))
    # Last: until it is written, whoever comes after a crash does all of this once more.
    slot = replace(slot, base=base, occupant=occupant)
    write_record(slot.path, occupied(slot))
    return slot


def _gone_on_from(context: Context, state: FlowState, slot: Slot, there: Oid, base: Oid) -> Oid:
    """Returns the commit that a slot goes on from: its own, but for commits that can never land.

    Those are on a ref; without them, its files as they lie are work on *base* again.
    """
    session, tip = state.book.session, tip_nowait(context.repo, slot.branch) or base
    before = session.turns[-2:-1] if session is not None else ()
    leaked = any(turn.kind == "secret" for turn in before)
    if tip == base or (not leaked and is_ancestor(context.repo, base, tip)):
        return tip
    own = ref_of(slot.occupant)
    if not is_kept(context, (own,), there):
        keep(context.repo, own, there)
    return base


def _advance(context: Context, slot: Slot, there: Oid, base: Oid, *, clear: bool) -> None:
    """Puts a slot at *base*; files that somebody has changed since its last attempt stay changed."""
    trees = context.merger.trees
    last = tip_nowait(context.repo, slot.branch) or slot.base
    files, wanted = trees.root(there), trees.root(base)
    if files != wanted and (clear or trees.root(last) != wanted):
        if files != trees.root(last):
            keep(context.repo, ref_of(slot.occupant), there)
        _point(context, slot, there)
        git = Git(slot.path)
        git.run("reset", "-q", "--hard", base)
        git.run("clean", "-q", "-fd")
    _point(context, slot, base)


def _taken(context: Context, slot: Slot) -> Captured:
    who = context.identity
    author = Signature(who.name, who.email, now(), who.tz)
    message = f"{slot.occupant.step}: between turns\n\nWhat lay in the slot of the session.\n"
    taken = capture(
        slot.path,
        base=slot.base,
        writer=context.writer,
        message=message,
        author=author,
        committer=author,
        trees=context.merger.trees,
        layer=slot.layer,
    )
    context.writer.sync()
    if taken.rest is not None:
        keep_rest(context.repo, slot.occupant, taken.rest)
    return taken


def _point(context: Context, slot: Slot, commit: Oid) -> None:
    """Puts the slot's branch, and its index, at *commit*; its files stay as they are."""
    forget_unfinished(slot.path)
    before = tip_nowait(context.repo, slot.branch)
    if before != commit:
        update = RefUpdate(slot.branch, commit, before)
        if isinstance(transact(context.repo, [update], message="stratum-git", durable=False), LostRace):
            raise HostError(f"{slot.branch} was moved by somebody else meanwhile")
    attach(slot.path, slot.branch)
    Git(slot.path).run("reset", "-q", "--mixed", ok=(0, 1))
    # Where its HEAD was is on refs by now, and no work of the next attempt.
    (git_dir_of(slot.path) / "logs" / "HEAD").unlink(missing_ok=True)
