"""What an attempt left is in a pack that is kept before anything names it: nobody's git deletes it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stratum_git.errors import StratumError
from stratum_git.git.keeping import MANY, SMALL, KeepingWriter
from stratum_git.git.objects import ObjectWriter, Signature, loose_path, read_objects
from stratum_git.git.pack_writer import MARK
from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

ME = Signature("Me", "me@x", 1234567890.0)


def of_git(repo: Repository, data: bytes) -> Oid:
    done = Git(repo.root).run("hash-object", "-w", "--stdin", stdin=data)
    return Oid(done.stdout.decode().strip())


def kept(repo: Repository, level: int) -> list[Path]:
    return sorted((repo.common_dir / "objects/pack").glob(f"pack-{MARK}{level}*.keep"))


def taken(repo: Repository, base: Oid, writer: ObjectWriter) -> Captured:
    with TreeReader(repo, writer.heal) as trees:
        found = capture(
            repo.root, base=base, writer=writer, message="m\n", author=ME, committer=ME, trees=trees
        )
        writer.sync()
    return found


def test_no_git_takes_a_result_that_no_ref_has_yet(scratch: ScratchRepo, repo: Repository) -> None:
    base = Oid(scratch.head())
    scratch.path.joinpath("new").mkdir()
    scratch.path.joinpath("new/file").write_text("only here\n")
    found = taken(repo, base, KeepingWriter(repo, durable=True))
    for command in (("prune", "--expire=now"), ("gc", "-q", "--prune=now"), ("repack", "-adfq")):
        scratch.git(*command)
    assert scratch.git("show", f"{found.result}:new/file") == "only here"
    assert scratch.git("rev-list", "--objects", f"{base}..{found.result}").count("\n") == 3
    assert len(kept(repo, 0)) == 1


def test_what_was_kept_is_in_no_file_of_its_own_and_not_looked_for(repo: Repository) -> None:
    writer = KeepingWriter(repo, durable=True)
    late = writer.deferring()
    oids = [writer.blob(b"ours"), late.blob(b"late"), of_git(repo, b"git's")]
    late.sync()
    writer.owe_objects(oids[2:])
    writer.sync()
    assert not any(loose_path(repo, oid).exists() for oid in oids)
    assert None not in read_objects(repo, oids)
    assert writer.memory.missing() == {}


@pytest.mark.parametrize("what", ["large", "many", "packed"])
def test_what_is_not_small_and_loose_is_packed_by_git(
    scratch: ScratchRepo, repo: Repository, what: str
) -> None:
    writer = KeepingWriter(repo, durable=True)
    if what == "many":
        oids = [ObjectWriter(repo, durable=False).blob(b"%d" % number) for number in range(MANY + 1)]
    elif what == "large":
        noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(SMALL // 32 + 50))
        oids = [of_git(repo, noise)]
    else:
        oids = [of_git(repo, b"some")]
        Git(repo.root).run("pack-objects", "-q", ".git/objects/pack/pack", stdin=f"{oids[0]}\n".encode())
        scratch.git("prune-packed")
    writer.owe_objects(oids)
    writer.sync()
    assert len(kept(repo, 2)) == 1
    scratch.git("gc", "-q", "--prune=now")
    assert None not in read_objects(repo, oids)


def test_what_one_attempt_lost_is_no_other_s_matter(repo: Repository) -> None:
    shared = ObjectWriter(repo, durable=True)
    first, second = (KeepingWriter(repo, durable=True, memory=shared.memory) for _ in range(2))
    lost, there = of_git(repo, b"lost"), of_git(repo, b"there")
    loose_path(repo, lost).unlink()
    first.owe_objects([lost])
    second.owe_objects([there])
    with pytest.raises(StratumError, match="deleted objects that were just written"):
        first.sync()
    second.sync()
    shared.sync()
    assert read_objects(repo, [there])[0] is not None


def test_what_was_remembered_is_back_before_it_is_kept(scratch: ScratchRepo, repo: Repository) -> None:
    writer = KeepingWriter(repo, durable=True)
    oid = writer.blob(b"remembered")
    scratch.git("prune", "--expire=now")
    assert not loose_path(repo, oid).exists()
    writer.sync()
    scratch.git("prune", "--expire=now")
    assert read_objects(repo, [oid])[0] is not None


def test_the_commit_of_a_repository_inside_is_not_looked_for(scratch: ScratchRepo, repo: Repository) -> None:
    base, inner = Oid(scratch.head()), scratch.path / "inner"
    scratch.git("clone", "-q", ".", "inner")
    scratch.git("-C", str(inner), "commit", "-q", "--allow-empty", "-m", "inner")
    scratch.path.joinpath("file").write_text("beside it\n")
    found = taken(repo, base, KeepingWriter(repo, durable=True))
    assert found.embedded == ("inner/",)
    assert scratch.git("show", f"{found.result}:file") == "beside it"
