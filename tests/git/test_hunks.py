"""Hunks are all that conflicts, no more than that, and where it is."""

from __future__ import annotations

import time

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from stratum_git.git.hunks import LARGEST, Hunk, Part, Region, hunks_of, is_text, lines_of, regions
from tests.support.repos import ScratchRepo

few = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\r\n", b"\n"]), max_size=12)
texts = st.builds(lambda lines, end: b"".join(lines) + end, few, st.sampled_from([b"", b"x", b"a\r"]))


def part(found: tuple[Region, ...], side: str, lines: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    spans = [getattr(one, side) for one in found]
    assert [span.start for span in spans] == [0, *(span.end for span in spans)][: len(spans)]
    return [lines[span.start : span.end] for span in spans]


@settings(max_examples=100, deadline=None)
@given(texts, texts, texts)
def test_every_line_of_each_version_is_in_one_region_that_is_what_it_is_called(
    base: bytes, ours: bytes, theirs: bytes
) -> None:
    versions = [lines_of(one) for one in (base, ours, theirs)]
    found = regions(*versions)
    parts = [
        part(found, side, lines) for side, lines in zip(("base", "ours", "theirs"), versions, strict=True)
    ]
    assert [b"".join(line for one in side for line in one) for side in parts] == [base, ours, theirs]
    for region, was, mine, other in zip(found, *parts, strict=True):
        expected = {
            "same": was == mine == other,
            "ours": was == other != mine,
            "theirs": was == mine != other,
            "both": mine == other != was,
            "conflict": mine != other and was not in (mine, other),
        }
        assert expected[region.kind], region


@settings(max_examples=100, deadline=None)
@given(texts, texts, texts)
def test_hunks_are_where_they_say_and_both_sides_differ_at_either_end(
    base: bytes, ours: bytes, theirs: bytes
) -> None:
    versions = {"base": lines_of(base), "ours": lines_of(ours), "theirs": lines_of(theirs)}
    for hunk in hunks_of(base, ours, theirs, context=2):
        for name, lines in versions.items():
            one: Part = getattr(hunk, name)
            assert lines[one.start - 1 : one.start - 1 + len(one.lines)] == one.lines
        mine, other = hunk.ours.lines, hunk.theirs.lines
        assert mine != other
        assert not (mine and other) or (mine[0] != other[0] and mine[-1] != other[-1])
        around = versions["ours"]
        at = hunk.ours.start - 1
        assert hunk.before == around[max(0, at - 2) : at]
        assert hunk.after == around[at + len(mine) : at + len(mine) + 2]


@settings(max_examples=25, deadline=None)
@given(base=texts, ours=texts, theirs=texts)
def test_what_conflicts_for_git_has_a_hunk(
    tmp_path_factory: pytest.TempPathFactory, base: bytes, ours: bytes, theirs: bytes
) -> None:
    scratch = ScratchRepo(tmp_path_factory.mktemp("files"))
    for name, text in (("base", base), ("ours", ours), ("theirs", theirs)):
        scratch.write(name, text)
    said = scratch.git("merge-file", "-p", "ours", "base", "theirs", check=False)
    if "<<<<<<<" in said:
        assert hunks_of(base, ours, theirs)
    if ours == theirs:
        assert hunks_of(base, ours, theirs) == ()


def test_a_hunk_is_as_small_as_it_can_be() -> None:
    base = b"one\ntwo\nthree\nfour\nfive\nsix\n"
    ours = b"one\ntwo\nalike\nOURS\nfive\nsix\nseven\n"
    theirs = b"ONE\ntwo\nalike\nTHEIRS\nfive\nsix\n"
    assert hunks_of(base, ours, theirs, context=1) == (
        Hunk(
            Part(3, (b"three\n", b"four\n")),
            Part(4, (b"OURS\n",)),
            Part(4, (b"THEIRS\n",)),
            (b"alike\n",),
            (b"five\n",),
        ),
    )


def test_long_texts_are_told_in_time() -> None:
    def text(mark: str, count: int) -> bytes:
        return "".join(f"{mark}{n}\n" if n % 3 else "\n" for n in range(count)).encode()

    began = time.thread_time()
    assert len(hunks_of(text("a", 20_000), text("b", 20_000), text("c", 20_000))) == 1
    few = text("a", 20_000).split(b"\n")
    mine, other = ([mark if n % 1000 == 1 else line for n, line in enumerate(few)] for mark in (b"x", b"y"))
    assert len(hunks_of(b"\n".join(few), b"\n".join(mine), b"\n".join(other))) == 20
    assert time.thread_time() - began < 5


def test_what_is_no_text_is_not_compared() -> None:
    assert is_text(b"x", b"")
    assert not is_text(b"x", b"\0")
    assert not is_text(b"x" * (LARGEST + 1))
