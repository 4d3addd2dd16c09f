"""A slot that is held."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from filelock import BaseFileLock

from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.occupancy import Kind, Occupant


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A place that is held: nobody else gets it until it is released, or this process ends."""

    path: Path
    kind: Kind
    base: Oid
    branch: RefName
    occupant: Occupant
    lock: BaseFileLock = field(repr=False)
    keep_ignored: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Returns the slot's name, the same for every tenant."""
        return self.path.name
