"""Resolutions are found again for exactly what was resolved, and outlive whoever writes beside them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.refs import tip_nowait
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from stratum_git.store.resolutions import (
    REF,
    Provenance,
    Resolution,
    Resolutions,
    Side,
    Triple,
    decoded,
    encoded,
)
from tests.support.repos import ScratchRepo

ME = Signature("Tess Ter", "tess@example.invalid", 1.0)
oids = st.integers(0, 2**160 - 1).map(lambda n: Oid(f"{n:040x}"))
entries = st.tuples(st.sampled_from(["100644", "100755", "120000"]), oids)
sides: st.SearchStrategy[Side] = st.none() | entries
triples = st.builds(Triple, sides, sides, sides)
# As paths are read from git: bytes that are no UTF-8 included.
texts = st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
whences = st.builds(
    Provenance,
    rung=st.sampled_from(["agent", "person"]),
    by=texts,
    flow=texts,
    step=texts,
    task=st.none() | texts,
    at=st.floats(0, 1e10),
)
resolutions = st.builds(Resolution, triples, sides, texts, whences)


@pytest.fixture
def known(repo: Repository) -> Iterator[Resolutions]:
    """The resolutions of the scratch repository."""
    with TreeReader(repo) as trees:
        yield Resolutions(repo, trees)


def one(writer: ObjectWriter, text: str = "resolved\n", path: str = "m.py") -> Resolution:
    base, ours, theirs = (writer.blob(f"{name} of {text}".encode()) for name in ("was", "target", "result"))
    triple = Triple(("100644", base), ("100644", ours), ("100755", theirs))
    whence = Provenance("person", "Tess Ter", "flow-1", "build", "b", 1.0)
    return Resolution(triple, ("100755", writer.blob(text.encode())), path, whence)


@given(resolutions)
def test_what_is_stored_is_read_as_it_was(resolution: Resolution) -> None:
    assert decoded(encoded(resolution)) == resolution


@settings(max_examples=30, deadline=None)
@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_what_is_no_resolution_is_none(data: bytes) -> None:
    assert decoded(data) is None


@given(resolutions, st.sampled_from(["base", "ours", "theirs", "result", "rung", "path", "task", "at"]))
def test_what_lacks_something_or_has_another_kind_of_it_is_none(resolution: Resolution, key: str) -> None:
    row = json.loads(encoded(resolution))
    assert decoded(json.dumps({name: value for name, value in row.items() if name != key}).encode()) is None
    assert decoded(json.dumps({**row, key: {"a": 1}}).encode()) is None


@given(triples, triples)
def test_triples_that_differ_have_other_names(one: Triple, other: Triple) -> None:
    assert (one.digest == other.digest) is (one == other)
    assert len({one.digest, Triple(one.base, one.theirs, one.ours).digest}) == 1 + (one.ours != one.theirs)


def test_only_the_very_same_three_sides_are_found(known: Resolutions, writer: ObjectWriter) -> None:
    resolution = one(writer)
    assert known.find(resolution.triple) is None
    known.add(writer, ME, [resolution, one(writer, "another\n")])
    assert known.find(resolution.triple) == resolution
    base, ours, theirs = resolution.triple.sides
    assert base is not None
    assert ours is not None
    assert theirs is not None
    for other in (
        Triple(base, theirs, ours),
        Triple(None, ours, theirs),
        Triple(("100755", base[1]), ours, theirs),
        Triple(base, ours, ("100755", base[1])),
    ):
        assert known.find(other) is None


def test_additions_are_commits_that_say_who_and_git_keeps_the_files(
    known: Resolutions, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    first, second = one(writer), one(writer, "second\n", "dir/n.py")
    known.add(writer, ME, [first])
    known.add(writer, ME, [second])
    assert scratch.git("log", "--format=%an: %s", REF).splitlines() == [
        "Tess Ter: Remember dir/n.py", "Tess Ter: Remember m.py",
    ]  # fmt: skip
    assert "Stratum-Flow: flow-1\nStratum-Step: build\nStratum-Task: b\nStratum-Rung: person" in scratch.git(
        "log", "-1", "--format=%B", REF
    )
    scratch.git("gc", "-q", "--prune=now")
    scratch.git("fsck", "--strict")
    assert scratch.git("cat-file", "blob", (second.result or ("", ""))[1]) == "second"
    assert known.every() == (second, first)


def test_a_resolution_takes_the_place_of_an_older_one_and_can_be_forgotten(
    known: Resolutions, writer: ObjectWriter
) -> None:
    first, other = one(writer), one(writer, "other\n", "dir/n.py")
    known.add(writer, ME, [first, other])
    better = replace(first, result=None)
    known.add(writer, ME, [better])
    assert known.find(first.triple) == better
    assert known.forget(writer, ME, "nothing.py") == ()
    assert known.forget(writer, ME, first.triple.digest[:12]) == (better,)
    assert known.find(first.triple) is None
    assert known.forget(writer, ME, "dir/n.py") == (other,)
    assert known.every() == ()


def test_a_folder_that_is_not_what_it_is_called_is_not_used(
    known: Resolutions, writer: ObjectWriter, scratch: ScratchRepo
) -> None:
    resolution = one(writer)
    digest = resolution.triple.digest
    facts = writer.blob(encoded(resolution))
    evil = writer.blob(b"evil\n")
    other = one(writer, "other\n").triple.digest

    def put(name: str, facts: Oid, content: Oid) -> None:
        folder = writer.tree({"resolution.json": ("100644", facts), "content": ("100755", content)})
        top = writer.tree({name[:2]: ("040000", writer.tree({name[2:]: ("040000", folder)}))})
        scratch.git("update-ref", REF, writer.commit(top, (), "forged\n", ME, ME))

    assert resolution.result is not None
    put(digest, facts, resolution.result[1])
    assert known.find(resolution.triple) == resolution
    put(digest, facts, evil)
    assert known.find(resolution.triple) is None
    put(other, facts, resolution.result[1])
    assert known.every() == ()
    put(digest, evil, resolution.result[1])
    assert known.every() == ()
    put(digest, facts, resolution.result[1])
    (scratch.path / ".git/objects" / facts[:2] / facts[2:]).unlink()
    assert known.find(resolution.triple) is None


def test_who_adds_at_the_same_time_loses_nothing(repo: Repository, known: Resolutions) -> None:
    writer = ObjectWriter(repo, durable=False)
    rows = [one(writer, f"{n}\n", f"{n}.py") for n in range(8)]

    def add(resolution: Resolution) -> None:
        with TreeReader(repo) as trees:
            Resolutions(repo, trees).add(ObjectWriter(repo, durable=False), ME, [resolution])

    threads = [threading.Thread(target=add, args=(row,)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(known.every()) == set(rows)
    assert tip_nowait(repo, REF) is not None
