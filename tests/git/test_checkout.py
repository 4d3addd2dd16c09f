"""A user's checkout follows its branch, and keeps every byte of what is uncommitted in it."""

from __future__ import annotations

from threading import Timer

import pytest

from stratum_git.errors import HostError
from stratum_git.git.checkout import Refused, Synced, checkouts_left, checkouts_of, obstacle, sync
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

MAIN = RefName("refs/heads/main")


@pytest.fixture
def moved(scratch: ScratchRepo) -> tuple[Oid, Oid]:
    """A branch about to move under its checkout: a.txt changed, new.txt added, dir/c.txt gone."""
    old = scratch.head()
    scratch.git("checkout", "-q", "--detach")
    (scratch.path / "dir/c.txt").unlink()
    new = scratch.commit("next", {"a.txt": "changed\n", "new.txt": "new\n"})
    scratch.git("checkout", "-q", "main")
    return Oid(old), Oid(new)


def test_a_clean_checkout_follows(repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]) -> None:
    assert checkouts_of(repo, MAIN) == (scratch.path,)
    assert obstacle(repo, scratch.path, *moved) is None

    scratch.git("update-ref", MAIN, moved[1])
    assert sync(scratch.path, *moved) == Synced()
    assert sync(scratch.path, *moved) == Synced()

    assert scratch.git("status", "--porcelain") == ""


def test_unrelated_work_stays_as_it_is(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    scratch.write("b.txt", "mine\n")
    scratch.write("staged.txt", "staged\n")
    scratch.git("add", "staged.txt")
    scratch.write("loose.txt", "loose\n")

    assert obstacle(repo, scratch.path, *moved) is None
    scratch.git("update-ref", MAIN, moved[1])
    assert sync(scratch.path, *moved) == Synced()

    assert scratch.git("status", "--porcelain") == "M b.txt\nA  staged.txt\n?? loose.txt"
    assert (scratch.path / "b.txt").read_text() == "mine\n"
    assert (scratch.path / "a.txt").read_text() == "changed\n"


def test_what_a_move_that_was_cut_off_wrote_stays_where_the_user_is_in_the_way(
    scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    scratch.git("update-ref", MAIN, moved[1])
    scratch.write("a.txt", "changed\n")
    scratch.write("new.txt", "mine\n")

    assert isinstance(sync(scratch.path, *moved), Refused)

    assert (scratch.path / "a.txt").read_text() == "changed\n"
    assert (scratch.path / "new.txt").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["a.txt", "new.txt", "dir/c.txt"])
def test_work_in_the_way_is_named_and_nothing_changes(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid], name: str
) -> None:
    scratch.write(name, "mine\n")
    before = {p: p.read_bytes() for p in scratch.path.rglob("*.txt")}

    refused = obstacle(repo, scratch.path, *moved)

    assert isinstance(refused, Refused)
    assert refused.paths == (name,)
    assert isinstance(sync(scratch.path, *moved), Refused)
    assert {p: p.read_bytes() for p in scratch.path.rglob("*.txt")} == before


def test_an_ignored_file_in_the_way_counts(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    (scratch.path / ".git/info/exclude").write_text("new.txt\n")
    scratch.write("new.txt", "precious\n")

    refused = obstacle(repo, scratch.path, *moved)

    assert isinstance(refused, Refused)
    assert refused.paths == ("new.txt",)


def test_a_merge_under_way_is_left_alone(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    (scratch.path / ".git/MERGE_HEAD").write_text(f"{moved[1]}\n")

    refused = obstacle(repo, scratch.path, *moved)

    assert isinstance(refused, Refused)
    assert "merge is under way" in refused.reason


def test_a_git_of_the_users_that_is_at_work_for_a_moment_is_waited_for(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    lock = scratch.path / ".git/index.lock"

    def soon_gone() -> Timer:
        lock.touch()
        thread = Timer(0.2, lock.unlink)
        thread.start()
        return thread

    busy = soon_gone()
    assert obstacle(repo, scratch.path, *moved) is None
    busy.join()
    scratch.git("update-ref", MAIN, moved[1])
    busy = soon_gone()
    assert sync(scratch.path, *moved) == Synced()
    busy.join()
    assert scratch.git("status", "--porcelain") == ""


def test_a_lock_that_nobody_lets_go_of_is_named(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    lock = scratch.path / ".git/index.lock"
    lock.touch()
    refused = obstacle(repo, scratch.path, *moved)
    assert isinstance(refused, Refused)
    assert str(lock) in refused.reason
    # The target has moved: that its checkout follows is tried again, and not given up.
    with pytest.raises(HostError, match=r"index\.lock"):
        sync(scratch.path, *moved)


def test_whoever_switches_away_in_the_moment_between_gets_the_files_too(
    repo: Repository, scratch: ScratchRepo, moved: tuple[Oid, Oid]
) -> None:
    scratch.git("update-ref", MAIN, moved[1])
    scratch.git("checkout", "-q", "-B", "elsewhere")
    assert scratch.git("status", "--porcelain") != ""
    assert checkouts_of(repo, MAIN) == ()
    (place,) = checkouts_left(repo, MAIN, *moved)
    assert sync(place, *moved) == Synced()
    assert scratch.git("status", "--porcelain") == ""
