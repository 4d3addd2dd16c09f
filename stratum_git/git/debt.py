"""What a writer of objects has still to put on the disk."""

from __future__ import annotations

from pathlib import Path

from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass, field


@dataclass
class Debt:
    """What is not certainly on the disk: objects, what git made, directories; and what has no name yet."""

    oids: set[Oid] = field(default_factory=set)
    owed: list[tuple[Oid, tuple[Oid, ...]]] = field(default_factory=list)
    folders: set[Path] = field(default_factory=set)
    unnamed: dict[Path, Path] = field(default_factory=dict)

    def take_over(self, other: Debt) -> None:
        """Adds what another one still owes."""
        self.oids |= other.oids
        self.owed += other.owed
        self.folders |= other.folders
        self.unnamed |= other.unnamed

    def clear(self) -> None:
        """Forgets what is on the disk now; what has no name is not."""
        self.oids.clear()
        self.owed.clear()
        self.folders.clear()
