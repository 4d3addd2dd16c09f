"""What is read without git is what git reads; where git may see it otherwise, git is asked."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from stratum_git.git.unaided import unaided_at
from stratum_git.git.unaided_head import head_at
from stratum_git.git.unaided_tree import files_of
from stratum_git.git.whereabouts import Undecided, checkout_at
from tests.support.repos import ScratchRepo

LIMIT = 1024 * 1024


def grown(scratch: ScratchRepo) -> dict[str, str]:
    """Makes commits with a file that git stores as deltas of each other; returns it, by commits."""
    dice, lines, found = random.Random(7), [f"{n * 7919}" for n in range(6000)], {}
    for number in range(4):
        lines[dice.randrange(len(lines))] = f"changed {number}"
        lines.insert(dice.randrange(len(lines)), "new " * 60)
        text = "\n".join(lines)
        found[scratch.commit(f"{number}", {"big.txt": text, "empty.txt": "", f"{number}.txt": "x"})] = text
    return found


def check(scratch: ScratchRepo, place: Path, known: dict[str, str]) -> None:
    there = unaided_at(str(place))
    for commit, text in known.items():
        assert there.file(commit, "big.txt", LIMIT) == text.encode()
        assert there.file(commit, "empty.txt", LIMIT) == b""
        blob = scratch.git("rev-parse", f"{commit}:big.txt")
        assert there.blob(blob, LIMIT) == text.encode()
    for prefix in ("refs/heads/", "refs/stratum/"):
        rows = scratch.git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        assert there.refs(prefix) == dict(row.split() for row in rows)
    there.close()


def test_objects_and_refs_are_read_as_git_reads_them(scratch: ScratchRepo) -> None:
    known = grown(scratch)
    for number, commit in enumerate(known):
        scratch.git("update-ref", f"refs/stratum/a/{number}/b", commit)
    check(scratch, scratch.path / "dir", known)
    # Now in a pack, as deltas, and of refs some in both places.
    scratch.git("repack", "-adfq", "--window=10", "--depth=10")
    scratch.git("pack-refs", "--all")
    scratch.git("update-ref", "refs/stratum/a/0/b", list(known)[3])
    scratch.git("update-ref", "-d", "refs/stratum/a/1/b")
    stored = scratch.git("verify-pack", "-v", *map(str, scratch.path.glob(".git/objects/pack/*.idx")))
    blob = scratch.git("rev-parse", f"{next(iter(known))}:big.txt")
    assert any(len(row.split()) == 7 for row in stored.splitlines() if row.startswith(blob))
    check(scratch, scratch.path, known)
    scratch.git("config", "repack.useDeltaBaseOffset", "false")
    scratch.git("repack", "-adfq")
    check(scratch, scratch.path, known)
    other = scratch.path.parent / "other"
    scratch.git("worktree", "add", "-q", "--detach", str(other))
    check(scratch, other, known)


def configured(key: str, value: str) -> Callable[[ScratchRepo], Path]:
    def make(scratch: ScratchRepo) -> Path:
        scratch.git("config", key, value)
        return scratch.path

    return make


def inner_repository(scratch: ScratchRepo) -> Path:
    scratch.git("init", "-q", "--bare", "dir/inner")
    return scratch.path / "dir/inner/refs"


def replaced(scratch: ScratchRepo) -> Path:
    scratch.git("replace", scratch.git("rev-parse", "HEAD:a.txt"), scratch.git("rev-parse", "HEAD:b.txt"))
    scratch.git("pack-refs", "--all")
    return scratch.path


def somebody_elses(scratch: ScratchRepo) -> Path:
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(scratch.path / ".git", 12345, 12345)
    return scratch.path


@pytest.mark.parametrize(
    "make",
    [
        lambda scratch: scratch.path / ".git/refs",
        lambda scratch: scratch.path.parent,
        inner_repository,
        replaced,
        somebody_elses,
        configured("core.bare", "true"),
        configured("core.worktree", "/"),
        configured("include.path", "x"),
        configured("extensions.worktreeConfig", "true"),
        lambda scratch: ScratchRepo.make(scratch.path / "new", "--object-format=sha256").path,
    ],
)
def test_git_is_asked_where_it_may_see_it_otherwise(
    scratch: ScratchRepo, make: Callable[[ScratchRepo], Path]
) -> None:
    unaided_at(str(scratch.path))
    with pytest.raises(Undecided):
        unaided_at(str(make(scratch)))


@pytest.mark.parametrize(
    "more",
    [
        b"[core]\nrepositoryformatversion = 99\n",
        b"[core\n",
        b"[core]\n\tba\\\nre = true\n",
        b"[ include]\npath = x\n",
        b'[core]\nx = "a\n',
        b"hello world\n",
    ],
)
def test_settings_that_are_not_surely_understood_are_gits_to_read(scratch: ScratchRepo, more: bytes) -> None:
    config = scratch.path / ".git/config"
    written = config.read_bytes() + b'[branch "a"] ; of mine\n\tremote = "x"\n[push]\n\tdefault\n# end\n'
    config.write_bytes(written)
    unaided_at(str(scratch.path))
    config.write_bytes(written + more)
    with pytest.raises(Undecided):
        unaided_at(str(scratch.path))


@pytest.mark.parametrize("name", ["a..b", ".a", "a~", "a b", "a.", "null", "space"])
def test_refs_that_git_passes_over_are_gits_to_list(scratch: ScratchRepo, name: str) -> None:
    scratch.git("update-ref", "refs/stratum/flows/a.b-\u00e4", scratch.head())
    there, flows = unaided_at(str(scratch.path)), scratch.path / ".git/refs/stratum/flows"
    assert list(there.refs("refs/stratum/")) == ["refs/stratum/flows/a.b-\u00e4"]
    told = {"null": "0" * 40, "space": f" {scratch.head()}"}.get(name, scratch.head())
    (flows / name).write_text(f"{told}\n")
    with pytest.raises(Undecided):
        there.refs("refs/stratum/")


@pytest.mark.parametrize("keep", [0, 10, 40])
def test_what_is_damaged_large_or_not_there_is_gits_to_tell(scratch: ScratchRepo, keep: int) -> None:
    there, oid = unaided_at(str(scratch.path)), scratch.git("rev-parse", "HEAD:a.txt")
    assert there.blob(oid, 100) == b"a\n"
    for wrong in ("0" * 40, scratch.head(), "0" * 64):
        with pytest.raises(Undecided):
            there.blob(wrong, LIMIT)
    large = scratch.commit("large", {"big.txt": "1234567890" * 50})
    with pytest.raises(Undecided):
        there.file(large, "big.txt", 300)
    with pytest.raises(Undecided):
        there.file(large, "none.txt", LIMIT)
    path = scratch.path / ".git/objects" / oid[:2] / oid[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:keep][:-1])
    with pytest.raises(Undecided):
        there.blob(oid, LIMIT)
    scratch.git("symbolic-ref", "refs/stratum/x", "refs/heads/main")
    with pytest.raises(Undecided):
        there.refs("refs/stratum/")


def test_the_files_of_a_commit_are_those_that_git_lists(scratch: ScratchRepo) -> None:
    names = ["a.json", "a/b.json", "a/b/c.json", "a-b/x", "z"]
    commit = scratch.commit("plain", {name: name for name in names})
    for _ in range(2):
        rows = scratch.git("ls-tree", "-r", commit).splitlines()
        listed = {row.partition("\t")[2]: row.split()[2] for row in rows}
        assert files_of(unaided_at(str(scratch.path)), commit) == listed
        scratch.git("repack", "-adq")


def test_files_that_are_not_plain_are_left_to_git(scratch: ScratchRepo) -> None:
    (scratch.path / "link").symlink_to("a")
    linked = scratch.commit("link", {"a": "a"})
    (scratch.path / "link").unlink()
    named = scratch.commit("named", {"ä": "a"})
    for commit in (linked, named, scratch.git("rev-parse", f"{named}:ä")):
        with pytest.raises(Undecided):
            files_of(unaided_at(str(scratch.path)), commit)


def head(place: Path) -> str:
    checkout = checkout_at(str(place))
    assert checkout is not None
    return head_at(checkout, str(place))


def test_head_is_where_git_has_it(scratch: ScratchRepo) -> None:
    first = scratch.commit("first", {"dir/a": "a"})
    assert head(scratch.path / "dir") == first
    other = scratch.path.parent / "other"
    scratch.git("worktree", "add", "-b", "deep/branch", str(other))
    scratch.git("pack-refs", "--all")
    assert head(other) == first
    second = scratch.commit("second", {"a": "b"})
    assert (head(scratch.path), head(other)) == (second, first)
    scratch.git("checkout", "-q", "--detach")
    assert head(scratch.path) == second
    scratch.git("symbolic-ref", "HEAD", "refs/heads/none")
    with pytest.raises(Undecided):
        head(scratch.path)
    scratch.git("symbolic-ref", "refs/heads/same", "refs/heads/deep/branch")
    scratch.git("symbolic-ref", "HEAD", "refs/heads/same")
    with pytest.raises(Undecided):
        head(scratch.path)
    scratch.git("update-ref", "refs/elsewhere", second)
    (scratch.path / ".git/HEAD").write_text("ref: refs/elsewhere\n", encoding="ascii")
    with pytest.raises(Undecided):
        head(scratch.path)
    (scratch.path / ".git/HEAD").write_text(scratch.git("rev-parse", f"{second}^{{tree}}"), encoding="ascii")
    with pytest.raises(Undecided):
        head(scratch.path)
