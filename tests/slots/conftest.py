from collections.abc import Iterator
from pathlib import Path

import pytest

from stratum_git.git.repository import Repository, head_of
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from stratum_git.slots.folders import StateFolders, state_folders
from stratum_git.slots.pool import SlotPool


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def folders(repo: Repository, state: Path) -> StateFolders:
    return state_folders(repo, state)


@pytest.fixture(params=["by git", "by trees"])
def pool(repo: Repository, folders: StateFolders, request: pytest.FixtureRequest) -> Iterator[SlotPool]:
    """A pool that asks git whether a slot is clean, and one that looks itself where that is quicker."""
    with TreeReader(repo) as trees:
        yield SlotPool(repo, folders, trees=trees if request.param == "by trees" else None)


@pytest.fixture
def base(repo: Repository) -> Oid:
    return head_of(repo).oid
