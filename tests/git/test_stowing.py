"""What runs make in files of its own goes into packs: nothing is lost, and nothing else is touched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stratum_git.errors import StratumError
from stratum_git.git import stowing
from stratum_git.git.objects import ObjectWriter, Signature, read_objects
from stratum_git.git.pack_writer import MARK
from stratum_git.git.refs import RefUpdate, transact
from stratum_git.git.repository import Repository
from stratum_git.git.stowing import FEW, stow, stow_soon
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

ME = Signature("Me", "me@x", 1234567890.0)


def made(writer: ObjectWriter, many: int) -> list[Oid]:
    return [writer.blob(b"%d" % number * 50) for number in range(many)]


def loose(repo: Repository, oid: Oid) -> Path:
    return repo.common_dir / "objects" / oid[:2] / oid[2:]


def test_what_was_made_is_put_away_and_still_there(scratch: ScratchRepo, repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=True)
    oids, users = made(writer, FEW), scratch.head()
    tree = writer.tree({f"f{n}": ("100644", oid) for n, oid in enumerate(oids)})
    tip = writer.commit(tree, (Oid(users),), "ours\n", ME, ME)
    transact(repo, [RefUpdate(RefName("refs/stratum/x"), tip, None)], message="test")
    stow_soon(repo, writer.memory, at_last=True)
    assert not any(loose(repo, oid).exists() for oid in (*oids, tree, tip))
    assert loose(repo, Oid(users)).exists()
    assert None not in read_objects(repo, [*oids, tree, tip])
    assert len(list((repo.common_dir / "objects/pack").glob(f"pack-{MARK}2*.keep"))) == 1
    assert scratch.git("fsck", "--strict", "--no-dangling") == ""
    # Nothing of it is looked for again.
    assert (writer.memory.loose, writer.heal()) == (0, 0)


def test_a_few_are_not_worth_it(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=False)
    oids = made(writer, FEW - 1)
    stow_soon(repo, writer.memory, at_last=True)
    assert all(loose(repo, oid).exists() for oid in oids)


def test_what_nobody_needs_for_long_is_not_kept(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=False)
    tree = writer.tree({})
    passing = [writer.commit(tree, (), f"{n}\n", ME, ME, passing=True) for n in range(2 * FEW)]
    stow_soon(repo, writer.memory, at_last=True)
    assert all(loose(repo, oid).exists() for oid in passing)


@pytest.mark.parametrize("spoilt", [b"", b"nonsense"])
def test_what_cannot_be_packed_stays_as_it_is(repo: Repository, spoilt: bytes) -> None:
    oids = made(ObjectWriter(repo, durable=False), 5)
    damaged = loose(repo, oids[0])
    damaged.chmod(0o600)
    damaged.write_bytes(spoilt)
    with pytest.raises(StratumError):
        stow(repo, [loose(repo, oid) for oid in oids])
    assert all(loose(repo, oid).exists() for oid in oids)
    assert not list((repo.common_dir / "objects/pack").glob(f"pack-{MARK}*"))


def test_what_somebody_s_git_packed_first_is_no_trouble(scratch: ScratchRepo, repo: Repository) -> None:
    oids = made(ObjectWriter(repo, durable=False), 5)
    loose(repo, oids[0]).unlink()
    assert len(stow(repo, [loose(repo, oid) for oid in oids])) == 4
    assert stow(repo, [loose(repo, oid) for oid in oids]) == []


def test_large_runs_make_packs_of_higher_levels(repo: Repository) -> None:
    oids = made(ObjectWriter(repo, durable=False), 301)
    assert len(stow(repo, [loose(repo, oid) for oid in oids])) == 301
    assert stowing.LEVELS[1][1] == 3
    assert len(list((repo.common_dir / "objects/pack").glob(f"pack-{MARK}3*.pack"))) == 1


def test_a_pack_that_git_could_not_finish_is_not_left_behind(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=False)
    oids = [writer.blob(b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(5000)))]
    damaged = loose(repo, oids[0])
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:100_000])
    with pytest.raises(StratumError):
        stow(repo, [loose(repo, oid) for oid in oids])
    assert damaged.exists()
    assert not list((repo.common_dir / "objects").rglob("tmp_*"))
    assert not list((repo.common_dir / "stratum").glob("packing-*"))
