"""Named states of a flow, and the way back to them."""

from __future__ import annotations

from dataclasses import replace

from stratum_git.core.afterwards import without
from stratum_git.core.questions import outstanding
from stratum_git.core.route import Turn, enter
from stratum_git.model.messages import Checkpointed, Reverted
from stratum_git.model.state import Checkpoint, FannedOut, FlowState, Landing, Opening, Working


def find(state: FlowState, label: str) -> Checkpoint | None:
    """Returns the checkpoint called *label*."""
    return next((one for one in state.checkpoints if one.label == label), None)


def checkpointed(state: FlowState, event: Checkpointed) -> Turn:
    """Gives the present state a name; one that was used before is moved here, where it was in the list."""
    made = Checkpoint(event.label, replace(state, checkpoints=(), setback=None), event.code)
    others = state.checkpoints
    if find(state, event.label) is None:
        return replace(state, checkpoints=(*others, made)), ()
    kept = tuple(made if one.label == event.label else one for one in others)
    return replace(state, checkpoints=kept), ()


def reverted(state: FlowState, event: Reverted) -> Turn:
    """Takes the flow back, but for its number, its checkpoints, and what still has to follow.

    A step whose tasks were at work then is come to anew: the places they worked in are gone.
    """
    found = find(state, event.label)
    if found is None:
        return state, ()
    back = replace(
        found.state,
        checkpoints=state.checkpoints,
        seq=state.seq,
        updated=state.updated,
        unsynced=state.unsynced,
        undone=state.undone,
        spent=state.spent,
    )
    for one in state.undone:
        back = without(back, one.target)
    if back.cursor is None:
        return back, outstanding(back)
    if isinstance(back.step(back.cursor), FannedOut | Landing | Working | Opening):
        return enter(back, back.program.position[back.cursor], event.at, considered=True)
    return back, outstanding(back)
