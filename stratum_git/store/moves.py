"""How a flow has moved its targets, read from its history: what an undo has to take back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from stratum_git.core import codec
from stratum_git.git.objects import read_objects
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Json, Oid, RefName
from stratum_git.model.messages import Event, Landed, LandedLater, Undone

MOVING = "^Stratum-Event: (Landed|LandedLater|Undone)$"


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


def trails(repo: Repository, tip: Oid) -> tuple[Trail, ...]:
    """Returns what the flow whose last event is commit *tip* has done to each of its targets."""
    found: dict[RefName, Trail] = {}
    for event in _events(repo, tip):
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


def _events(repo: Repository, tip: Oid) -> tuple[Event, ...]:
    asked = ("rev-list", "--first-parent", "--reverse", "--extended-regexp", f"--grep={MOVING}", tip)
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
