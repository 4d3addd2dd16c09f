"""One git for many merges: its answers are those of one git each, whether it gives them at once or not."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratum_git.git.attributes import Attributes
from stratum_git.git.merge import NOBODY, Conflicted, Outcome, merge
from stratum_git.git.merge_session import MergeSession, read_answer
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.process import processes_started, trust
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.tree_merge import TreeMerger
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

LINES = [f"line {n}\n" for n in range(40)]


def text(at: int, to: str) -> bytes:
    return "".join(to if n == at else line for n, line in enumerate(LINES)).encode()


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    scratch = ScratchRepo.make(tmp_path / "repo")
    scratch.commit("first", {"x": "x\n"})
    found = open_repository(scratch.path)
    trust(found.common_dir, found.root)
    return found


@pytest.fixture
def trees(repo: Repository) -> Iterator[TreeReader]:
    with TreeReader(repo) as reader:
        yield reader


@pytest.fixture
def prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a git on the path that writes each answer out, as every git does from 2.49 on."""
    unbuffered, real = shutil.which("stdbuf"), shutil.which("git")
    if unbuffered is None or real is None:
        pytest.skip("there is no stdbuf")
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {unbuffered} -o0 {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=":")


def sides(writer: ObjectWriter, number: int) -> tuple[Oid, Oid, Oid]:
    """Returns trees that both changed one file: apart from each other, or, where it is odd, in one line."""

    def tree(data: bytes) -> Oid:
        name = "f" if number != 2 else 'a "name"\n\twith all'
        return writer.tree({name: ("100644", writer.blob(data)), "x": ("100644", writer.blob(b"x\n"))})

    theirs = text(2 if number % 2 else 30, f"theirs {number}\n")
    return tree("".join(LINES).encode()), tree(text(2, f"ours {number}\n")), tree(theirs)


def merged(repo: Repository, merger: TreeMerger, number: int) -> Outcome:
    base, ours, theirs = sides(merger.writer, number)
    return merge(repo, merger.writer, base=base, ours=ours, theirs=theirs, merger=merger)


@pytest.mark.usefixtures("prompt")
def test_many_merges_take_one_git(repo: Repository, trees: TreeReader) -> None:
    writer = ObjectWriter(repo, durable=False)
    alone = [merged(repo, TreeMerger(trees, writer), number) for number in range(6)]
    assert [isinstance(one, Conflicted) for one in alone] == [False, True] * 3
    attributes = Attributes(trees, repo)
    with MergeSession(repo, attributes, is_prompt=True) as session:
        together = TreeMerger(trees, writer, attributes, session)
        assert merged(repo, together, 0) == alone[0]
        before = processes_started()
        assert [merged(repo, together, number) for number in range(6)] == alone
        assert processes_started() == before


def test_a_git_that_keeps_its_answers_is_asked_once(repo: Repository, trees: TreeReader) -> None:
    writer, attributes = ObjectWriter(repo, durable=False), Attributes(trees, repo)
    alone = [merged(repo, TreeMerger(trees, writer), number) for number in range(3)]
    with MergeSession(repo, attributes, is_prompt=True, patience=0.05) as session:
        merger = TreeMerger(trees, writer, attributes, session)
        assert [merged(repo, merger, number) for number in range(3)] == alone


@pytest.mark.usefixtures("prompt")
def test_attributes_are_those_of_our_side(repo: Repository, trees: TreeReader) -> None:
    writer, attributes = ObjectWriter(repo, durable=False), Attributes(trees, repo)
    rules = [None, b"f merge=union\n", b"f -merge\n", None]
    found = []
    for is_prompt in (True, False):
        with MergeSession(repo, attributes, is_prompt=is_prompt) as session:
            merger = TreeMerger(trees, writer, attributes, session)
            for rule in rules:
                more = {} if rule is None else {".gitattributes": ("100644", writer.blob(rule))}
                all_ = [writer.tree({**trees.entries(one), **more}) for one in sides(writer, 1)]
                base, ours, theirs = all_
                found.append(merge(repo, writer, base=base, ours=ours, theirs=theirs, merger=merger))
    assert found[:4] == found[4:]
    assert [isinstance(one, Conflicted) for one in found[:4]] == [True, False, True, True]


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("setting", ["merge.conflictStyle=diff3", "merge.renames=false"])
def test_settings_are_those_of_now(repo: Repository, trees: TreeReader, setting: str) -> None:
    writer, attributes = ObjectWriter(repo, durable=False), Attributes(trees, repo)
    with MergeSession(repo, attributes, is_prompt=True) as session:
        merger = TreeMerger(trees, writer, attributes, session)
        merged(repo, merger, 1)
        ScratchRepo(repo.root).git("config", *setting.split("="))
        assert merged(repo, merger, 1) == merged(repo, TreeMerger(trees, writer), 1)


@pytest.mark.usefixtures("prompt")
def test_where_there_are_drivers_each_merge_has_its_git(repo: Repository, trees: TreeReader) -> None:
    ScratchRepo(repo.root).git("config", "merge.mine.driver", "true")
    writer, attributes = ObjectWriter(repo, durable=False), Attributes(trees, repo)
    base, ours, theirs = sides(writer, 1)
    left, right = (writer.commit(tree, (), "x\n", NOBODY, NOBODY) for tree in (ours, theirs))
    with MergeSession(repo, attributes, is_prompt=True) as session:
        assert session.ask(base, left, right) is None


@pytest.mark.usefixtures("prompt")
def test_a_git_that_was_killed_is_missed_by_nobody(repo: Repository, trees: TreeReader) -> None:
    writer, attributes = ObjectWriter(repo, durable=False), Attributes(trees, repo)
    with MergeSession(repo, attributes, is_prompt=True) as session:
        merger = TreeMerger(trees, writer, attributes, session)
        first = merged(repo, merger, 1)
        assert session.pid is not None
        os.kill(session.pid, signal.SIGKILL)
        assert [merged(repo, merger, 1), merged(repo, merger, 1)] == [first, first]


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"1\0abc\0\0\0", True),
        (b"1\0abc\0\0", False),
        (b"0\0abc\x00100644 1 2\tf\0\x001\0f\0CONFLICT\0text\n\0\0", True),
        (b"0\0abc\x00100644 1 2\tf\0\x001\0f\0CONFLICT\0text\n\0", False),
        (b"0\0abc\x00100644 1 2\tf", False),
        (b"", False),
        (b"fatal: no\0\0\0\0\0", False),
        (b"0\0abc\0\0what\0\0\0", False),
    ],
)
def test_an_answer_is_whole_or_none(data: bytes, *, whole: bool) -> None:
    assert (read_answer(data) is not None) is whole
