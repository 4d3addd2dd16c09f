"""What every test stands on: git that knows nothing of whoever runs the tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from stratum_git.git.objects import ObjectWriter
from stratum_git.git.repository import Repository, open_repository
from stratum_git.slots.mounts import detach
from tests.support.repos import ScratchRepo

# How long a machine takes to think of an example says what else it does, and nothing of what is tested.
settings.register_profile("patient", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with what takes longest: nobody is to wait for it at the end."""
    items.sort(key=lambda item: "tests/soak/" not in item.path.as_posix())


def pytest_collection_finish() -> None:
    """Has nobody look for garbage in thousands of tests, which stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def unmounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leaves nothing mounted where the tests were."""
    yield
    detach(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def hermetic(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Hides the developer's settings from git, and the tests' state from the developer."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("GIT_", "STRATUM_")):
            monkeypatch.delenv(name)
    (home / "gitconfig").write_text(
        "[user]\n\tname = Tess Ter\n\temail = tess@example.invalid\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    yield
    # Of slots that a test leaves occupied, or that it kills.
    for place in {home, request.node.funcargs.get("tmp_path", home)}:
        detach(place)


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchRepo:
    """A small real repository on branch main, with three files and one commit."""
    made = ScratchRepo.make(tmp_path / "repo")
    made.commit("first", {"a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n"})
    return made


@pytest.fixture
def repo(scratch: ScratchRepo) -> Repository:
    """The scratch repository, opened."""
    return open_repository(scratch.path)


@pytest.fixture
def writer(repo: Repository) -> ObjectWriter:
    """Writes objects into the scratch repository, without waiting for the disk."""
    return ObjectWriter(repo, durable=False)
