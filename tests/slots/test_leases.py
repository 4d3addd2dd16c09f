from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from stratum_git.agents.identity import ProcessIdentity, own_identity
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.process import processes_started
from stratum_git.git.refs import Applied, LostRace, RefUpdate, read_refs, transact
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName
from stratum_git.slots.lease_words import LONGEST
from stratum_git.slots.leases import (
    PREFIX,
    HeldLease,
    Lease,
    has_ended,
    is_live,
    lease_ref,
    read_leases,
    write_lease,
)

NOW = 1_700_000_000.0
LEASE = Lease("f", "s", "t", 1, "me", own_identity(), "nonce", NOW + 60)
ELSEWHERE = replace(LEASE, identity=replace(own_identity(), host="elsewhere"))


def claim(repo: Repository, writer: ObjectWriter, lease: Lease) -> tuple[Oid, Applied | LostRace]:
    token = write_lease(writer, lease)
    ref = lease_ref(lease.flow, lease.step, lease.task)
    return token, transact(repo, [RefUpdate(ref, token, None)], message="claim")


def test_a_lease_is_read_as_it_was_written(repo: Repository, writer: ObjectWriter) -> None:
    own = replace(LEASE, task=None)
    tokens = [claim(repo, writer, lease)[0] for lease in (LEASE, own)]
    assert read_leases(repo, "f") == {
        RefName("refs/stratum/leases/f/s/t"): HeldLease(tokens[0], LEASE),
        RefName("refs/stratum/leases/f/s/-step"): HeldLease(tokens[1], own),
    }


def test_leases_of_one_flow_or_of_all_cost_two_processes(repo: Repository, writer: ObjectWriter) -> None:
    for flow in ("f", "f2"):
        for task in "abcdef":
            claim(repo, writer, replace(LEASE, flow=flow, task=task))
    before = processes_started()
    assert [ref.removeprefix(PREFIX) for ref in read_leases(repo, "f")] == [f"f/s/{t}" for t in "abcdef"]
    assert processes_started() - before == 2
    assert len(read_leases(repo)) == 12


def test_of_claimants_one_wins(repo: Repository, writer: ObjectWriter) -> None:
    start = Barrier(4)

    def race(name: str) -> Applied | LostRace:
        start.wait()
        return claim(repo, writer, replace(LEASE, holder=name, nonce=name))[1]

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(race, "abcd"))
    winners = [name for name, answer in zip("abcd", told, strict=True) if answer == Applied()]
    (held,) = read_leases(repo, "f").values()
    assert held.lease is not None
    assert winners == [held.lease.holder]
    assert sum(isinstance(answer, LostRace) for answer in told) == 3


def test_a_lease_that_was_taken_over_cannot_be_ended_with_the_old_token(
    repo: Repository, writer: ObjectWriter
) -> None:
    old, _ = claim(repo, writer, LEASE)
    new = write_lease(writer, replace(LEASE, nonce="another"))
    ref = lease_ref("f", "s", "t")
    assert old != new
    assert transact(repo, [RefUpdate(ref, new, old)], message="take over") == Applied()
    assert isinstance(transact(repo, [RefUpdate(ref, None, old)], message="end"), LostRace)
    assert transact(repo, [RefUpdate(ref, None, new)], message="end") == Applied()
    assert read_refs(repo, PREFIX) == {}


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"{}", b'{"identity": 3}', b"[" * 100_000, b'{"flow": "f", "identity": {}}']
)
def test_a_lease_that_cannot_be_read_is_there_without_words(
    repo: Repository, writer: ObjectWriter, data: bytes
) -> None:
    token = writer.blob(data)
    ref = lease_ref("f", "s", "t")
    transact(repo, [RefUpdate(ref, token, None)], message="claim")
    assert read_leases(repo) == {ref: HeldLease(token, None)}


def test_what_a_later_version_adds_to_a_lease_is_ignored(repo: Repository, writer: ObjectWriter) -> None:
    write_lease(writer, LEASE)
    words = repo.git.run("cat-file", "blob", write_lease(writer, LEASE)).stdout
    token = writer.blob(words.replace(b"{", b'{"colour": "blue",', 1))
    transact(repo, [RefUpdate(lease_ref("f", "s", "t"), token, None)], message="claim")
    assert [held.lease for held in read_leases(repo).values()] == [LEASE]


def test_on_this_host_a_lease_lives_as_long_as_its_process() -> None:
    assert is_live(LEASE, now=NOW + 1000, uptime=0.0)
    successor = replace(LEASE, identity=replace(own_identity(), start_time=1))
    assert not is_live(successor, now=NOW, uptime=0.0)
    rebooted = replace(LEASE, identity=replace(own_identity(), boot_id="before"))
    assert not is_live(rebooted, now=NOW, uptime=0.0)


def test_the_process_is_asked_after_by_its_whole_identity() -> None:
    asked: list[ProcessIdentity] = []

    def nobody_lives(who: ProcessIdentity) -> bool:
        asked.append(who)
        return False

    assert not is_live(LEASE, now=NOW, uptime=0.0, is_alive=nobody_lives)
    assert asked == [own_identity()]


def test_of_another_host_a_lease_lives_until_it_expires() -> None:
    assert is_live(ELSEWHERE, now=NOW + 59, uptime=0.0, is_alive=lambda _: False)
    assert not is_live(ELSEWHERE, now=NOW + 60, uptime=0.0, is_alive=lambda _: True)


OPEN = replace(LEASE, kind="open", ends=5_000.0)


def test_setting_the_clock_ends_no_lease_and_makes_none_last() -> None:
    for now in (NOW - 1e6, NOW, NOW + 1e6):
        assert not has_ended(OPEN, now=now, uptime=4_999.0)
        assert has_ended(OPEN, now=now, uptime=5_000.0)


@pytest.mark.parametrize(
    "lease",
    [
        replace(OPEN, identity=ELSEWHERE.identity),
        replace(OPEN, identity=replace(own_identity(), boot_id="before")),
        replace(OPEN, ends=None),
    ],
)
def test_of_another_boot_or_host_the_wall_clock_tells_and_nothing_lasts_for_ever(lease: Lease) -> None:
    assert not has_ended(lease, now=NOW + 59, uptime=9_999.0)
    assert has_ended(lease, now=NOW + 60, uptime=0.0)
    assert not has_ended(lease, now=NOW + 60 - LONGEST, uptime=0.0)
    assert has_ended(lease, now=NOW + 59 - LONGEST, uptime=0.0)


def test_an_open_lease_is_alive_until_its_end(repo: Repository, writer: ObjectWriter) -> None:
    claim(repo, writer, OPEN)
    assert [held.lease for held in read_leases(repo).values()] == [OPEN]
    assert is_live(OPEN, now=NOW, uptime=4_999.0, is_alive=lambda _: False)
    assert not is_live(OPEN, now=NOW, uptime=5_000.0, is_alive=lambda _: True)
