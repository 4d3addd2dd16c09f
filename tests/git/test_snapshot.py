from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import processes_started
from stratum_git.git.registration import add_worktree
from stratum_git.git.repository import Repository
from stratum_git.git.snapshot import NAMED, Captured, capture
from stratum_git.git.worktree import check_out, git_dir_of
from stratum_git.model.ids import Oid, RefName
from tests.support.repos import ScratchRepo

ME = Signature("Me", "me@x", 1234567890.0)


@pytest.fixture
def base(scratch: ScratchRepo) -> Oid:
    """A commit that ignores some files."""
    return Oid(scratch.commit("ignore", {".gitignore": "*.o\n"}))


@pytest.fixture
def slot(repo: Repository, tmp_path: Path, base: Oid) -> ScratchRepo:
    """A worktree on a branch of its own."""
    add_worktree(repo, tmp_path / "slot", base=base, reason="a test")
    check_out(tmp_path / "slot", base, RefName("refs/heads/stratum/f/t"))
    return ScratchRepo(tmp_path / "slot")


@pytest.fixture
def take(slot: ScratchRepo, base: Oid, writer: ObjectWriter) -> Callable[[], Captured]:
    """Captures the slot."""
    return lambda: capture(slot.path, base=base, writer=writer, message="left\n", author=ME, committer=ME)


def added(slot: ScratchRepo) -> str:
    """Returns the tree that git itself would make of the slot, without touching its index."""
    index = git_dir_of(slot.path) / "index-of-the-test"
    here = {"GIT_INDEX_FILE": str(index)}
    index.write_bytes((git_dir_of(slot.path) / "index").read_bytes())
    old = {name: os.environ.get(name) for name in here}
    os.environ.update(here)
    try:
        slot.git("add", "-A")
        return slot.git("write-tree")
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def test_a_slot_where_nothing_happened_costs_one_process(base: Oid, take: Callable[[], Captured]) -> None:
    before = processes_started()
    assert take() == Captured(base, base, dirty=False)
    assert processes_started() == before + 1


def test_the_agents_own_commits_stay_as_they_are(slot: ScratchRepo, take: Callable[[], Captured]) -> None:
    slot.commit("one", {"n": "1"})
    head = slot.commit("two", {"n": "2"})
    assert take() == Captured(Oid(head), Oid(head), dirty=False, paths=("n",))


def test_everything_uncommitted_is_captured(slot: ScratchRepo, take: Callable[[], Captured]) -> None:
    head = slot.commit("mine", {"committed.txt": "c"})
    slot.write("a.txt", "changed\n")
    slot.write("staged.txt", "staged")
    slot.git("add", "staged.txt")
    slot.write("staged.txt", "and changed")
    slot.write("new/deep.bin", bytes(range(256)))
    slot.write("ignored.o", "no")
    (slot.path / "b.txt").unlink()
    (slot.path / "link").symlink_to("/nowhere")
    slot.write("run", "#!/bin/sh\n").chmod(0o755)
    odd = os.fsdecode(b"\xff \xe4\n")
    slot.write(odd, b"\xff")
    wanted = added(slot)
    before = processes_started()
    taken = take()
    # Two of them for what was staged and then overwritten.
    assert processes_started() == before + 6
    names = ("a.txt", "b.txt", "committed.txt", "link", "new/deep.bin", "run", "staged.txt", odd)
    assert taken == Captured(
        Oid(head), taken.result, dirty=True, paths=names, ignored=("ignored.o",), rest=taken.rest
    )
    assert slot.git("show", f"{taken.rest}:staged/staged.txt") == "staged"
    assert slot.git("rev-parse", f"{taken.rest}^@") == taken.result
    assert slot.git("rev-parse", f"{taken.result}^{{tree}}") == wanted
    assert slot.git("rev-parse", f"{taken.result}^@") == head
    assert slot.git("log", "-1", "--format=%an <%ae> %at %s", taken.result) == "Me <me@x> 1234567890 left"
    assert slot.git("show", f"{taken.result}:staged.txt") == "and changed"
    assert slot.git("ls-tree", "-r", "-z", "--name-only", taken.result).rstrip("\0").split("\0") == [
        ".gitignore", "a.txt", "committed.txt", "dir/c.txt", "link", "new/deep.bin", "run", "staged.txt", odd,
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_what_was_hidden_from_git_is_captured(
    slot: ScratchRepo, take: Callable[[], Captured], version: str
) -> None:
    slot.git("update-index", "--index-version", version)
    slot.git("update-index", "--assume-unchanged", "a.txt")
    if version != "2":
        slot.git("update-index", "--skip-worktree", "b.txt")
    slot.write("a.txt", "changed\n")
    slot.write("b.txt", "changed too\n")
    taken = take()
    assert taken.paths == ("a.txt", "b.txt")
    assert slot.show(f"{taken.result}:a.txt") == "changed"
    assert slot.show(f"{taken.result}:b.txt") == "changed too"


def test_what_a_sparse_checkout_leaves_out_is_not_deleted(
    slot: ScratchRepo, take: Callable[[], Captured]
) -> None:
    slot.git("sparse-checkout", "set", "--no-cone", "/a.txt", "/new.txt")
    assert not (slot.path / "b.txt").exists()
    slot.write("new.txt", "new\n")
    assert take().paths == ("new.txt",)


def test_a_long_name_and_a_hidden_file_behind_it(slot: ScratchRepo, take: Callable[[], Captured]) -> None:
    deep = "/".join(["d" * 200] * 25)
    slot.git("config", "core.longpaths", "true")
    blob = slot.git("hash-object", "-w", "a.txt")
    slot.git("update-index", "--add", "--cacheinfo", f"100644,{blob},aa/{deep}")
    slot.git("update-index", "--assume-unchanged", "b.txt")
    slot.write("b.txt", "changed\n")
    assert "b.txt" in take().paths


def test_what_is_staged_alone_is_captured_as_it_is(slot: ScratchRepo, take: Callable[[], Captured]) -> None:
    slot.git("rm", "-q", "a.txt")
    slot.write("staged.txt", "staged\n")
    slot.git("add", "staged.txt")
    slot.git("mv", "b.txt", "*")
    before = processes_started()
    taken = take()
    assert processes_started() == before + 3
    assert taken.paths == ("*", "a.txt", "b.txt", "staged.txt")
    assert slot.show(f"{taken.result}:*") == "b"


def test_more_changes_than_are_named_are_captured(slot: ScratchRepo, take: Callable[[], Captured]) -> None:
    for number in range(NAMED + 1):
        slot.write(f"many{number}", f"{number}\n")
    slot.git("rm", "-q", "a.txt")
    assert len(take().paths) == NAMED + 2


def test_line_ends_and_filters_are_as_git_would_have_them(
    slot: ScratchRepo, take: Callable[[], Captured]
) -> None:
    slot.git("config", "filter.up.clean", "tr a-z A-Z")
    slot.write(".gitattributes", "*.crlf text eol=crlf\n*.up filter=up\n*.id ident\n")
    slot.write("x.crlf", "one\r\ntwo\r\n")
    slot.write("x.up", "quiet\n")
    slot.write("x.id", "$Id: 1234$\n")
    slot.write("plain", "one\r\n")
    wanted = added(slot)
    taken = take()
    assert slot.git("rev-parse", f"{taken.result}^{{tree}}") == wanted
    assert slot.git("show", f"{taken.result}:x.up") == "QUIET"
    assert slot.git("cat-file", "-s", f"{taken.result}:x.crlf") == "8"
    assert slot.git("cat-file", "-s", f"{taken.result}:plain") == "5"


@pytest.mark.parametrize(
    ("word", "command"), [("merge", "merge"), ("rebase", "rebase"), ("cherry-pick", "cherry-pick")]
)
def test_a_half_done_merge_is_captured_with_its_markers(
    slot: ScratchRepo, take: Callable[[], Captured], word: str, command: str
) -> None:
    slot.commit("ours", {"a.txt": "ours\n"})
    slot.git("checkout", "-q", "-b", "theirs", "HEAD~1")
    slot.commit("theirs", {"a.txt": "theirs\n"})
    slot.git(command, "stratum/f/t", check=False)
    taken = take()
    assert (taken.unfinished, taken.dirty, taken.head) == (word, True, slot.head())
    assert "<<<<<<<" in slot.git("show", f"{taken.result}:a.txt")


def test_the_lock_of_a_killed_git_does_not_cost_the_work(
    slot: ScratchRepo, take: Callable[[], Captured]
) -> None:
    slot.write("new.txt", "new\n")
    lock = git_dir_of(slot.path) / "index.lock"
    lock.touch()
    taken = take()
    assert slot.git("show", f"{taken.result}:new.txt") == "new"
    assert sorted(p.name for p in lock.parent.glob("index*")) == ["index", "index.lock"]


def test_repositories_inside_are_reported_and_the_rest_is_captured(
    slot: ScratchRepo, take: Callable[[], Captured]
) -> None:
    ScratchRepo.make(slot.path / "made").commit("inner", {"f": "f"})
    ScratchRepo.make(slot.path / "empty").write("g", "g")
    ScratchRepo.make(slot.path / "deep" / "er").commit("inner", {"f": "f"})
    slot.write("zz.txt", "after them\n")
    taken = take()
    assert set(taken.embedded) == {"made/", "empty/", "deep/"}
    assert slot.git("show", f"{taken.result}:zz.txt") == "after them"


def test_what_a_repository_inside_is_at_is_no_object_to_wait_for(
    repo: Repository, slot: ScratchRepo, base: Oid
) -> None:
    inner = ScratchRepo.make(slot.path / "made").commit("inner", {"f": "f"})
    writer = ObjectWriter(repo, durable=True)
    taken = capture(slot.path, base=base, writer=writer, message="left\n", author=ME, committer=ME)
    writer.sync()
    assert slot.git("rev-parse", f"{taken.result}:made") == inner


def test_changes_inside_of_a_submodule_are_reported(
    slot: ScratchRepo, take: Callable[[], Captured], tmp_path: Path
) -> None:
    ScratchRepo.make(tmp_path / "module").commit("inner", {"f": "f"})
    slot.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "module"), "sub")
    slot.git("commit", "-qm", "with a submodule")
    slot.write("sub/f", "changed")
    assert take().embedded == ("sub",)


def test_a_file_that_git_cannot_record_is_told(slot: ScratchRepo, take: Callable[[], Captured]) -> None:
    # A filter that fails stands for whatever makes git fail on one file: root may read everything.
    slot.git("config", "filter.broken.clean", "false")
    slot.git("config", "filter.broken.required", "true")
    slot.write(".gitattributes", "*.bad filter=broken\n")
    slot.write("x.bad", "x")
    slot.write("y.good", "y\n")
    taken = take()
    assert taken.unsaved == ("x.bad",)
    assert slot.git("show", f"{taken.result}:y.good") == "y"


def test_the_users_settings_change_nothing(
    slot: ScratchRepo, take: Callable[[], Captured], tmp_path: Path
) -> None:
    (tmp_path / "ignore").write_text("*.txt\n")
    for key, value in {
        "commit.gpgsign": "true",
        "gpg.program": "false",
        "color.ui": "always",
        "core.quotepath": "true",
        "core.excludesFile": str(tmp_path / "ignore"),
        "status.showUntrackedFiles": "no",
        "status.short": "true",
        "status.showStash": "true",
        "status.relativePaths": "true",
        "diff.noprefix": "true",
        "diff.renames": "copies",
        "diff.ignoreSubmodules": "all",
        "core.safecrlf": "true",
    }.items():
        slot.git("config", key, value)
    slot.write("n\xe9w.txt", "new\r\n")
    taken = take()
    assert slot.git("ls-tree", "--name-only", "-z", taken.result).split("\0").count("n\xe9w.txt") == 1


def test_autocrlf_is_gits_own_business(slot: ScratchRepo, take: Callable[[], Captured]) -> None:
    slot.git("config", "core.autocrlf", "true")
    slot.write("w.txt", "one\r\n")
    assert slot.git("cat-file", "-s", f"{take().result}:w.txt") == "4"


def test_an_orphan_branch_still_comes_after_the_base(
    slot: ScratchRepo, take: Callable[[], Captured], base: Oid
) -> None:
    slot.git("checkout", "-q", "--orphan", "new")
    taken = take()
    assert (taken.head, slot.git("rev-parse", f"{taken.result}^")) == (base, base)
