import os
from pathlib import Path

import pytest

from tests.hooks.asking import ClientHooks
from tests.support.repos import ScratchRepo


@pytest.fixture
def client(scratch: ScratchRepo) -> ClientHooks:
    """A session of a client's in the scratch repository."""
    return ClientHooks(scratch, Path(os.environ["XDG_STATE_HOME"]))
