"""What a landing costs is counted: git processes do not grow with results whose files are apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from stratum_git.dispatch.landing import follow, in_the_way
from stratum_git.git.merge_session import SINCE
from stratum_git.git.process import git_version, processes_started
from stratum_git.git.repository import open_repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid, RefName
from tests.support.landings import Edit, made_results, ready
from tests.support.repos import ScratchRepo

MAIN = RefName("refs/heads/main")
TURN = 2
"""One git that reads objects, and one that lets the checkout follow; refs are moved by the run's own."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScratchRepo:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    scratch = ScratchRepo.make(tmp_path / "repo")
    lines = "".join(f"line {n}\n" for n in range(20))
    scratch.commit("first", {f"d{n % 3}/in/f{n}.txt": f"{n}\n{lines}" for n in range(30)})
    return scratch


def apart(number: int) -> dict[str, Edit]:
    return {
        f"d{number % 3}/in/f{number}.txt": b"changed\n",
        f"d{number % 3}/in/new{number}.txt": b"new\n",
        f"d{number % 3}/in/f{number + 15}.txt": None,
    }


@dataclass(frozen=True)
class Cost:
    gits: int
    landed: int


async def landed(place: ScratchRepo, results: list[dict[str, Edit]]) -> Cost:
    base = place.head()
    # Git compares what was written in the same second as the index: that is not what is counted here.
    place.git("update-index", "-q", "--refresh")
    oids = made_results(place.path, base, results, "r")
    coming, before = ready(place, base, oids, require=1, on_quorum="keep"), processes_started()
    state = await coming.land()
    cost = processes_started() - before
    assert state.status == "complete"
    assert place.git("status", "--porcelain") == ""
    count = int(place.git("rev-list", "--count", "--first-parent", f"{base}..main"))
    return Cost(cost, count)


@pytest.mark.parametrize("results", [1, 3, 12])
async def test_results_apart_take_no_git_each(place: ScratchRepo, results: int) -> None:
    assert await landed(place, [apart(n) for n in range(results)]) == Cost(TURN, results)


async def test_what_a_landing_writes_is_in_packs_that_are_kept(place: ScratchRepo) -> None:
    base = place.head()
    coming = ready(place, base, made_results(place.path, base, [apart(n) for n in range(3)], "r"))
    before = set(place.path.glob(".git/objects/??/*"))
    assert (await coming.land()).status == "complete"
    assert set(place.path.glob(".git/objects/??/*")) == before
    packs = place.path.glob(".git/objects/pack/pack-*.pack")
    assert all(pack.with_suffix(".keep").exists() for pack in packs)


async def test_a_checkout_that_is_touched_and_not_changed_costs_a_look(place: ScratchRepo) -> None:
    (place.path / "d0/in/f0.txt").touch()
    assert (await landed(place, [apart(0)])).landed == 1
    assert (place.path / "d0/in/f0.txt").read_text() == "changed\n"


def test_a_clean_checkout_is_looked_at_without_git(place: ScratchRepo) -> None:
    old = place.head()
    (new,) = made_results(place.path, old, [apart(1)], "r")
    repo = open_repository(place.path)
    with TreeReader(repo) as trees:
        trees.root(new)
        before = processes_started()
        assert in_the_way(repo, MAIN, Oid(old), new, trees) is None
        assert processes_started() == before
        place.git("update-ref", "refs/heads/main", new)
        assert follow(repo, MAIN, Oid(old), new, trees=trees) == ()
        assert processes_started() == before + 1
    assert place.git("status", "--porcelain") == ""


async def test_results_in_one_file_take_one_git_each_at_most(place: ScratchRepo) -> None:
    lines = [f"line {n}\n".encode() for n in range(100)]
    place.commit("shared", {"shared.txt": b"".join(lines)})

    def result(number: int) -> dict[str, Edit]:
        mine = [b"by %d\n" % number if n == number * 8 else line for n, line in enumerate(lines)]
        return {"shared.txt": b"".join(mine), f"new{number}.txt": b"new\n"}

    few = await landed(place, [result(n) for n in range(4)])
    place.git("reset", "-q", "--hard", "main~4")
    many = await landed(place, [result(n) for n in range(12)])
    assert many.landed == 12
    # The first goes on its own base. One git more tells which attributes there are, one what gits wrote.
    each = 0 if git_version() >= SINCE else 1
    assert [few.gits, many.gits] == [TURN + 2 + max(1, 3 * each), TURN + 2 + max(1, 11 * each)]
