from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.git.objects import ObjectWriter, Signature, read_objects
from stratum_git.git.process import GitFailed, processes_started
from stratum_git.git.refs import (
    Applied,
    LostRace,
    RefSession,
    RefUpdate,
    read_ref,
    read_refs,
    tip_nowait,
    transact,
)
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

ONE, TWO, FLOW = RefName("refs/stratum/one"), RefName("refs/stratum/two"), RefName("refs/stratum/flows/f")
ME = Signature("Me", "me@x", 1.0)


@pytest.fixture
def oids(scratch: ScratchRepo) -> tuple[Oid, Oid]:
    """Two commits."""
    return Oid(scratch.head()), Oid(scratch.commit("second", {"a.txt": "2\n"}))


def move(repo: Repository, *updates: RefUpdate, durable: bool = False) -> Applied | LostRace:
    return transact(repo, updates, message="test", durable=durable)


@pytest.mark.parametrize("durable", [False, True])
def test_refs_are_made_moved_and_deleted_together(
    repo: Repository, oids: tuple[Oid, Oid], durable: bool
) -> None:
    old, new = oids
    assert move(repo, RefUpdate(ONE, old, None), RefUpdate(TWO, old, None), durable=durable) == Applied()
    assert read_refs(repo, "refs/stratum") == {ONE: old, TWO: old}
    assert move(repo, RefUpdate(ONE, new, old), RefUpdate(TWO, None, old), durable=durable) == Applied()
    assert read_refs(repo, "refs/stratum/") == {ONE: new}


def test_a_durable_transaction_writes_values_before_names(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    # Deleted from packed-refs too, which is another file to flush.
    move(repo, RefUpdate(ONE, oids[0], None))
    repo.git.run("pack-refs", "--all")
    assert move(repo, RefUpdate(ONE, None, oids[0]), durable=True) == Applied()
    assert read_ref(repo, ONE) is None


def test_what_is_to_come_first_comes_before_any_ref_moves(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    seen: list[Oid | None] = []
    with RefSession(repo, "test", durable=True) as session:
        answer = session.transact([RefUpdate(ONE, oids[0], None)], lambda: seen.append(read_ref(repo, ONE)))
    assert (answer, seen, read_ref(repo, ONE)) == (Applied(), [None], oids[0])


def test_nothing_moves_when_what_is_to_come_first_fails(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    def fail() -> None:
        raise HostError("the disk is full")

    update = RefUpdate(ONE, oids[0], None)
    with RefSession(repo, "test", durable=True) as session:
        with pytest.raises(HostError, match="full"):
            session.transact([update], fail)
        assert read_ref(repo, ONE) is None
        # Git's locks are gone with it.
        assert session.transact([update]) == Applied()


@pytest.mark.parametrize(
    ("ref", "new", "old"),
    [
        (ONE, 1, 1),  # is elsewhere
        (ONE, 1, None),  # exists already
        (TWO, 1, 0),  # does not exist
        (TWO, None, 0),
        (ONE, None, 1),
        (ONE, None, None),  # is not to exist
    ],
)
def test_whoever_expects_wrongly_loses_and_nothing_moves(
    repo: Repository, oids: tuple[Oid, Oid], ref: RefName, new: int | None, old: int | None
) -> None:
    move(repo, RefUpdate(ONE, oids[0], None))
    wrong = RefUpdate(ref, None if new is None else oids[new], None if old is None else oids[old])
    answer = move(repo, RefUpdate(FLOW, oids[1], None), wrong)
    assert isinstance(answer, LostRace)
    assert answer.ref == ref
    assert read_refs(repo, "refs/stratum") == {ONE: oids[0]}


def test_a_ref_that_is_not_to_exist_may_be_required_not_to(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    assert move(repo, RefUpdate(ONE, oids[0], None), RefUpdate(TWO, None, None)) == Applied()


def test_no_move_is_lost_between_eight_threads(repo: Repository, writer: ObjectWriter) -> None:
    def count(who: int) -> int:
        lost, done = 0, 0
        while done < 10:
            old = tip_nowait(repo, FLOW)
            found = read_objects(repo, [old])[0] if old else None
            number = int(found.data.rpartition(b"\n")[2]) if found else 0
            tree = writer.tree({str(who): ("100644", writer.blob(b""))})
            parents = (old,) if old else ()
            new = writer.commit(tree, parents, str(number + 1), ME, ME)
            won = isinstance(move(repo, RefUpdate(FLOW, new, old)), Applied)
            done, lost = done + won, lost + (not won)
        return lost

    with ThreadPoolExecutor(8) as pool:
        losses = list(pool.map(count, range(8)))
    tip = read_ref(repo, FLOW)
    assert tip is not None
    assert repo.git.line("rev-list", "--count", tip) == "80"
    assert repo.git.line("log", "-1", "--format=%s", tip) == "80"
    assert sum(losses) > 0  # else nobody raced, and nothing was tested


def test_a_lock_that_goes_away_is_waited_for(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    lock = repo.common_dir / "refs/stratum/one.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with ThreadPoolExecutor(1) as pool:
        before = processes_started()
        moving = pool.submit(move, repo, RefUpdate(ONE, oids[0], None))
        while processes_started() == before:
            pass
        lock.unlink()
        assert moving.result(5) == Applied()


def test_a_lock_of_the_user_s_that_stays_is_named(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    lock = repo.common_dir / "refs/heads/other.lock"
    lock.touch()
    with pytest.raises(HostError, match=f"another git holds {lock}"):
        move(repo, RefUpdate(RefName("refs/heads/other"), oids[0], None))
    assert lock.exists()


def test_a_ref_in_the_way_of_a_folder_is_named(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    move(repo, RefUpdate(ONE, oids[0], None))
    with pytest.raises(HostError, match="refs/stratum/one is in the way of refs/stratum/one/more"):
        move(repo, RefUpdate(RefName("refs/stratum/one/more"), oids[0], None))


def test_a_damaged_ref_is_no_lost_race(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    path: Path = repo.common_dir / ONE
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(HostError, match="refs/stratum/one is damaged"):
        move(repo, RefUpdate(ONE, oids[1], oids[0]))


def test_an_object_that_is_not_there_cannot_be_pointed_at(repo: Repository) -> None:
    with pytest.raises(GitFailed):
        move(repo, RefUpdate(ONE, Oid("1" * 40), None))


@pytest.mark.parametrize("packed", [False, True])
def test_a_tip_is_read_loose_or_packed(repo: Repository, oids: tuple[Oid, Oid], packed: bool) -> None:
    move(repo, RefUpdate(FLOW, oids[0], None))
    if packed:
        repo.git.run("pack-refs", "--all")
    before = processes_started()
    assert tip_nowait(repo, FLOW) == oids[0]
    assert processes_started() == before
    assert tip_nowait(repo, ONE) is None


def test_a_ref_is_only_found_by_its_full_name(repo: Repository, scratch: ScratchRepo) -> None:
    scratch.git("update-ref", "refs/heads/refs/stratum/one", "HEAD")
    assert read_ref(repo, ONE) is None
    odd = RefName("refs/stratum/a\u2028b")
    scratch.git("update-ref", odd, "HEAD")
    assert read_ref(repo, odd) == scratch.head()
    assert read_refs(repo, "refs/stratum") == {odd: scratch.head()}
