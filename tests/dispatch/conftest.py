import pytest

from tests.support.flows import Stage
from tests.support.repos import ScratchRepo


@pytest.fixture
def stage(scratch: ScratchRepo) -> Stage:
    """A scratch repository in which flows are played."""
    return Stage(scratch)
