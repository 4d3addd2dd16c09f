"""Refs move together or not at all, and nobody's update is lost."""

from __future__ import annotations

import threading

import pytest

from stratum_git.errors import HostError
from stratum_git.git.objects import ObjectWriter, Signature, read_objects, read_tree
from stratum_git.git.refs import Applied, LostRace, RefUpdate, read_ref, read_refs, tip_nowait, transact
from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

WHO = Signature("Who <x>\n", "who@example.invalid", 1_700_000_000.5, "+0130")
A, B = RefName("refs/stratum/test/a"), RefName("refs/stratum/test/b")


def test_all_move_or_none(repo: Repository, writer: ObjectWriter) -> None:
    one, two = writer.blob(b"1"), writer.blob(b"2")
    assert transact(repo, [RefUpdate(A, one, None)], message="m") == Applied()

    lost = transact(repo, [RefUpdate(B, two, None), RefUpdate(A, two, two)], message="m")

    assert isinstance(lost, LostRace)
    assert lost.ref == A
    assert read_refs(repo, "refs/stratum/test/") == {A: one}


def test_creating_what_exists_and_deleting_what_moved_is_a_lost_race(
    repo: Repository, writer: ObjectWriter
) -> None:
    one, two = writer.blob(b"1"), writer.blob(b"2")
    transact(repo, [RefUpdate(A, one, None)], message="m")

    assert isinstance(transact(repo, [RefUpdate(A, two, None)], message="m"), LostRace)
    assert isinstance(transact(repo, [RefUpdate(A, None, two)], message="m"), LostRace)
    assert isinstance(transact(repo, [RefUpdate(B, two, one)], message="m"), LostRace)
    assert transact(repo, [RefUpdate(A, None, one)], message="m", durable=True) == Applied()
    assert read_ref(repo, A) is None


def test_eight_writers_lose_no_update(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=False)
    start = writer.blob(b"0")
    transact(repo, [RefUpdate(A, start, None)], message="m")

    def add_ten() -> None:
        for _ in range(10):
            while True:
                old = tip_nowait(repo, A)
                assert old is not None
                item = read_objects(repo, [old])[0]
                assert item is not None
                new = writer.blob(str(int(item.data) + 1).encode())
                if isinstance(transact(repo, [RefUpdate(A, new, old)], message="m"), Applied):
                    break

    threads = [threading.Thread(target=add_ten) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    tip = read_ref(repo, A)
    assert tip is not None
    final = read_objects(repo, [tip])[0]
    assert final is not None
    assert final.data == b"80"


def test_a_ref_in_the_way_is_named(repo: Repository, writer: ObjectWriter) -> None:
    blob = writer.blob(b"1")
    transact(repo, [RefUpdate(RefName("refs/stratum/x"), blob, None)], message="m")

    with pytest.raises(HostError, match="refs/stratum/x is in the way of refs/stratum/x/y"):
        transact(repo, [RefUpdate(RefName("refs/stratum/x/y"), blob, None)], message="m")


def test_packed_refs_are_seen(repo: Repository, writer: ObjectWriter, scratch: ScratchRepo) -> None:
    blob = writer.blob(b"1")
    transact(repo, [RefUpdate(A, blob, None)], message="m")
    scratch.git("pack-refs", "--all")

    assert tip_nowait(repo, A) == blob


@pytest.mark.parametrize("options", [(), ("--object-format=sha256",)])
def test_objects_are_what_git_would_write(tmp_path: object, options: tuple[str, ...]) -> None:
    scratch = ScratchRepo.make(tmp_path / "r", *options)  # type: ignore[operator]
    scratch.commit("first", {"a": "a\n", "d/e": "e\n"})
    repo = open_repository(scratch.path)
    writer = ObjectWriter(repo, durable=True)

    blob = writer.blob(b"hello\n")
    tree = writer.tree({"x": ("100644", blob), "a.b": ("100644", blob), "a": ("040000", writer.tree({}))})
    commit = writer.commit(tree, (Oid(scratch.head()),), "subject\n\nbody\n", WHO, WHO)
    writer.sync()

    assert scratch.git("fsck", "--strict", "--no-dangling") == ""
    assert scratch.git("log", "-1", "--format=%an|%ae|%at|%s|%b", commit) == (
        "Who  x|who@example.invalid|1700000000|subject|body"
    )
    assert list(read_tree(repo, commit)) == ["a.b", "x"]


def test_what_is_not_there_is_none(repo: Repository) -> None:
    assert read_objects(repo, ["HEAD:nothing", "HEAD:a.txt", "x\ny"])[::2] == (None, None)
