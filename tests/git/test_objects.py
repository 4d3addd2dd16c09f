from __future__ import annotations

import os
from pathlib import Path

import pytest

from stratum_git.errors import BugError, HostError
from stratum_git.git.commits import commits_of
from stratum_git.git.memory import TURN
from stratum_git.git.objects import ObjectWriter, Signature, loose_path, read_objects, read_tree
from stratum_git.git.process import Git, processes_started
from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

ME = Signature("Me <\n", "me@x", 1234567890.9, "+0200")
TREE = {
    "a-b": "100644",
    "a": "040000",  # sorted as "a/", after "a-b"
    "a0": "100755",
    os.fsdecode(b"\xff\n"): "120000",
}


@pytest.fixture(params=["sha1", "sha256"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    """A repository of either object format."""
    ScratchRepo.make(tmp_path / "either", f"--object-format={request.param}")
    return open_repository(tmp_path / "either")


def loose(repo: Repository, oid: str) -> Path:
    return repo.common_dir / "objects" / oid[:2] / oid[2:]


def test_objects_are_the_ones_git_would_make(either: Repository) -> None:
    writer, git = ObjectWriter(either, durable=True), either.git
    data = bytes(range(256)) * 9
    blob = writer.blob(data)
    assert blob == git.run("hash-object", "--stdin", stdin=data).stdout.decode().strip()
    inner = writer.tree({"x": ("100644", blob)})
    tree = writer.tree({name: (mode, inner if mode == "040000" else blob) for name, mode in TREE.items()})
    listing = git.run("ls-tree", "-z", tree).stdout
    assert git.run("mktree", "-z", stdin=listing).stdout.decode().strip() == tree
    commit = writer.commit(tree, (), "Sübject\udcff\n\nbody\n", ME, ME)
    writer.sync()
    git.run("fsck", "--strict", commit)
    assert git.line("log", "-1", "--format=%an|%ae|%ad|%s", "--date=raw", commit) == (
        "Me|me@x|1234567890 +0200|S\xfcbject?"
    )


def test_nothing_is_started_to_write(repo: Repository, writer: ObjectWriter) -> None:
    before = processes_started()
    tree = writer.tree({"f": ("100644", writer.blob(b"data"))})
    writer.commit(tree, (), "m", ME, ME)
    assert processes_started() == before


def test_an_object_is_written_once_and_read_only(repo: Repository, writer: ObjectWriter) -> None:
    path = loose(repo, writer.blob(b"again"))
    first = path.stat()
    writer.blob(b"again")
    assert path.stat().st_ino == first.st_ino
    assert first.st_mode & 0o777 == 0o444
    assert not list(path.parent.glob("tmp_obj_*"))


@pytest.mark.parametrize("left", [b"", b"\0" * 30, b"x\x01"])
def test_an_object_that_a_power_cut_damaged_is_written_again(
    repo: Repository, writer: ObjectWriter, left: bytes
) -> None:
    oid = writer.blob(b"precious")
    path = loose(repo, oid)
    path.unlink()
    path.write_bytes(left)
    assert writer.blob(b"precious") == oid
    (found,) = read_objects(repo, [oid])
    assert found is not None
    assert found.data == b"precious"


def test_what_could_not_be_flushed_is_flushed_by_the_next_sync(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=True, late=True)
    oid = writer.blob(b"precious")
    folder = loose(repo, oid).parent
    aside = folder.rename(folder.with_name("aside"))
    folder.touch()
    for work in (writer.reveal, writer.sync):
        with pytest.raises(HostError, match="could not be flushed"):
            work()
    folder.unlink()
    aside.rename(folder)
    writer.sync()
    assert read_objects(repo, [oid])[0] is not None


def test_git_writes_where_permissions_are_shared(scratch: ScratchRepo) -> None:
    scratch.git("config", "core.sharedRepository", "group")
    repo = open_repository(scratch.path)
    oid = ObjectWriter(repo, durable=False).blob(b"shared")
    assert loose(repo, oid).stat().st_mode & 0o040
    assert repo.shared_permissions


@pytest.mark.parametrize("name", ["", ".", "..", ".git", "a/b"])
def test_a_tree_takes_no_name_that_git_refuses(writer: ObjectWriter, name: str) -> None:
    with pytest.raises(BugError):
        writer.tree({name: ("100644", writer.blob(b""))})


def test_objects_are_read_in_order_by_one_process(scratch: ScratchRepo, repo: Repository) -> None:
    head = scratch.head()
    before = processes_started()
    asked = [f"{head}:a.txt", "nothing at all", f"{head}:a.txt\nHEAD", head, f"{head}:no such", f"{head}:dir"]
    found = read_objects(repo, asked)
    assert processes_started() == before + 1
    assert [item and item.type for item in found] == ["blob", None, None, "commit", None, "tree"]
    assert found[0] is not None
    assert found[0].data == b"a\n"


def test_a_tree_is_read_with_whatever_names_it_has(scratch: ScratchRepo, repo: Repository) -> None:
    odd = os.fsdecode(b"\xff \xe4\n")
    scratch.write(odd, b"\0\1")
    (scratch.path / "link").symlink_to("a.txt")
    scratch.write("run", "").chmod(0o755)
    scratch.commit("odd")
    found = read_tree(repo, scratch.head())
    assert {path: entry.mode for path, entry in found.items()} == {
        "a.txt": "100644",
        "b.txt": "100644",
        "dir/c.txt": "100644",
        "link": "120000",
        "run": "100755",
        odd: "100644",
    }


def test_a_commit_is_read_as_it_was_written(repo: Repository, writer: ObjectWriter) -> None:
    tree = writer.tree({})
    root = writer.commit(tree, (), "root", ME, ME)
    oid = writer.commit(tree, (root,), "a\n\nb\n", ME, Signature("Other", "o@x", 1.0))
    found = commits_of(repo, (oid, oid))[oid]
    assert (found.tree, found.parents, found.message) == (tree, (root,), "a\n\nb\n")
    assert found.author == Signature("Me", "me@x", 1234567890.0, "+0200")


def test_what_git_wrote_is_flushed_with_the_rest(scratch: ScratchRepo, repo: Repository) -> None:
    base = Oid(scratch.head())
    result = Oid(scratch.commit("more", {"deep/er/x.txt": "x"}))
    writer = ObjectWriter(repo, durable=True)
    before = processes_started()
    writer.owe(result, base)
    writer.owe(Oid(scratch.git("rev-parse", "HEAD^{tree}")), base)
    writer.sync()
    assert processes_started() == before + 1
    writer.sync()
    assert processes_started() == before + 1


def test_a_late_object_has_no_name_before_it_is_on_the_disk(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=True, late=True)
    oids = [writer.blob(b"one"), writer.blob(b"two"), writer.blob(b"one")]
    assert read_objects(repo, oids) == (None, None, None)
    writer.sync()
    assert [item.data for item in read_objects(repo, oids) if item is not None] == [b"one", b"two", b"one"]
    assert not list((repo.common_dir / "objects").glob("*/tmp_obj_*"))
    # Another writer of the same finds it whole, and a damaged one is written again.
    path = repo.common_dir / "objects" / oids[0][:2] / oids[0][2:]
    path.chmod(0o600)
    path.write_bytes(b"")
    again = ObjectWriter(repo, durable=True, late=True)
    again.blob(b"one")
    again.sync()
    assert read_objects(repo, [oids[0]])[0] is not None


@pytest.mark.parametrize("late", [False, True])
def test_what_somebody_deleted_is_written_again(repo: Repository, late: bool) -> None:
    writer = ObjectWriter(repo, durable=True, late=late)
    oid = writer.blob(b"precious")
    Git(repo.root).run("prune", "--expire=now")
    writer.sync()
    Git(repo.root).run("prune", "--expire=now")
    assert writer.heal() == 1
    assert Git(repo.root).run("cat-file", "blob", oid).stdout == b"precious"
    assert writer.heal() == 0


def test_what_git_wrote_is_written_again_once_it_was_owed(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=True)
    oid = Oid(Git(repo.root).run("hash-object", "-w", "--stdin", stdin=b"git\n").stdout.decode().strip())
    writer.owe_objects([oid])
    writer.sync()
    Git(repo.root).run("prune", "--expire=now")
    assert writer.heal() == 1
    assert Git(repo.root).run("cat-file", "blob", oid).stdout == b"git\n"


def test_what_is_in_a_pack_is_not_missing(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=True)
    writer.blob(b"a\n")
    Git(repo.root).run("gc", "-q", "--prune=now")
    assert writer.heal() == 0


def test_glances_see_in_turn_all_that_is_remembered(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=False)
    oids = [writer.blob(b"%d" % number) for number in range(3 * TURN + 1)]
    writer.settle()
    for oid in oids:
        loose_path(repo, oid).unlink()
    healed = [writer.heal(glance=True) for _ in range(4)]
    assert healed == [TURN, TURN, TURN, 1]
    assert all(loose_path(repo, oid).exists() for oid in oids)


def test_a_glance_sees_all_that_no_ref_has(repo: Repository) -> None:
    writer = ObjectWriter(repo, durable=False)
    oids = [writer.blob(b"%d" % number) for number in range(2 * TURN)]
    for oid in oids:
        loose_path(repo, oid).unlink()
    assert writer.heal(glance=True) == len(oids)
