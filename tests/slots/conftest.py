from pathlib import Path

import pytest

from stratum_git.git.repository import Repository, head_of
from stratum_git.model.ids import Oid
from stratum_git.slots.folders import StateFolders, state_folders
from stratum_git.slots.pool import SlotPool


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def folders(repo: Repository, state: Path) -> StateFolders:
    return state_folders(repo, state)


@pytest.fixture
def pool(repo: Repository, folders: StateFolders) -> SlotPool:
    return SlotPool(repo, folders)


@pytest.fixture
def base(repo: Repository) -> Oid:
    return head_of(repo).oid
