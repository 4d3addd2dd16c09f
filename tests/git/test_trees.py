"""Trees that are compared and merged in process come out as git has them, or are left to git."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_git.errors import HostError
from stratum_git.git.diff import changed_paths
from stratum_git.git.merge import Conflicted, Merged, merge
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.process import processes_started
from stratum_git.git.repository import Repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import REMEMBERED, TreeReader, differences, fetch_differences
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

PLAIN, RUNS, LINK, MODULE = "100644", "100755", "120000", "160000"
NAMES = st.sampled_from(["a", "b", "c", "a.b", "ä", "d/a", "d/b", "d/e/a", "d.x", "a/b", "e/f", "e/g/h"])
LINES = st.sampled_from(["1\n2\n3\n4\n5\n", "1\n2\n3\n4\n6\n", "0\n2\n3\n4\n5\n", "other\n", "", "7\n"])
FILES = st.dictionaries(
    NAMES, st.tuples(st.sampled_from([PLAIN, PLAIN, PLAIN, RUNS, LINK]), LINES), max_size=8
)
Files = Mapping[str, tuple[str, str]]


@pytest.fixture
def trees(repo: Repository) -> Iterator[TreeReader]:
    with TreeReader(repo) as reader:
        yield reader


def consistent(files: Files) -> Files:
    """Leaves out what lies below something that is a file."""
    return {
        name: file for name, file in files.items() if not any(name.startswith(f"{other}/") for other in files)
    }


def tree_of(writer: ObjectWriter, files: Files) -> Oid:
    inner: dict[str, dict[str, tuple[str, str]]] = {}
    entries: dict[str, tuple[str, Oid]] = {}
    for name, (mode, text) in files.items():
        head, _, rest = name.partition("/")
        if rest:
            inner.setdefault(head, {})[rest] = (mode, text)
        else:
            entries[head] = (mode, Oid("1" * 40) if mode == MODULE else writer.blob(text.encode()))
    for name, below in inner.items():
        entries[name] = ("040000", tree_of(writer, below))
    return writer.tree(entries)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES.map(consistent), FILES.map(consistent))
def test_differences_are_those_that_git_tells(
    repo: Repository, writer: ObjectWriter, trees: TreeReader, one: Files, other: Files
) -> None:
    old, new = tree_of(writer, one), tree_of(writer, other)
    assert tuple(differences(trees, old, new)) == changed_paths(repo, old, new, folders=True)


SIDES = st.tuples(FILES, FILES, FILES)
Sides = tuple[Files, Files, Files]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIDES, st.booleans())
def test_a_merge_without_git_is_the_one_that_git_makes(
    repo: Repository,
    writer: ObjectWriter,
    trees: TreeReader,
    sides: tuple[Files, Files, Files],
    related: bool,
) -> None:
    base, ours, theirs = sides
    if related:
        # Both sides change a little of what was there: that is what merges are like.
        ours, theirs = {**base, **dict(list(ours.items())[:2])}, {**base, **dict(list(theirs.items())[:2])}
    before, mine, other = (tree_of(writer, consistent(files)) for files in (base, ours, theirs))
    found = TreeMerger(trees, writer).merge(before, mine, other)
    if found is not None:
        assert merge(repo, writer, base=before, ours=mine, theirs=other) == Merged(found)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "by_git"),
    [
        ({"a": "1"}, {"a": "1", "b": "2"}, {"a": "1", "c": "3"}, False),
        ({"a": "1"}, {"a": "1", "d/b": "2"}, {"a": "1", "d/c": "3"}, False),
        ({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1", "b": "2"}, False),
        ({"d/a": "1", "d/b": "1", "e": "1"}, {"d/b": "1", "e": "1"}, {"d/a": "1", "e": "1"}, False),
        ({"a": "1"}, {"a": "2"}, {"a": "2"}, False),
        ({"a": "1"}, {"a": "2"}, {"a": "3"}, True),
        ({"a": "long enough to be found\n", "d/x": "1"}, {"b": "long enough to be found\n", "d/x": "1"},
         {"a": "long enough to be found\n", "d/x": "2"}, False),
        ({"a": "long enough to be found\n", "d/x": "1"}, {"b": "long enough to be found\n", "d/x": "1"},
         {"a": "long enough to be found!\n", "d/x": "1"}, True),
        ({}, {"a": "1"}, {"a/b": "1"}, True),
        ({"a": "1"}, {}, {"a": "2"}, True),
    ],
)  # fmt: skip
def test_what_has_to_be_decided_is_left_to_git(
    trees: TreeReader,
    writer: ObjectWriter,
    *,
    base: Mapping[str, str],
    ours: Mapping[str, str],
    theirs: Mapping[str, str],
    by_git: bool,
) -> None:
    repo = writer.repo
    sides = [tree_of(writer, {n: (PLAIN, t) for n, t in files.items()}) for files in (base, ours, theirs)]
    merger = TreeMerger(trees, writer)
    assert (merger.merge(*sides) is None) is by_git
    before, mine, other = sides
    asked = merge(repo, writer, base=before, ours=mine, theirs=other, merger=merger)
    assert asked == merge(repo, writer, base=before, ours=mine, theirs=other)
    assert isinstance(asked, Merged | Conflicted)


def test_many_merges_take_one_process(
    scratch: ScratchRepo, repo: Repository, writer: ObjectWriter, trees: TreeReader
) -> None:
    base = trees.root(Oid(scratch.head()))
    files = {"a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n"}
    merger = TreeMerger(trees, writer)
    at, before = base, processes_started()
    for number in range(50):
        new = tree_of(writer, {n: (PLAIN, t) for n, t in {**files, f"dir/new{number}": "x"}.items()})
        at = merger.merge(base, at, new) or Oid("")
    assert processes_started() == before
    assert len(trees.entries(trees.entries(at)["dir"][1])) == 51


def test_what_cannot_be_read_is_told_and_the_next_is_read(scratch: ScratchRepo, trees: TreeReader) -> None:
    with pytest.raises(HostError, match="cannot be read"):
        trees.entries(Oid("1" * 40))
    assert set(trees.entries(trees.root(Oid(scratch.head())))) == {"a.txt", "b.txt", "dir"}


def test_what_is_remembered_is_bounded(writer: ObjectWriter, trees: TreeReader) -> None:
    blob = writer.blob(b"x")
    first = writer.tree({"one": (PLAIN, blob)})
    trees.entries(first)
    for number in range(120):
        large = {f"{number}-{n}": (PLAIN, blob) for n in range(1000)}
        assert len(trees.entries(writer.tree(large))) == 1000
        assert set(trees.entries(first)) == {"one"}
    assert sum(len(entries) for entries in trees._known.values()) <= REMEMBERED
    assert first in trees._known


def test_what_was_fetched_is_known(scratch: ScratchRepo, repo: Repository) -> None:
    old = Oid(scratch.head())
    new = Oid(scratch.commit("more", {"a/b/c/deep.txt": "1\n", "a/b/other.txt": "2\n", "dir/c.txt": "3\n"}))
    last = Oid(scratch.commit("most", {"a/b/c/deep.txt": "4\n", "dir/c.txt": "5\n"}))
    missing = Oid("1" * 40)
    with TreeReader(repo) as trees:
        trees.fetch_commits([old, new, last, missing, new])
        pairs = [(trees.root(old), trees.root(new)), (trees.root(new), trees.root(last))]
        fetch_differences(trees, [*pairs, (missing, pairs[0][0])])
        trees.close()
        before = processes_started()
        found = [[c.path for c in differences(trees, *pair) if not c.is_folder] for pair in pairs]
        assert processes_started() == before
        # Only what is on both sides is fetched; what is new is read by whoever wants it.
        assert found[1] == ["a/b/c/deep.txt", "dir/c.txt"]
        with pytest.raises(HostError, match="cannot be read"):
            trees.commit(missing)
