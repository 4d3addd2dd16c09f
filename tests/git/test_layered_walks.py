"""Whatever an agent does in a slot, one step after the other: what is captured is what git makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_git.git.layered import work_in
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.snapshot import capture
from stratum_git.git.tree_reader import TreeReader
from tests.support.overlays import Ground
from tests.support.repos import ScratchRepo
from tests.support.rich import by_git, rich_ground

ME = Signature("Me", "me@x", 1234567890.0)
NAMES = (
    "a.txt", "a.txt/b", "a.txt/b/c.txt", "b.txt", "dir", "dir/c.txt", "dir/sub", "dir/sub/d.txt",
    "dir/sub/new", "build/out", "build/kept.txt", "forced.o", "x.o", "dir/x.o", "new/deep/er",
    "new/x.o", "loud.up", "was.auto", "n.crlf", "link", "link/under", ".gitignore", "dir/.gitignore",
    "dir/.gitattributes", "e/f.txt", "e",
)  # fmt: skip
TEXTS = ("x\n", "one\r\n", "*.txt\n", "* filter=up\n", "")
COMMANDS = (
    "status", "add -A", "add -u", "commit -qam x --allow-empty", "reset -q", "reset -q --soft HEAD~1",
    "reset -q --hard HEAD~1", "reset -q --hard", "checkout -q --detach other", "checkout -q -f -",
    "stash -q -u", "stash pop -q", "clean -fdq", "clean -fdxq", "checkout -q .", "mv dir moved",
    "mv moved dir", "mv a.txt dir", "merge -q --no-commit --no-ff other", "cherry-pick other~0",
    "update-index --refresh",
)  # fmt: skip
OF_PATHS = ("add -f", "rm -q --cached -r", "rm -rfq", "checkout -q HEAD --", "restore --staged", "add -N")

names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("write"), names, st.sampled_from(TEXTS)),
    st.tuples(st.just("append"), names, st.sampled_from(TEXTS)),
    st.tuples(st.sampled_from(("delete", "folder", "touch", "mode", "link")), names, st.just("")),
    st.tuples(st.just("move"), names, names),
    st.tuples(st.just("git"), st.sampled_from(COMMANDS), st.just("")),
    st.tuples(st.just("git on"), names, st.sampled_from(OF_PATHS)),
)
walks = st.lists(steps, min_size=1, max_size=12)
number = count()


@pytest.fixture(scope="module", params=["sha1", "sha256"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A repository with a bit of everything in it."""
    with rich_ground(tmp_path_factory.mktemp("walks"), f"--object-format={request.param}") as made:
        yield made


def do(slot: Path, step: tuple[str, str, str]) -> None:
    kind, one, two = step
    place = slot / one
    try:
        match kind:
            case "write" | "append":
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("a" if kind == "append" else "w", newline="") as file:
                    file.write(two)
            case "delete":
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
            case "folder":
                place.mkdir(parents=True)
            case "touch":
                os.utime(place)
            case "mode":
                place.chmod(place.stat().st_mode ^ 0o111)
            case "link":
                place.symlink_to("b.txt")
            case "move":
                (slot / two).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(place, slot / two)
            case "git":
                subprocess.run(["git", *one.split()], cwd=slot, capture_output=True, check=False)
            case _:
                subprocess.run(["git", *two.split(), one], cwd=slot, capture_output=True, check=False)
    except OSError:
        # It cannot be done here; the walk goes on.
        return


def walked(ground: Ground, walk: list[tuple[str, str, str]]) -> bool:
    """Takes a walk in a new slot and compares; returns whether the layer was enough."""
    writer = ObjectWriter(ground.repo, durable=False)
    name = f"walk-{next(number)}"
    with ground.slot(name, f"stratum/{name}") as (path, layer), TreeReader(ground.repo) as trees:
        for step in walk:
            do(path, step)
        expected = by_git(ScratchRepo(path))
        found = [
            capture(
                path, base=ground.base, writer=writer, message="left\n", author=ME, committer=ME,
                trees=trees, layer=given, aside=True,
            )
            for given in (layer, None)
        ]  # fmt: skip
        # Status passes over an ignored folder that lies where a file was.
        assert {*found[1].ignored} <= {*found[0].ignored}
        assert replace(found[0], ignored=()) == replace(found[1], ignored=())
        assert trees.root(found[0].result) == expected
        return work_in(path, layer, writer, trees) is not None


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(walk=walks)
def test_a_walk_is_captured_as_git_would(ground: Ground, walk: list[tuple[str, str, str]]) -> None:
    walked(ground, walk)


@pytest.mark.soak
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(walk=walks)
def test_many_walks_are_captured_as_git_would(ground: Ground, walk: list[tuple[str, str, str]]) -> None:
    walked(ground, walk)
