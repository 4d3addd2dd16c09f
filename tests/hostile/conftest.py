from pathlib import Path

import pytest

from tests.support.repos import ScratchRepo
from tests.support.shell import Shell


@pytest.fixture
def shell(scratch: ScratchRepo, tmp_path: Path) -> Shell:
    """A user in the scratch repository."""
    home = tmp_path / "user"
    home.mkdir()
    return Shell(home, scratch)
