from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import GitFailed
from stratum_git.git.ref_moving import move
from stratum_git.git.refs import Applied, LostRace, RefSession, RefUpdate, read_ref
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

FLOW = RefName("refs/stratum/flows/f")
ME = Signature("Me", "me@x", 1.0)


@pytest.fixture
def oids(scratch: ScratchRepo) -> tuple[Oid, Oid]:
    """Two commits; the flow is at the first one."""
    old, new = Oid(scratch.head()), Oid(scratch.commit("second", {"a.txt": "2\n"}))
    scratch.git("update-ref", FLOW, old)
    return old, new


def nothing(value: int) -> None:
    """Is nothing to be done before."""
    del value


def files(repo: Repository) -> dict[str, tuple[int, bytes]]:
    """Returns the files of refs, and of their logs."""
    found = [
        path for top in ("refs", "logs") for path in (repo.common_dir / top).rglob("*") if path.is_file()
    ]
    return {str(path): (path.lstat().st_mode, path.read_bytes()) for path in found}


def test_a_move_leaves_what_one_of_git_s_leaves(
    repo: Repository, scratch: ScratchRepo, oids: tuple[Oid, Oid]
) -> None:
    old, new = oids
    scratch.git("update-ref", FLOW, new, old)
    by_git = files(repo)
    scratch.git("update-ref", FLOW, old, new)
    assert move(repo.common_dir, FLOW, new, old, nothing)
    assert files(repo) == by_git


def packed(scratch: ScratchRepo, path: Path) -> None:
    del path
    scratch.git("pack-refs", "--all")


def symbolic(scratch: ScratchRepo, path: Path) -> None:
    del path
    scratch.git("update-ref", "refs/stratum/other", scratch.git("rev-parse", "HEAD~1").strip())
    scratch.git("symbolic-ref", FLOW, "refs/stratum/other")


def linked(scratch: ScratchRepo, path: Path) -> None:
    del scratch
    path.rename(path.with_name("g"))
    path.symlink_to("g")


def logged(scratch: ScratchRepo, path: Path) -> None:
    del path
    scratch.git("update-ref", "-d", FLOW)
    scratch.git("update-ref", "--create-reflog", FLOW, "HEAD~1")


def locked(scratch: ScratchRepo, path: Path) -> None:
    del scratch
    path.with_name("f.lock").touch()


def gone(scratch: ScratchRepo, path: Path) -> None:
    del path
    scratch.git("update-ref", "-d", FLOW)


def torn(scratch: ScratchRepo, path: Path) -> None:
    del scratch
    path.write_bytes(b"")


def ahead(scratch: ScratchRepo, path: Path) -> None:
    del path
    scratch.git("update-ref", FLOW, "HEAD")


def another_form(scratch: ScratchRepo, path: Path) -> None:
    del path
    (scratch.path / ".git/reftable").mkdir()


@pytest.mark.parametrize("state", [packed, symbolic, linked, logged, locked, gone, torn, ahead, another_form])
def test_what_is_no_file_with_that_value_is_left_to_git_as_it_is(
    repo: Repository,
    scratch: ScratchRepo,
    oids: tuple[Oid, Oid],
    state: Callable[[ScratchRepo, Path], None],
) -> None:
    state(scratch, repo.common_dir / FLOW)
    before, done = files(repo), list[int]()
    assert not move(repo.common_dir, FLOW, oids[1], oids[0], done.append)
    assert (files(repo), done) == (before, [])


def test_what_is_to_come_first_comes_before_and_when_it_fails_nothing_moves(
    repo: Repository, oids: tuple[Oid, Oid]
) -> None:
    def fail(value: int) -> None:
        assert os.fstat(value).st_size == len(oids[1]) + 1
        assert (repo.common_dir / f"{FLOW}.lock").read_text() == f"{oids[1]}\n"
        assert read_ref(repo, FLOW) == oids[0]
        raise HostError("the disk is full")

    before = files(repo)
    with pytest.raises(HostError, match="full"):
        move(repo.common_dir, FLOW, oids[1], oids[0], fail)
    assert files(repo) == before


def test_git_is_asked_where_it_is_not_certain_that_the_object_is_there(
    repo: Repository, oids: tuple[Oid, Oid]
) -> None:
    missing = Oid("1" * len(repo.zero))
    with RefSession(repo, "test", durable=True) as session:
        # The first one is git's in any case: it says whether there is to be a reflog.
        with pytest.raises(GitFailed):
            session.transact([RefUpdate(FLOW, missing, oids[0])], alone=nothing)
        session.transact([RefUpdate(FLOW, oids[1], oids[0])], alone=nothing)
        with pytest.raises(GitFailed):
            session.transact([RefUpdate(FLOW, missing, oids[1])])
        assert session.transact([RefUpdate(FLOW, missing, oids[1])], alone=nothing) == Applied()


def test_a_reflog_that_is_wanted_is_written(
    repo: Repository, scratch: ScratchRepo, oids: tuple[Oid, Oid]
) -> None:
    scratch.git("config", "core.logAllRefUpdates", "always")
    with RefSession(repo, "test", durable=True) as session:
        for new, old in (oids[::-1], oids, oids[::-1]):
            assert session.transact([RefUpdate(FLOW, new, old)], alone=nothing) == Applied()
    assert len(scratch.git("reflog", FLOW).splitlines()) == 3


def test_no_move_is_lost_between_those_with_git_and_those_without(
    repo: Repository, writer: ObjectWriter, oids: tuple[Oid, Oid]
) -> None:
    tree = Oid(repo.git.line("rev-parse", f"{oids[0]}^{{tree}}"))

    def count(by_itself: bool) -> int:
        lost = 0
        with RefSession(repo, "test", durable=False) as session:
            for _ in range(25):
                while True:
                    tip = read_ref(repo, FLOW) or Oid("")
                    new = writer.commit(tree, (tip,), f"{by_itself} {lost}", ME, ME)
                    answer = session.transact(
                        [RefUpdate(FLOW, new, tip)], alone=nothing if by_itself else None
                    )
                    if answer == Applied():
                        break
                    assert isinstance(answer, LostRace)
                    lost += 1
        return lost

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, [True, False, True, True]))
    assert repo.git.line("rev-list", "--count", f"{oids[0]}..{FLOW}") == "100"


def test_a_lock_that_the_dead_left_keeps_nobody_waiting(repo: Repository, oids: tuple[Oid, Oid]) -> None:
    lock = repo.common_dir / f"{FLOW}.lock"
    with RefSession(repo, "test", durable=True) as session:
        lock.touch()
        began = time.monotonic()
        assert session.transact([RefUpdate(FLOW, oids[1], oids[0])]) == Applied()
        assert time.monotonic() - began < 2
    assert not lock.exists()


@pytest.mark.parametrize("kind", ["before", "alone"])
def test_git_finds_what_is_made_ready_for_it(repo: Repository, oids: tuple[Oid, Oid], kind: str) -> None:
    done = list[str]()
    with RefSession(repo, "test", durable=True) as session:
        assert session.transact([RefUpdate(FLOW, oids[1], oids[0])]) == Applied()
        ways = {
            "first": lambda: done.append("first"),
            "ready": lambda: done.append("ready"),
            "alone": (lambda _: done.append("alone")) if kind == "alone" else None,
        }
        assert session.transact([RefUpdate(FLOW, *oids)], **ways) == Applied()  # type: ignore[arg-type]
    assert done == (["alone"] if kind == "alone" else ["ready", "first"])
