from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.support.clients import CLAUDES, House, housed, installed
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell

Move: TypeAlias = Callable[..., House]


@pytest.fixture
def shell(scratch: ScratchRepo, tmp_path: Path) -> Shell:
    """A user in the scratch repository."""
    home = tmp_path / "user"
    home.mkdir()
    return Shell(home, scratch)


@pytest.fixture
def claude(shell: Shell, tmp_path: Path) -> Iterator[Move]:
    """Gives a house with Claude Code in it: ``claude(version, script)``. Nobody may want to leave it."""
    with ExitStack() as stack:
        houses: list[House] = []

        def move(version: str, script: Any) -> House:
            folder, more = CLAUDES[version]
            program = installed(folder, "@anthropic-ai/claude-code-linux-x64/claude", "claude")
            place = tmp_path / f"house-{len(houses)}"
            house = stack.enter_context(housed(shell, place, script, program=program, more=more))
            houses.append(house)
            return house

        yield move
        assert [host for house in houses for host in house.api.refused] == []
