"""A slot that is held."""

from __future__ import annotations

from pathlib import Path

from stratum_git.errors import HostError, StratumError
from stratum_git.git.layers import Layer
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass, field
from stratum_git.slots.locking import SlotLock
from stratum_git.slots.occupancy import Kind, Occupant, Occupied


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A place that is held: nobody else gets it until it is released, or this process ends."""

    path: Path
    kind: Kind
    base: Oid
    branch: RefName
    occupant: Occupant
    lock: SlotLock = field(repr=False)
    keep_ignored: tuple[str, ...] = ()
    rung: str = ""
    """The word for how its files came there."""
    settings: str = ""
    """The word for the settings that they were checked out with."""
    layer: Layer | None = None
    is_mount: bool = False
    """Whether it is mounted at its path."""

    @property
    def name(self) -> str:
        """Returns the slot's name, the same for every tenant."""
        return self.path.name


def occupied(slot: Slot) -> Occupied:
    """Returns the record of a slot with its tenant in it."""
    return Occupied(
        slot.kind, slot.base, slot.branch, slot.occupant, slot.keep_ignored, slot.rung, slot.settings
    )


def held(path: Path, record: Occupied, lock: SlotLock) -> Slot:
    """Returns the slot that a record is of, to whoever has its lock."""
    made = record.rung, record.settings
    return Slot(path, record.kind, record.base, record.branch, record.occupant, lock, record.kept, *made)


class SlotFailed(HostError):  # noqa: N818 - reads as what happened
    """A slot could not be made ready, or not be saved."""


def failed(slot: Slot, error: StratumError | OSError) -> SlotFailed:
    """Returns what to say when a slot could not be made ready because of *error*."""
    what = f"the slot {slot.path} could not be put on {slot.branch} at {slot.base}: {in_words(error)}"
    return SlotFailed(what, hint=error.hint if isinstance(error, StratumError) else "")


def in_words(error: StratumError | OSError) -> str:
    """Returns what an error says."""
    return error.message if isinstance(error, StratumError) else str(error)
