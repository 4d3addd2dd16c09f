"""A cache of verdicts: shared, bounded, and never in anybody's way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from stratum_git.git.objects import ObjectWriter
from stratum_git.git.refs import RefUpdate, tip_nowait, transact
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid
from stratum_git.store.verdicts import (
    FILES,
    REF,
    ROWS,
    TestId,
    Verdict,
    digest_of,
    id_of,
    known_verdicts,
    remember,
)

TREE = Oid("a" * 40)


def verdict(number: int, **more: object) -> Verdict:
    return Verdict(TestId(f"{number:040x}"), True, 1000.0 + number, 2.5, **more)  # type: ignore[arg-type]


def test_what_was_said_is_known(repo: Repository, writer: ObjectWriter) -> None:
    assert known_verdicts(repo) == {}
    said = [
        verdict(1),
        verdict(2, flaky=True),
        Verdict(TestId("f" * 40), False, 3.0, 0.125, findings=("`make` exited with 1", "ünï\\n|")),
    ]
    for one in said:
        assert remember(repo, writer, one)
    assert known_verdicts(repo) == {one.test: one for one in said}


def test_the_last_word_counts(repo: Repository, writer: ObjectWriter) -> None:
    remember(repo, writer, verdict(1))
    remember(repo, writer, verdict(1, flaky=True))
    assert known_verdicts(repo) == {verdict(1).test: verdict(1, flaky=True)}


def test_several_at_once_lose_nothing(repo: Repository, writer: ObjectWriter) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda n: remember(repo, writer, verdict(n)), range(12)))
    assert len(known_verdicts(repo)) == 12


def test_the_oldest_go_when_there_are_too_many(repo: Repository, writer: ObjectWriter) -> None:
    row = b'{"test":"%s","passed":true,"at":1,"seconds":1,"flaky":false,"findings":[]}\n'
    files = {
        f"{n:010d}": ("100644", writer.blob(row % f"{n:040x}".encode() * ROWS)) for n in range(1, FILES + 1)
    }
    transact(repo, [RefUpdate(REF, writer.tree(files), None)], message="test")
    assert len(known_verdicts(repo)) == FILES

    remember(repo, writer, verdict(10**6))

    known = known_verdicts(repo)
    assert len(known) == FILES
    assert TestId(f"{1:040x}") not in known
    assert verdict(10**6).test in known


@pytest.mark.parametrize("damage", [b"", b"no json\n", b'{"test": 1}\n[]\n', b"\xff\xfe\n", b"[" * 100_000])
def test_what_cannot_be_read_is_not_known(repo: Repository, writer: ObjectWriter, damage: bytes) -> None:
    tree = writer.tree({"0000000000": ("100644", writer.blob(damage)), "x": ("100644", writer.blob(b"x"))})
    transact(repo, [RefUpdate(REF, tree, None)], message="test")
    assert known_verdicts(repo) == {}
    assert remember(repo, writer, verdict(1))
    assert list(known_verdicts(repo)) == [verdict(1).test]


@pytest.mark.parametrize("what", ["ref", "tree", "file"])
def test_what_a_power_cut_tore_is_in_nobodys_way(repo: Repository, writer: ObjectWriter, what: str) -> None:
    remember(repo, writer, verdict(1))
    place = repo.common_dir / REF
    tree = place.read_text().strip()
    if what == "ref":
        place.write_bytes(b"")
    else:
        torn = tree if what == "tree" else repo.git.run("ls-tree", tree).stdout.split()[2].decode()
        path = repo.common_dir / "objects" / torn[:2] / torn[2:]
        path.chmod(0o644)
        path.write_bytes(b"")
    assert known_verdicts(repo) == {}
    assert remember(repo, writer, verdict(2)) is (what != "ref")
    assert list(known_verdicts(repo)) == ([] if what == "ref" else [verdict(2).test])


def test_the_cache_is_on_one_ref_that_git_takes_for_sound(repo: Repository, writer: ObjectWriter) -> None:
    remember(repo, writer, verdict(1))
    assert tip_nowait(repo, REF) is not None
    assert repo.git.run("fsck", "--strict").stdout == b""


def test_a_test_is_another_with_another_tree_command_setup_or_place() -> None:
    here = digest_of({"PATH": "/bin"}, "Linux x")
    one = id_of(TREE, (), (("sh", "-c", "make"),), here)
    assert one == id_of(TREE, (), (("sh", "-c", "make"),), digest_of({"PATH": "/bin"}, "Linux x"))
    others = {
        id_of(Oid("b" * 40), (), (("sh", "-c", "make"),), here),
        id_of(TREE, (), (("sh", "-c make"),), here),
        id_of(TREE, (("sh", "-c", "make"),), (), here),
        id_of(TREE, (), (("sh", "-c", "make"),), digest_of({"PATH": "/usr/bin"}, "Linux x")),
        id_of(TREE, (), (("sh", "-c", "make"),), digest_of({"PATH": "/bin"}, "Linux y")),
    }
    assert len(others | {one}) == 6


def test_what_is_another_in_every_terminal_changes_no_verdict() -> None:
    noise = {"TMPDIR": "/tmp/x", "STRATUM_FLOW": "f", "SSH_TTY": "/dev/pts/1", "PWD": "/", "TERM": "dumb"}
    assert digest_of({"A": "1", **noise}, "m") == digest_of({"A": "1"}, "m")
    assert digest_of({"A": "\udcff"}, "m") != digest_of({"A": "1"}, "m")
