from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.portal import Portal, serving, settle_in
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell


@pytest.fixture
def shell(scratch: ScratchRepo, tmp_path: Path) -> Shell:
    """A user in the scratch repository."""
    home = tmp_path / "user"
    home.mkdir()
    return Shell(home, scratch)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A server in a repository of its own, for all tests of a module."""
    with serving(settle_in(tmp_path_factory.mktemp("shared"))) as portal:
        yield portal
