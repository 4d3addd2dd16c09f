"""A merge in memory gives what ``git merge`` gives in a checkout: the same tree, or the same conflict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from stratum_git.git.merge import Conflicted, Merged, merge
from stratum_git.git.objects import ObjectWriter
from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

LINES = "".join(f"line {n}\n" for n in range(40))
Edit = Callable[[ScratchRepo], object]


def edit(name: str, content: str | bytes) -> Edit:
    return lambda repo: repo.write(name, content)


def remove(name: str) -> Edit:
    return lambda repo: (repo.path / name).unlink()


def move(old: str, new: str) -> Edit:
    def work(repo: ScratchRepo) -> None:
        (repo.path / new).parent.mkdir(parents=True, exist_ok=True)
        (repo.path / old).rename(repo.path / new)

    return work


def executable(name: str) -> Edit:
    return lambda repo: (repo.path / name).chmod(0o755)


def link(name: str, to: str) -> Edit:
    def work(repo: ScratchRepo) -> None:
        (repo.path / name).unlink(missing_ok=True)
        (repo.path / name).symlink_to(to)

    return work


def both(*edits: Edit) -> Edit:
    def work(repo: ScratchRepo) -> None:
        for one in edits:
            one(repo)

    return work


CASES: dict[str, tuple[Edit, Edit]] = {
    "disjoint files": (edit("a.txt", "ours"), edit("new.txt", "theirs")),
    "same file, far apart": (
        edit("long.txt", LINES.replace("line 3\n", "ours\n")),
        edit("long.txt", LINES.replace("line 33\n", "theirs\n")),
    ),
    "same line": (edit("a.txt", "ours\n"), edit("a.txt", "theirs\n")),
    "same change": (edit("a.txt", "same\n"), edit("a.txt", "same\n")),
    "modify and delete": (edit("long.txt", LINES + "more\n"), remove("long.txt")),
    "delete and delete": (remove("a.txt"), remove("a.txt")),
    "both add, same": (edit("n.txt", "x\n"), edit("n.txt", "x\n")),
    "both add, different": (edit("n.txt", "x\n"), edit("n.txt", "y\n")),
    "rename and edit": (move("long.txt", "moved.txt"), edit("long.txt", LINES + "more\n")),
    "rename to two names": (move("long.txt", "one.txt"), move("long.txt", "two.txt")),
    "folder renamed, file added": (
        both(move("dir/c.txt", "moved/c.txt"), move("dir/d.txt", "moved/d.txt")),
        edit("dir/e.txt", "added\n"),
    ),
    "mode and content": (executable("a.txt"), edit("a.txt", "changed\n")),
    "binary on both sides": (edit("bin", b"\0ours"), edit("bin", b"\0theirs")),
    "binary on one side": (edit("bin", b"\0ours"), edit("a.txt", "theirs\n")),
    "link on both sides": (link("a.txt", "b.txt"), link("a.txt", "dir")),
    "file against folder": (edit("thing", "file\n"), edit("thing/inner", "folder\n")),
    "line endings": (edit("crlf.txt", b"a\r\nb\r\n"), edit("a.txt", "theirs\n")),
}


@pytest.fixture
def based(tmp_path: Path) -> ScratchRepo:
    scratch = ScratchRepo.make(tmp_path / "repo")
    files: dict[str, str | bytes] = {"a.txt": "a\n", "b.txt": "b\n", "long.txt": LINES, "bin": b"\0base"}
    scratch.commit(
        "base", files | {"dir/c.txt": LINES + "c\n", "dir/d.txt": LINES + "d\n", "crlf.txt": "a\nb\n"}
    )
    return scratch


def tree_of(scratch: ScratchRepo, commit: str) -> Oid:
    return Oid(scratch.git("rev-parse", f"{commit}^{{tree}}"))


def sides(scratch: ScratchRepo, ours: Edit, theirs: Edit) -> tuple[str, str]:
    scratch.git("checkout", "-q", "-b", "ours")
    ours(scratch)
    mine = scratch.commit("ours")
    scratch.git("checkout", "-q", "-b", "theirs", "main")
    theirs(scratch)
    other = scratch.commit("theirs")
    scratch.git("checkout", "-q", "ours")
    return mine, other


def merged_by_git(scratch: ScratchRepo) -> str | None:
    """Returns the tree that ``git merge`` makes, or ``None`` when it finds a conflict."""
    scratch.git("merge", "-q", "--no-edit", "theirs", check=False)
    if (scratch.path / ".git/MERGE_HEAD").exists():
        return None
    return scratch.git("rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_git_merge(based: ScratchRepo, name: str) -> None:
    mine, other = sides(based, *CASES[name])
    repo = open_repository(based.path)

    found = merge(
        repo,
        ObjectWriter(repo, durable=False),
        base=tree_of(based, "main"),
        ours=tree_of(based, mine),
        theirs=tree_of(based, other),
    )

    wanted = merged_by_git(based)
    assert (found.tree if isinstance(found, Merged) else None) == wanted
    if isinstance(found, Conflicted):
        unmerged = {
            row.partition("\t")[2].partition("~")[0] for row in based.git("ls-files", "-u").splitlines()
        }
        assert set(found.paths) == unmerged


def test_a_result_on_a_result_is_a_change_from_it(repo: Repository, scratch: ScratchRepo) -> None:
    base = scratch.head()
    first = scratch.commit("first adds", {"x.txt": "one\n"})
    second = scratch.commit("second edits what first added", {"x.txt": "two\n"})
    # The target has first's change as another commit, as after a landing.
    scratch.git("checkout", "-q", "--detach", base)
    target = scratch.commit("landed", {"x.txt": "one\n", "other.txt": "o\n"})

    found = merge(
        repo,
        ObjectWriter(repo, durable=False),
        base=tree_of(scratch, first),
        ours=tree_of(scratch, target),
        theirs=tree_of(scratch, second),
    )

    assert isinstance(found, Merged)
    assert scratch.show(f"{found.tree}:x.txt") == "two"
    assert scratch.show(f"{found.tree}:other.txt") == "o"


names = st.sampled_from(["a", "b", "d/c", "d/e", "f"])
contents = st.sampled_from(["", "x\n", "y\n", "x\ny\nz\n", LINES])
trees = st.dictionaries(names, contents, min_size=1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=trees, ours=trees, theirs=trees)
def test_agrees_with_git_merge_on_any_trees(
    tmp_path_factory: pytest.TempPathFactory,
    base: dict[str, str],
    ours: dict[str, str],
    theirs: dict[str, str],
) -> None:
    scratch = ScratchRepo.make(tmp_path_factory.mktemp("any") / "repo")

    def become(files: dict[str, str]) -> Edit:
        def work(repo: ScratchRepo) -> None:
            repo.git("rm", "-rfq", "--ignore-unmatch", ".")
            for name, content in files.items():
                repo.write(name, content)

        return work

    become(base)(scratch)
    scratch.commit("base")
    mine, other = sides(scratch, become(ours), become(theirs))
    repo = open_repository(scratch.path)
    writer = ObjectWriter(repo, durable=False)

    found = merge(
        repo,
        writer,
        base=tree_of(scratch, "main"),
        ours=tree_of(scratch, mine),
        theirs=tree_of(scratch, other),
    )

    assert (found.tree if isinstance(found, Merged) else None) == merged_by_git(scratch)


def test_modes_survive(repo: Repository, scratch: ScratchRepo, writer: ObjectWriter) -> None:
    base = tree_of(scratch, scratch.head())
    (scratch.path / "a.txt").chmod(0o755)
    ours = tree_of(scratch, scratch.commit("mode"))
    scratch.git("checkout", "-q", "--detach", "HEAD~")
    theirs = tree_of(scratch, scratch.commit("text", {"b.txt": "changed\n"}))

    found = merge(repo, writer, base=base, ours=ours, theirs=theirs)

    assert isinstance(found, Merged)
    assert scratch.git("ls-tree", found.tree, "a.txt").startswith("100755")
