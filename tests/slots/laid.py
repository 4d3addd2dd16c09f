"""A pool whose first rung is the overlay."""

from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.slots.bases import Bases
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.ladder import Ladder
from stratum_git.slots.pool import SlotPool
from stratum_git.slots.registry import registry_of
from stratum_git.slots.rungs.overlay import Overlay
from stratum_git.slots.rungs.plain import Cold


class Ground:
    """A pool whose first rung is the overlay."""

    def __init__(self, repo: Repository, folders: StateFolders, *, is_private: bool = False) -> None:
        self.repo, self.folders, self.told = repo, folders, list[str]()
        self.trees = TreeReader(repo)
        registry = registry_of(repo, folders)
        self.bases = Bases(repo, folders, self.trees, self.told.append)
        self.rung = Overlay(registry, folders, self.bases, is_private, self.trees)
        rungs = (self.rung, Cold(registry, folders.trash, self.trees))
        self.pool = SlotPool(repo, folders, ladder=Ladder(rungs, warm=1), tell=self.told.append)
