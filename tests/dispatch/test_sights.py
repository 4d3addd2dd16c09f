"""Pairs that are not merged could not have conflicted, and those that are conflict as git says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_git.dispatch.sights import CROWD, Matrix, Sight, _candidates, kin_of, meet
from stratum_git.git.merge import Conflicted, merge
from stratum_git.git.merge_many import Trees, merge_many
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.repository import Repository
from stratum_git.git.scratch import Scratch, make_scratch
from stratum_git.git.tree_edit import edited
from stratum_git.git.tree_reader import Entry, TreeReader, differences
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Oid

PATHS = ["a", "b", "d/a", "d/b", "d/e/a", "f/a", "a/x"]
BASE = {"a": "a", "b": "b", "d/a": "da", "d/b": "db", "d/e/a": "dea"}
LINES = "".join(f"{number}\n" for number in range(12))
Edits = dict[str, str | None]
EDITS = st.dictionaries(
    st.sampled_from(PATHS), st.none() | st.sampled_from([*"xyz", *BASE.values()]), max_size=4
)


@pytest.fixture
def store(repo: Repository, tmp_path: Path) -> Scratch:
    (tmp_path / "scratch").mkdir()
    return make_scratch(repo, tmp_path / "scratch")


@pytest.fixture
def trees(repo: Repository) -> Iterator[TreeReader]:
    with TreeReader(repo) as reader:
        yield reader


def text(word: str) -> bytes:
    return f"{LINES}{word}\n{LINES}".encode()


def with_edits(trees: TreeReader, writer: ObjectWriter, base: Oid, edits: Edits) -> Oid:
    """Returns a tree; of a file and a folder with one name, the file goes."""
    folders = {path.partition("/")[0] for path, word in edits.items() if word and "/" in path}
    rows: dict[str, Entry | None] = {
        path: None if word is None or path in folders else ("100644", writer.blob(text(word)))
        for path, word in edits.items()
    }
    return edited(trees, writer, base, rows)


def sight(trees: TreeReader, index: int, base: Oid, tree: Oid) -> Sight:
    changes = {c.path: c for c in differences(trees, base, tree) if not c.is_folder}
    return Sight(index, 1, base, tree, changes)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS, EDITS)
def test_what_does_not_meet_does_not_conflict(
    repo: Repository, writer: ObjectWriter, trees: TreeReader, store: Scratch, ours: Edits, theirs: Edits
) -> None:
    base = with_edits(trees, writer, writer.tree({}), dict(BASE))
    a = sight(trees, 0, base, with_edits(trees, writer, base, ours))
    b = sight(trees, 1, base, with_edits(trees, writer, base, theirs))

    merged = merge(repo, writer, base=base, ours=a.tree, theirs=b.tree)
    paths = merged.paths if isinstance(merged, Conflicted) else ()

    assert meet(a, b) or not paths, (ours, theirs, paths)
    assert meet(a, b) == meet(b, a)
    assert merge_many(store, [Trees(base, a.tree, b.tree)])[0].paths == paths
    assert Matrix(store).look([a, b], frozenset()) == ({(0, 1): paths} if paths else {})


def test_only_pairs_of_which_one_side_changed_are_merged_again(
    writer: ObjectWriter, trees: TreeReader, store: Scratch
) -> None:
    base = with_edits(trees, writer, writer.tree({}), dict(BASE))

    def seen(index: int, word: str) -> Sight:
        return sight(trees, index, base, with_edits(trees, writer, base, {"a": word, f"own{index}": word}))

    matrix, sights = Matrix(store), [seen(index, "xyzw"[index]) for index in range(4)]
    assert set(matrix.look(sights, frozenset())) == {(i, j) for j in range(4) for i in range(j)}
    assert matrix.merged == 6

    again = matrix.look(sights, frozenset({(0, 1)}))
    assert len(again) == 5
    assert matrix.merged == 6

    sights[2] = seen(2, "w")  # as the last one has it
    assert (2, 3) not in matrix.look(sights, frozenset({(0, 1)}))
    assert matrix.merged == 8  # with the first two; what both changed alike is no doubt


def test_a_look_merges_so_many_pairs_and_the_next_one_goes_on(
    writer: ObjectWriter, trees: TreeReader, store: Scratch
) -> None:
    base = with_edits(trees, writer, writer.tree({}), dict(BASE))
    sights = [
        sight(trees, index, base, with_edits(trees, writer, base, {"a": word}))
        for index, word in enumerate("xyz")
    ]
    matrix = Matrix(store)
    assert set(matrix.look(sights, frozenset(), most=2)) == {(0, 1), (0, 2)}
    assert set(matrix.look(sights, frozenset(), most=2)) == {(0, 1), (0, 2), (1, 2)}


def test_who_builds_on_whom_is_known_at_any_depth() -> None:
    graph = TaskGraph((), ((), (0,), (1,), ()), ((1,), (2,), (), ()), (0, 3, 1, 2))
    kin = kin_of(graph)
    assert {pair for pair in combinations(range(4), 2) if pair in kin} == {(0, 1), (1, 2), (0, 2)}
    assert (2, 0) in kin


def test_a_long_chain_is_known_without_its_pairs() -> None:
    count = 10_000
    needs = tuple((n - 1,) if n else () for n in range(count))
    kin = kin_of(TaskGraph((), needs, (), tuple(range(count))))
    assert (0, count - 1) in kin
    assert sum(map(sys.getsizeof, kin.above)) < 10_000_000


def test_all_pairs_of_a_crowd_are_not_looked_at(trees: TreeReader, writer: ObjectWriter) -> None:
    empty, full = writer.tree({}), writer.tree({"a": ("100644", writer.blob(b"a"))})
    changes = {c.path: c for c in differences(trees, empty, full)}

    def crowd(count: int) -> list[tuple[int, int]]:
        sights = [Sight(index, 1, empty, full, dict(changes)) for index in range(count)]
        return sorted(_candidates(sights))

    assert crowd(CROWD) == list(combinations(range(CROWD), 2))
    many = crowd(20 * CROWD)
    assert len(many) < CROWD * CROWD
    assert {index for pair in many for index in pair} == set(range(20 * CROWD))
