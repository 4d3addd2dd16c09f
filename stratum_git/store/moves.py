"""How a flow has moved its targets, read from its history: what an undo has to take back.

And what became of results that the state of a flow does not keep: those of steps that one agent did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from stratum_git.core import codec
from stratum_git.git.objects import read_objects
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Json, Oid, RefName, StepId
from stratum_git.model.messages import (
    Completed,
    Event,
    Landed,
    LandedLater,
    LandedResult,
    LandingEntry,
    StepReported,
    Undone,
)

MOVING = "^Stratum-Event: (Landed|LandedLater|Undone)$"
ALONE = "^Stratum-Event: (StepReported|Landed|LandedLater|Undone)$"


@dataclass(frozen=True, slots=True)
class Move:
    """A landing moved a target from one commit to another."""

    old: Oid
    new: Oid


@dataclass(frozen=True, slots=True)
class Trail:
    """What a flow has done to a target since it was last put back, oldest first. ``undone``: it was."""

    target: RefName
    moves: tuple[Move, ...] = ()
    undone: Undone | None = None

    @property
    def gaps(self) -> tuple[Move, ...]:
        """Returns where somebody else moved the target in between."""
        pairs = zip(self.moves, self.moves[1:], strict=False)
        return tuple(Move(one.new, other.old) for one, other in pairs if one.new != other.old)


@dataclass(frozen=True, slots=True)
class Lone:
    """The result of a step that one agent did, and that is not on the step's target."""

    step: StepId
    target: RefName
    attempt: int
    base: Oid
    result: Oid


def lone_results(repo: Repository, tip: Oid) -> tuple[Lone, ...]:
    """Returns the results of single agents that did not land, or that were undone."""
    reported: dict[StepId, tuple[int, Oid, Oid]] = {}
    placed: dict[StepId, tuple[RefName, LandingEntry]] = {}
    off: set[StepId] = set()
    for event in _events(repo, tip, ALONE):
        match event:
            case StepReported(step=step, attempt=attempt, outcome=Completed(base=base, result=result)):
                reported[step] = (attempt, base, result)
            case Landed(step=step, target=target, entries=(entry,)) if entry.task is None:
                placed[step] = (target, entry)
                off.discard(step)
            case LandedLater(step=step, target=target, entries=(entry,)) if entry.task is None:
                placed[step] = (target, entry)
                off.discard(step)
            case Undone(target=target):
                off |= {step for step, (where, _) in placed.items() if where == target}
            case _:
                pass
    return tuple(
        Lone(step, target, *reported[step])
        for step, (target, entry) in placed.items()
        if step in reported and _is_off(entry, is_undone=step in off)
    )


def _is_off(entry: LandingEntry, *, is_undone: bool) -> bool:
    return is_undone or not isinstance(entry, LandedResult)


def trails(repo: Repository, tip: Oid) -> tuple[Trail, ...]:
    """Returns what the flow whose last event is commit *tip* has done to each of its targets."""
    found: dict[RefName, Trail] = {}
    for event in _events(repo, tip, MOVING):
        match event:
            case Landed(target=target, old=old, new=new) | LandedLater(target=target, old=old, new=new):
                if old != new:
                    before = found.get(target, Trail(target)).moves
                    found[target] = Trail(target, (*before, Move(old, new)))
            case Undone(target=target):
                found[target] = Trail(target, (), event)
            case _:
                pass
    return tuple(found.values())


def _events(repo: Repository, tip: Oid, kinds: str) -> tuple[Event, ...]:
    asked = ("rev-list", "--first-parent", "--reverse", "--extended-regexp", f"--grep={kinds}", tip)
    chain = repo.git.run(*asked).stdout.decode().split()
    heads = read_objects(repo, [f"{oid}:state.json" for oid in chain])
    events = []
    for oid, blob in zip(chain, heads, strict=True):
        head = None if blob is None else codec.load(blob.data)
        event = head.get("event") if isinstance(head, dict) else None
        events.append(event if event is not None else _early(repo, oid))
    return tuple(cast("Event", codec.decode_any(event)) for event in events)


def _early(repo: Repository, oid: str) -> Json:
    """Returns the event of a commit that was written when events had a file of their own."""
    (blob,) = read_objects(repo, [f"{oid}:event.json"])
    if blob is None:
        raise codec.UnreadableError(f"the commit {oid} of the flow has no event")
    return codec.load(blob.data)
