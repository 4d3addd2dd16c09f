"""Lists of flows: those that are over are remembered, and what is remembered never decides what is true."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack

import pytest

from stratum_git.git.process import processes_started
from stratum_git.git.ref_files import loose_refs, packed_refs
from stratum_git.git.ref_packing import MANY, pack_refs_if_many
from stratum_git.git.refs import read_refs
from stratum_git.git.repository import Repository
from stratum_git.model.ids import RefName
from stratum_git.store.listing import PREFIX, Listing, list_flows, list_open
from tests.bench.state import Flow, finish
from tests.support.repos import ScratchRepo

OLD = 30


@pytest.fixture
def many(repo: Repository) -> Repository:
    """A repository with thirty flows that are over and packed, and one that is not."""
    with ExitStack() as stack:
        finish(repo, OLD, stack)
    return repo


def names(listing: Listing) -> list[str]:
    return [header.flow for header in listing.headers]


def fresh(repo: Repository) -> Listing:
    """Lists with nothing remembered."""
    for name in ("headers", "open"):
        (repo.common_dir / "stratum" / name).unlink(missing_ok=True)
    return list_flows(repo)


def test_what_is_remembered_is_what_is_read(many: Repository) -> None:
    first = fresh(many)
    assert len(first.headers) == OLD + 1
    before = processes_started()
    assert list_flows(many) == first
    # One git reads the flow that is not over; of the others nothing is read.
    assert processes_started() <= before + 2


def test_those_that_are_over_are_not_even_looked_at(many: Repository) -> None:
    fresh(many)
    shutil.rmtree(many.common_dir / "objects")
    (many.common_dir / "stratum/headers").unlink()
    (many.common_dir / "objects").mkdir()
    listing = list_open(many)
    # Only one is asked for, and it is gone with all the others.
    assert (names(listing), len(listing.remarks)) == ([], 1)


def test_a_flow_that_goes_on_is_open_again(many: Repository, scratch: ScratchRepo) -> None:
    assert names(list_open(many)) != []
    fresh(many)
    (live,) = names(list_open(many))
    scratch.git("update-ref", f"{PREFIX}old-{OLD}-3", scratch.git("rev-parse", f"{PREFIX}{live}"))
    assert sorted(names(list_open(many))) == sorted([live, f"old-{OLD}-3"])
    scratch.git("pack-refs", "--all")
    assert sorted(names(list_open(many))) == sorted([live, f"old-{OLD}-3"])


def test_flows_that_are_deleted_are_gone(many: Repository, scratch: ScratchRepo) -> None:
    fresh(many)
    scratch.git("update-ref", "-d", f"{PREFIX}old-{OLD}-3")
    assert f"old-{OLD}-3" not in names(list_flows(many))
    assert len(list_flows(many).headers) == OLD


@pytest.mark.parametrize("torn", [b"", b"\0" * 500, b"1 x {", b"1 2 3\n" * 9, b"[]"])
def test_what_is_torn_is_read_again(many: Repository, torn: bytes) -> None:
    first = fresh(many)
    for name in ("headers", "open"):
        path = many.common_dir / "stratum" / name
        path.write_bytes(path.read_bytes()[:-40] + torn)
    assert list_flows(many) == first
    assert list_flows(many) == first


def test_another_commit_under_a_known_name_is_read(many: Repository, scratch: ScratchRepo) -> None:
    fresh(many)
    tip = scratch.git("rev-parse", f"{PREFIX}old-{OLD}-4")
    scratch.git("update-ref", f"{PREFIX}copy", tip)
    found = {str(header.flow): header for header in list_flows(many).headers}
    assert {**found["copy"].row(), "flow": f"old-{OLD}-4"} == found[f"old-{OLD}-4"].row()


@pytest.mark.parametrize("is_known", [True, False])
def test_the_newest_are_told_without_the_others(many: Repository, is_known: bool) -> None:
    every = fresh(many)
    if not is_known:
        (many.common_dir / "stratum/headers").unlink()
    for last in (1, 4, OLD + 1, 10 * OLD):
        assert list_flows(many, last).headers == every.headers[-last:]
    assert list_flows(many) == every


def test_what_is_asked_for_no_more_is_dropped(many: Repository, scratch: ScratchRepo) -> None:
    fresh(many)
    path = many.common_dir / "stratum/headers"
    lines = path.read_bytes()
    junk = b"".join(b"1 %040x 1.0 {}\n" % n for n in range(400))
    path.write_bytes(lines + junk)
    list_flows(many)
    assert len(path.read_bytes()) < len(junk)


def test_refs_are_read_as_git_reads_them(many: Repository, scratch: ScratchRepo) -> None:
    with ExitStack() as stack:
        Flow(many, "loose", 3, stack)
    loose, (packed, _) = loose_refs(str(many.common_dir), PREFIX), packed_refs(str(many.common_dir), PREFIX)
    assert loose is not None
    assert {**packed, **loose} == read_refs(many, PREFIX)
    assert loose.keys() >= {RefName(f"{PREFIX}loose")}
    scratch.git("symbolic-ref", f"{PREFIX}strange", f"{PREFIX}loose")
    assert loose_refs(str(many.common_dir), PREFIX) is None
    assert "strange" in names(list_flows(many))


def test_a_flow_that_cannot_be_read_is_told_each_time(many: Repository, scratch: ScratchRepo) -> None:
    scratch.git("update-ref", f"{PREFIX}broken", scratch.head())
    scratch.git("pack-refs", "--all")
    for look in (list_flows, list_open, list_open):
        assert any("broken" in remark for remark in look(many).remarks)


def test_many_refs_are_packed_and_stay_what_they_are(repo: Repository, scratch: ScratchRepo) -> None:
    head = scratch.head()
    folder = repo.common_dir / PREFIX
    folder.mkdir(parents=True)
    for number in range(MANY - 1):
        (folder / f"f{number}").write_text(f"{head}\n")
    assert not pack_refs_if_many(repo, PREFIX)
    (folder / "one-more").write_text(f"{head}\n")
    before = read_refs(repo, "refs/")
    assert pack_refs_if_many(repo, PREFIX)
    assert read_refs(repo, "refs/") == before
    assert loose_refs(str(repo.common_dir), PREFIX) == {}


def test_a_lock_of_somebody_s_keeps_refs_as_they_are(repo: Repository, scratch: ScratchRepo) -> None:
    folder = repo.common_dir / PREFIX
    folder.mkdir(parents=True)
    for number in range(MANY):
        (folder / f"f{number}").write_text(f"{scratch.head()}\n")
    (repo.common_dir / "packed-refs.lock").touch()
    assert not pack_refs_if_many(repo, PREFIX)
    assert len(list(folder.iterdir())) == MANY


def test_rows_are_json_of_headers(many: Repository) -> None:
    fresh(many)
    (line, *_) = (many.common_dir / "stratum/headers").read_bytes().splitlines()
    assert json.loads(line.split(b" ", 3)[3])["status"] == "complete"
