"""A pool whose first rung is the overlay."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from stratum_git.git.registration import WORKSHOP
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.slots.bases import Bases
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import Ladder
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.registry import registry_of
from stratum_git.slots.rungs.overlay import Overlay
from stratum_git.slots.rungs.plain import Cold


@dataclass(frozen=True, slots=True)
class Patient(Overlay):
    """Throws nothing away while ``go`` is not set; it is, at first."""

    go: threading.Event = field(default_factory=threading.Event)

    def discard(self, place: Path) -> None:
        assert self.go.wait(5)
        Overlay.discard(self, place)


class Ground:
    """A pool whose first rung is the overlay."""

    def __init__(
        self, repo: Repository, folders: StateFolders, *, is_private: bool = False, background: bool = False
    ) -> None:
        self.repo, self.folders, self.told = repo, folders, list[str]()
        self.trees = TreeReader(repo)
        registry = registry_of(repo, folders)
        self.bases = Bases(repo, folders, self.trees, self.told.append)
        self.rung = Patient(registry, folders, self.bases, is_private, self.trees)
        self.rung.go.set()
        rungs = (self.rung, Cold(registry, folders.trash, self.trees))
        ladder = Ladder(rungs, warm=1)
        self.pool = SlotPool(repo, folders, ladder=ladder, tell=self.told.append, background=background)

    def is_ready(self) -> bool:
        """Returns whether an index was copied ahead for the next slot."""
        return any((self.repo.common_dir / WORKSHOP).glob("index-*"))
