"""Small packs of events: as git's own, kept from every git, and joined while others read."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.git.compaction import SETTLED, WIDTH, Listed, compact, let_go
from stratum_git.git.objects import Signature, read_objects
from stratum_git.git.pack_writer import MARK, PackWriter, RunWriter
from stratum_git.git.packs import NotOurPackError, entries_of, packs_in_index
from stratum_git.git.repository import Repository, open_repository
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

ME = Signature("Me", "me@x", 1234567890.0)


@pytest.fixture(params=["sha1", "sha256"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    """A repository of either object format."""
    ScratchRepo.make(tmp_path / "either", f"--object-format={request.param}")
    return open_repository(tmp_path / "either")


def packs(repo: Repository) -> list[Path]:
    return sorted((repo.common_dir / "objects/pack").glob(f"pack-{MARK}*.pack"))


def write(writer: PackWriter, text: str, parent: Oid | None = None) -> Oid:
    tree = writer.tree({"f": ("100644", writer.blob(text.encode()))})
    return writer.commit(tree, () if parent is None else (parent,), f"{text}\n", ME, ME)


def some(repo: Repository, many: int) -> list[Oid]:
    """Makes so many packs of three objects; returns their commits."""
    writer = PackWriter(repo, durable=True)
    made = []
    for number in range(many):
        made.append(write(writer, f"text {number}\n" * 20))
        writer.sync()
    return made


def age(repo: Repository) -> None:
    for path in (repo.common_dir / "objects/pack").iterdir():
        os.utime(path, (0, 0))


def test_a_pack_is_one_that_git_takes(either: Repository) -> None:
    writer = PackWriter(either, durable=True)
    data = random.Random(1).randbytes(100_000)
    blobs = [writer.blob(data[:size]) for size in (0, 1, 15, 16, 2047, 2048, 100_000)]
    tip = write(writer, "text")
    assert packs(either) == []
    writer.sync()
    (path,) = packs(either)
    either.git.run("verify-pack", str(path))
    either.git.run("update-ref", "refs/stratum/x", tip)
    assert either.git.run("fsck", "--strict", "--no-dangling").stdout == b""
    assert [o and len(o.data) for o in read_objects(either, blobs)] == [0, 1, 15, 16, 2047, 2048, 100_000]
    index = path.with_suffix(".idx").read_bytes()
    assert len(dict(entries_of(path.read_bytes(), index, either.object_format))) == len(blobs) + 3


def test_an_object_is_in_a_pack_once(repo: Repository) -> None:
    writer = PackWriter(repo, durable=False)
    assert writer.blob(b"same") == writer.blob(b"same")
    writer.sync()
    writer.sync()
    assert len(packs(repo)) == 1


def test_what_could_not_be_written_is_written_by_the_next_try(repo: Repository) -> None:
    writer = PackWriter(repo, durable=True)
    oid = writer.blob(b"precious")
    folder = repo.common_dir / "objects/pack"
    aside = folder.rename(folder.with_name("aside"))
    folder.touch()
    with pytest.raises(HostError, match="could not be written"):
        writer.reveal()
    folder.unlink()
    aside.rename(folder)
    writer.sync()
    assert read_objects(repo, [oid])[0] is not None


def test_no_git_deletes_what_no_ref_has_yet(scratch: ScratchRepo, repo: Repository) -> None:
    (tip,) = some(repo, 1)
    for words in (("gc", "--prune=now"), ("repack", "-a", "-d", "-f"), ("prune", "--expire=now")):
        scratch.git(*words, "-q") if words[0] != "prune" else scratch.git(*words)
        assert read_objects(repo, [tip])[0] is not None, words
    age(repo)
    # Let go, it is git's; and git takes what no ref has by now.
    assert let_go(repo) == 1
    scratch.git("gc", "-q", "--prune=now")
    assert read_objects(repo, [tip])[0] is None


def test_packs_that_are_young_are_not_let_go(repo: Repository) -> None:
    some(repo, 2)
    assert let_go(repo) == 0


def test_many_packs_become_few_and_nothing_is_lost(either: Repository) -> None:
    made = some(either, WIDTH * WIDTH + 3)
    assert compact(either) == WIDTH * WIDTH + WIDTH
    assert Counter(path.name.removeprefix(f"pack-{MARK}")[0] for path in packs(either)) == {"2": 1, "0": 3}
    assert None not in read_objects(either, made)
    assert len(packs(either)) == len(list((either.common_dir / "objects/pack").glob("*.idx")))
    assert either.git.run("fsck", "--strict", "--no-dangling").stdout == b""


def test_what_an_index_of_packs_speaks_of_stays_until_git_deletes_it(either: Repository) -> None:
    made = some(either, WIDTH)
    either.git.run("update-ref", "refs/stratum/x", made[0])
    either.git.run("multi-pack-index", "write")
    made += some(either, WIDTH)
    assert compact(either) == 2 * WIDTH
    assert either.git.run("fsck", "--strict", "--no-dangling").stdout == b""
    assert len(packs(either)) == WIDTH + 2
    # Nobody keeps these any more, so a git that packs everything deletes them.
    either.git.run("repack", "-a", "-d", "-q")
    assert len(packs(either)) == 2
    assert None not in read_objects(either, made)
    (either.common_dir / "objects/pack/multi-pack-index").write_bytes(b"MIDX\1\1\4")
    assert packs_in_index(either.common_dir / "objects/pack") is None


def test_git_packs_what_is_large(repo: Repository) -> None:
    made = some(repo, WIDTH)
    assert compact(repo, small=0) == WIDTH
    (path,) = packs(repo)
    repo.git.run("verify-pack", str(path))
    assert None not in read_objects(repo, made)
    assert not list((repo.common_dir / "stratum").glob("packing-*"))


def test_of_two_who_join_packs_one_does_it(repo: Repository) -> None:
    made = some(repo, 4 * WIDTH)
    gone: list[int] = []
    threads = [threading.Thread(target=lambda: gone.append(compact(repo))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    compact(repo)
    assert None not in read_objects(repo, made)
    assert len(packs(repo)) == 4


def test_readers_find_everything_while_packs_are_joined(scratch: ScratchRepo, repo: Repository) -> None:
    made = some(repo, 6 * WIDTH)
    stop = threading.Event()
    missing: list[Oid] = []

    def look() -> None:
        while not stop.is_set():
            found = read_objects(repo, made)
            missing.extend(oid for oid, item in zip(made, found, strict=True) if item is None)

    reader = threading.Thread(target=look)
    reader.start()
    compact(repo)
    stop.set()
    reader.join()
    assert missing == []


def test_what_a_kill_left_goes_when_it_is_old(repo: Repository) -> None:
    (tip,) = some(repo, 1)
    folder = repo.common_dir / "objects/pack"
    left = folder / f"pack-{MARK}0{'a' * 35}"
    for ending in (".pack-new", ".pack", ".keep", ".idx-new"):
        left.with_suffix(ending).write_bytes(b"torn")
    compact(repo)
    assert len(list(folder.glob(f"{left.name}.*"))) == 4
    for ending in (".pack-new", ".pack", ".idx-new"):
        os.utime(left.with_suffix(ending), (0, 0))
    compact(repo)
    assert list(folder.glob(f"{left.name}.*")) == []
    assert read_objects(repo, [tip])[0] is not None


def test_a_pack_that_was_half_listed_while_it_was_made_is_not_deleted(repo: Repository) -> None:
    writer = PackWriter(repo, durable=False)
    writer.blob(b"new")
    writer.reveal()
    (path,) = writer.made
    seen = Listed(path, 0, frozenset({"keep"}))
    now = path.with_name(f"{path.name}.pack").stat().st_mtime
    assert not seen.is_left(now + 1)
    for ending in ("idx", "pack"):
        path.with_name(f"{path.name}.{ending}").unlink()
    assert seen.is_left(now + SETTLED)


def test_packs_of_others_are_left_alone(scratch: ScratchRepo, repo: Repository) -> None:
    for number in range(WIDTH + 1):
        scratch.commit(f"c{number}", {"a.txt": f"{number}\n"})
        scratch.git("repack", "-q", "-d")
    before = sorted((repo.common_dir / "objects/pack").iterdir())
    compact(repo)
    assert sorted((repo.common_dir / "objects/pack").iterdir()) == before


@pytest.mark.parametrize("spoil", [lambda d: d[:-1], lambda d: d[:40] + b"\0" + d[41:], lambda _: b""])
def test_a_torn_pack_is_not_copied(repo: Repository, spoil: Callable[[bytes], bytes]) -> None:
    some(repo, WIDTH)
    path = packs(repo)[0]
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(spoil(data))
    with pytest.raises(NotOurPackError):
        compact(repo)
    assert len(packs(repo)) == WIDTH


def test_a_disk_without_second_names_is_served(repo: Repository) -> None:
    source = repo.common_dir / "stratum/keep"
    source.parent.mkdir(exist_ok=True)
    # A folder has no second name on any disk.
    source.mkdir()
    some(repo, 1)
    assert packs(repo)[0].with_suffix(".keep").read_bytes() != b""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_pack_needs_two_flushes_and_one_of_its_folder(repo: Repository, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from stratum_git.git.pack_writer import PackWriter\n"
        "from stratum_git.git.repository import open_repository\n"
        "writer = PackWriter(open_repository(Path(sys.argv[1])), durable=True)\n"
        "writer.blob(b'first'); writer.sync()\n"
        "[writer.blob(b'%d' % n) for n in range(6)]; writer.sync()\n"
    )
    trace = tmp_path / "trace"
    subprocess.run(
        [
            "strace",
            "-f",
            "-o",
            trace,
            "-e",
            "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2",
            sys.executable,
            "-c",
            code,
            repo.root,
        ],
        check=True,
    )
    # The file of which every keep is a further name, and twice a pack, an index, their folder.
    assert trace.read_text().count("sync(") == 1 + 2 * 3
    # Git deletes a pack that had no `.keep` when it began, so that one never is without.
    words = re.findall(r'\.(keep|pack|idx)"(?:, 0)?\) = 0', trace.read_text())
    assert words == ["keep", "pack", "idx"] * 2


def test_who_misses_what_was_put_off_gets_it(repo: Repository) -> None:
    writer = RunWriter(repo, durable=False)
    late = writer.deferring()
    tree = late.tree({"a": ("100644", late.blob(b"late"))})
    assert writer.heal() == 0
    with TreeReader(repo, writer.uncover) as trees:
        assert [*trees.entries(tree)] == ["a"]
    assert writer.uncover() == 0
    assert len(late.made) == 1
