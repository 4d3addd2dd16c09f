"""What is written for an attempt is one pack, on the disk before anything names it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stratum_git.git.gathering import Gathered, GatheringWriter
from stratum_git.git.objects import Signature, loose_path, read_objects
from stratum_git.git.pack_writer import MARK
from stratum_git.git.process import Git, processes_started
from stratum_git.git.repository import Repository
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

ME = Signature("Me", "me@x", 1234567890.0)


def packs(repo: Repository) -> list[Path]:
    return sorted((repo.common_dir / "objects/pack").glob(f"pack-{MARK}*.keep"))


def loose(repo: Repository) -> set[Path]:
    return set((repo.common_dir / "objects").glob("??/*"))


def taken(repo: Repository, base: Oid, writer: GatheringWriter) -> Captured:
    with TreeReader(repo, writer.heal) as trees:
        found = capture(
            repo.root, base=base, writer=writer, message="m\n", author=ME, committer=ME, trees=trees
        )
        writer.sync()
    return found


def whole(scratch: ScratchRepo, base: Oid, found: Captured) -> None:
    """Looks whether git can read all of a result, after it has deleted what it may."""
    for command in (("prune", "--expire=now"), ("gc", "-q", "--prune=now"), ("repack", "-adfq")):
        scratch.git(*command)
    for oid in filter(None, (found.result, found.rest)):
        scratch.git("rev-list", "--objects", f"{base}..{oid}")
    assert scratch.git("fsck", "--connectivity-only", "--no-dangling", found.result) == ""


def test_a_result_is_one_pack_and_no_file_of_its_own(scratch: ScratchRepo, repo: Repository) -> None:
    base, before = Oid(scratch.head()), loose(repo)
    scratch.write("a.txt", "changed\n")
    scratch.write("new/deep.bin", bytes(range(256)))
    started = processes_started()
    found = taken(repo, base, GatheringWriter(repo, durable=True))
    # The status, the reader of trees, and once for all what the settings are.
    assert processes_started() - started <= 4
    assert found.paths == ("a.txt", "new/deep.bin")
    assert (len(packs(repo)), loose(repo)) == (1, before)
    whole(scratch, base, found)
    assert scratch.show(f"{found.result}:a.txt") == "changed"


@pytest.mark.parametrize("more", [False, True])
def test_what_the_agent_committed_is_in_that_pack(scratch: ScratchRepo, repo: Repository, more: bool) -> None:
    base = Oid(scratch.head())
    scratch.write("passing.txt", "in a commit between\n")
    scratch.git("add", ".")
    scratch.git("commit", "-qm", "one")
    scratch.git("rm", "-q", "passing.txt")
    scratch.git("mv", "b.txt", "c.txt")
    scratch.git("commit", "-qm", "two")
    head = scratch.head()
    if more:
        scratch.write("a.txt", "and more\n")
        scratch.write("staged.txt", "staged\n")
        scratch.git("add", "staged.txt")
    found = taken(repo, base, GatheringWriter(repo, durable=True))
    assert (found.result != head, len(packs(repo))) == (more, 1)
    scratch.git("reset", "-q", "--hard", base)
    scratch.git("reflog", "expire", "--expire=now", "--all")
    whole(scratch, base, found)
    assert scratch.show(f"{found.result}~{1 + more}:passing.txt") == "in a commit between"


def test_what_was_staged_and_overwritten_is_there_for_git(scratch: ScratchRepo, repo: Repository) -> None:
    base = Oid(scratch.head())
    scratch.write("a.txt", "staged\n")
    scratch.git("add", "a.txt")
    scratch.write("a.txt", "overwritten\n")
    (repo.git_dir / "MERGE_MSG").write_text("a note\n")
    found = taken(repo, base, GatheringWriter(repo, durable=True))
    scratch.git("reset", "-q", "--hard")
    whole(scratch, base, found)
    assert scratch.show(f"{found.rest}:staged/a.txt") == "staged"
    assert scratch.show(f"{found.rest}:git/MERGE_MSG") == "a note"
    assert scratch.show(f"{found.rest}^:a.txt") == "overwritten"


def test_nobody_sees_it_before_and_everybody_after(repo: Repository) -> None:
    writer = GatheringWriter(repo, durable=True)
    late = writer.deferring()
    done = Git(repo.root).run("hash-object", "-w", "--stdin", stdin=b"git's")
    oids = [writer.blob(b"ours"), late.blob(b"late"), Oid(done.stdout.decode().strip())]
    late.sync()
    assert [one is None for one in read_objects(repo, oids)] == [True, True, False]
    writer.owe_objects(oids)
    writer.sync()
    assert None not in read_objects(repo, oids)
    assert not any(loose_path(repo, oid).exists() for oid in oids)
    assert len(packs(repo)) == 1
    writer.sync()
    assert len(packs(repo)) == 1


def test_more_than_there_should_be_in_memory_goes_before(repo: Repository) -> None:
    writer = GatheringWriter(repo, durable=False, gathered=Gathered(most=1000))
    oids = [writer.blob(os.urandom(600)) for _ in range(3)]
    assert (len(packs(repo)), len(writer.gathered.rows)) == (1, 1)
    writer.sync()
    assert len(packs(repo)) == 2
    assert None not in read_objects(repo, oids)
