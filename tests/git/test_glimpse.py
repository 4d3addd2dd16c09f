"""A look into a slot that is an overlay sees what a look by git sees, and starts hardly any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stratum_git.git.layers import Layer
from stratum_git.git.peek import Peeker
from stratum_git.git.process import processes_started
from stratum_git.git.scratch import Scratch, make_scratch
from stratum_git.git.tree_reader import TreeReader
from tests.git.test_layered import CHANGES, STRANGE, cases
from tests.support.overlays import Ground
from tests.support.repos import ScratchRepo
from tests.support.rich import rich_ground

QUICK = ("much at once", "a folder made anew", "committed and more", "reset")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A repository with a bit of everything in it, checked out for overlays."""
    with rich_ground(tmp_path_factory.mktemp("glimpse")) as made:
        yield made


@pytest.fixture
def trees(ground: Ground) -> Iterator[TreeReader]:
    """Reads the trees of the repository."""
    with TreeReader(ground.repo) as reader:
        yield reader


@pytest.fixture
def layered(ground: Ground, tmp_path: Path) -> Iterator[tuple[ScratchRepo, Layer]]:
    """A slot that is an overlay, and where its changes lie."""
    with ground.slot(f"slot-{tmp_path.name}", f"stratum/{tmp_path.name}") as (path, layer):
        yield ScratchRepo(path), layer


@pytest.fixture(autouse=True)
def usual_settings(ground: Ground) -> Iterator[None]:
    """Puts the settings of the repository back, which a change may have changed."""
    config = ground.repo.common_dir / "config"
    before = config.read_bytes()
    yield
    config.write_bytes(before)


@pytest.fixture
def store(ground: Ground, tmp_path: Path) -> Scratch:
    """Where what is seen is written."""
    (tmp_path / "scratch").mkdir()
    return make_scratch(ground.repo, tmp_path / "scratch")


# Of a sparse checkout an index of ours knows only what it was when it was first looked at.
@pytest.mark.parametrize("name", cases(QUICK, *sorted({*CHANGES, *STRANGE} - {"sparse"})))
def test_it_sees_what_git_sees(
    name: str, ground: Ground, layered: tuple[ScratchRepo, Layer], trees: TreeReader, store: Scratch
) -> None:
    slot, layer = layered
    plain = Peeker(slot.path, ground.base, store, trees, store.folder / "index-1")
    quick = Peeker(slot.path, ground.base, store, trees, store.folder / "index-2", layer=layer)
    assert dict(quick.look()) == dict(plain.look()) == {}
    (CHANGES.get(name) or STRANGE[name])(slot)
    assert dict(quick.look()) == dict(plain.look())
    # Again, after something more.
    slot.write("g.txt", "more")
    slot.write("late.txt", "new")
    assert dict(quick.look()) == dict(plain.look())


def test_it_starts_git_only_for_what_changed(
    ground: Ground, layered: tuple[ScratchRepo, Layer], trees: TreeReader, store: Scratch
) -> None:
    slot, layer = layered
    quick = Peeker(slot.path, ground.base, store, trees, store.folder / "index", layer=layer)
    slot.write("a.txt", "changed")
    slot.write("new.txt", "new")
    first = quick.look()
    assert sorted(first) == ["a.txt", "new.txt"]
    started = processes_started()
    assert quick.look() is first
    assert processes_started() == started
    slot.write("a.txt", "changed again")
    assert quick.look()["a.txt"] != first["a.txt"]
    assert (processes_started() - started, quick.read) == (0, 3)
    slot.write("loud.up", "changed")
    assert quick.look()["loud.up"].status == "M"
    # What git makes of one that has a filter, only git knows.
    assert (processes_started() - started, quick.read) == (1, 4)
