"""Whoever is held is held as well by a tether of its own as by one that the server forked."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from stratum_git.spawn.client import serving


@pytest.fixture(params=["direct", "served"])
def way(request: pytest.FixtureRequest) -> str:
    """How tethers are started."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _tethers(way: str) -> Iterator[None]:
    with serving() if way == "served" else nullcontext():
        yield
