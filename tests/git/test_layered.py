"""What is captured where changes lie by themselves is what git makes of the whole slot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from stratum_git.git.layered import repositories_around, work_in
from stratum_git.git.layers import PATIENCE, Layer
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import processes_started
from stratum_git.git.snapshot import Captured, capture
from stratum_git.git.tree_reader import TreeReader
from stratum_git.model.ids import Oid
from tests.support.overlays import OF_A_USER, Ground
from tests.support.repos import ScratchRepo
from tests.support.rich import by_git, rich_ground

ME = Signature("Me", "me@x", 1234567890.0)
Change = Callable[[ScratchRepo], object]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A repository with a bit of everything in it, checked out for overlays."""
    with rich_ground(tmp_path_factory.mktemp("layered")) as made:
        yield made


@pytest.fixture
def trees(ground: Ground) -> Iterator[TreeReader]:
    """Reads the trees of the repository."""
    with TreeReader(ground.repo) as reader:
        yield reader


@pytest.fixture
def layered(ground: Ground, tmp_path: Path) -> Iterator[tuple[ScratchRepo, Layer]]:
    """A slot that is an overlay, and where its changes lie."""
    name = f"slot-{tmp_path.name}"
    with ground.slot(name, f"stratum/{tmp_path.name}") as (path, layer):
        yield ScratchRepo(path), layer


def sh(script: str) -> Change:
    """Returns a change made by a shell, as agents make them."""
    return lambda slot: subprocess.run(["sh", "-ec", script], cwd=slot.path, check=True, capture_output=True)


def strange_names(slot: ScratchRepo) -> None:
    for name in (
        "new\nline",
        ":(top)x",
        "-rf",
        "sp ace",
        "st*ar?",
        "quo'te\"",
        "é",
        "back\\slash",
        "#x",
        "!y",
    ):
        slot.write(f"names/{name}", name)
        slot.write(f"{name}.o", name)
    (slot.path / os.fsdecode(b"not-\xff-utf8")).write_bytes(b"x")


def everything(slot: ScratchRepo) -> None:
    slot.write("a.txt", "changed\n")
    slot.write("new/deep/er.txt", "n\n")
    slot.write("x.o", "ignored")
    slot.write("build/out/y", "ignored")
    slot.write("build/keep.o", "ignored with its folder")
    slot.write("new/keep.o", "not ignored")
    (slot.path / "b.txt").unlink()
    shutil.rmtree(slot.path / "dir")


def much(slot: ScratchRepo) -> None:
    """Does what several others do, with one file each."""
    names = (
        "modes", "line ends", "a filter", "an encoding", "a link becomes a file", "a folder becomes a file",
        "ignored and tracked", "new attributes", "new rules",
    )  # fmt: skip
    for name in names:
        CHANGES[name](slot)
    strange_names(slot)


# fmt: off
CHANGES: dict[str, Change] = {
    "nothing": sh(":"),
    "everything": everything,
    "much at once": much,
    "status": sh("git status"),
    "touched": sh("touch a.txt was.auto dos.crlf; chmod +x g.txt; chmod -x g.txt"),
    "modes": sh("chmod +x a.txt; chmod -x run.sh"),
    "modes that do not count": sh("git config core.fileMode false; chmod +x a.txt; echo >> run.sh; echo > n"),
    "line ends": sh("printf 'three\\r\\n' >> dos.crlf; printf 'a\\r\\n' > new.auto; "
       "printf 'b\\r\\n' > new.crlf"),
    "line ends in the blob": sh("printf 'three\\r\\n' >> was.auto"),
    "autocrlf": sh("git config core.autocrlf true; printf 'x\\r\\n' >> a.txt; printf 'y\\r\\n' > y.txt"),
    "a filter": sh("echo more >> loud.up; echo new > new.up"),
    "ident": sh("echo '$Id: 123 $' > new.ident; echo x >> x.ident"),
    "an encoding": sh("printf 'w\\0x\\0' > w.wide; printf 'n\\0' > n.wide"),
    "links": sh("ln -s /nowhere new; ln -sf b.txt link; rm a.txt; ln -s b.txt a.txt"),
    "a link becomes a file": sh("rm link; echo file > link"),
    "a folder becomes a link": sh("rm -r dir; ln -s e dir"),
    "a folder becomes a file": sh("rm -r dir; echo x > dir"),
    "a file becomes a folder": sh("rm a.txt; mkdir a.txt; echo x > a.txt/a.txt"),
    "a folder made anew": sh("rm -r dir; mkdir -p dir/sub; echo x > dir/sub/new; echo c > dir/c.txt"),
    "a folder emptied": sh("rm -r dir; mkdir -p dir/sub other/empty"),
    "a folder renamed": sh("mv dir moved; mv e dir; mv moved/sub .; echo x >> sub/d.txt; rm moved/c.txt"),
    "a folder renamed by git": sh("git mv dir moved; git mv moved/sub sub; echo x > sub/new; echo > sub/o.o"),
    "strange names": strange_names,
    "ignored and tracked": sh("echo x >> forced.o; echo x > build/new; echo x >> build/kept.txt; echo > o.o"),
    "ignored and deleted": sh("rm forced.o build/kept.txt; echo > build/new"),
    "new rules": sh("echo '*.log' >> .gitignore; echo > x.log; mkdir n; echo '*' > n/.gitignore; echo > n/x"),
    "rules gone": sh("rm .gitignore; echo > x.o; mkdir -p build; echo > build/x"),
    "new attributes": sh("echo '*.txt filter=up' >> .gitattributes; echo x >> a.txt; echo y > n.txt"),
    "attributes below": sh("echo '* filter=up' > dir/.gitattributes; echo x >> dir/c.txt; "
       "echo x > dir/sub/n"),
    "deep": sh("d=$(printf 'd/%.0s' $(seq 60)); mkdir -p $d; echo x > $d/f; git add .; echo y > $d/f"),
    "staged": sh("echo s > staged; git add staged; echo x >> a.txt; git add a.txt"),
    "staged and overwritten": sh("echo s > n; echo s > a.txt; git add n a.txt; echo t > n; echo t > a.txt"),
    "staged and deleted": sh("echo s > n; echo s > a.txt; git add n a.txt; rm n a.txt"),
    "staged and put back": sh("echo s > a.txt; git add a.txt; echo a > a.txt"),
    "staged although ignored": sh("mkdir -p build/x; echo > build/x/f; git add -f build/x/f; "
       "echo > build/x/g"),
    "out of the index": sh("git rm -q --cached a.txt forced.o; git rm -q --cached -r dir; echo > dir/c.txt"),
    "git rm and mv": sh("git rm -q a.txt; mkdir n; git mv b.txt dir/c.txt n; echo x >> n/c.txt"),
    "committed": sh("echo x >> a.txt; git commit -qam one; echo y > y; git add y; git commit -qm two"),
    "committed and more": sh("echo x >> a.txt; git commit -qam one; echo y >> a.txt; echo z > z; rm b.txt"),
    "reset hard": sh("git reset -q --hard HEAD~2"),
    "reset soft": sh("echo x >> a.txt; git commit -qam x; git reset -q --soft HEAD~1; echo x >> g.txt"),
    "reset": sh("git reset -q HEAD~2 || :; echo x >> e/f.txt"),
    "checkout": sh("git checkout -q --detach other; echo x >> b.txt"),
    "checkout and back": sh("git checkout -q --detach other; git checkout -q -; echo x >> b.txt"),
    "a new branch": sh("git checkout -q -b mine-$$; echo x >> b.txt; git commit -qam x"),
    "detached": sh("git checkout -q --detach; echo x >> b.txt; git commit -qam x; echo y > y"),
    "stashed": sh("echo x >> b.txt; echo y > y; git stash -q -u; git stash drop -q; echo z > z"),
    "a merge not committed": sh("git checkout -q --detach other; echo x > m; git add m; "
       "git commit -qm m; git checkout -q -;"
                                "git merge -q --no-commit --no-ff @{-1}; echo x >> a.txt"),
    "many": sh(f"mkdir build/a; cd build/a; seq {PATIENCE + 9} | xargs touch; cd ../..; mkdir -p n/m; "
       f"touch n/m/x"),
    "many of ours": sh(f"mkdir -p u/v; cd u/v; seq {PATIENCE + 9} | xargs touch; mkdir -p z/y; "
       f"touch z/y/x z/q.o"),
}

STRANGE: dict[str, Change] = {
    "an intent to add": sh("echo x > n; git add -N n"),
    "hidden": sh("git update-index --assume-unchanged a.txt; echo x > a.txt"),
    "left out": sh("git update-index --skip-worktree a.txt; echo x > a.txt"),
    "a later index": sh("git update-index --index-version 4; echo x > a.txt"),
    "a split index": sh("git update-index --split-index; echo x > a.txt"),
    "no index": sh("rm $(git rev-parse --git-dir)/index; echo x > a.txt"),
    "sparse": sh("git sparse-checkout set dir; echo x > dir/c.txt"),
    "a repository inside": sh("git init -q inner; cd inner; git commit -q --allow-empty -m i; echo > f"),
    "a repository around files": sh("git init -q dir; echo x > dir/c.txt"),
    "a module staged": sh("git reset -q --soft HEAD~1; echo x >> g.txt"),
    "a module gone": sh("rmdir module; echo x > a.txt"),
    "a file in a module": sh("echo x > module/f"),
    "conflicts": sh("git checkout -q --detach other; echo o > b.txt; git commit -qam o; "
       "git checkout -q -; ! git merge @{-1}"),
    "a pipe": sh("mkfifo pipe; rm a.txt; mkfifo a.txt"),
    "no attributes": sh("rm .gitattributes; echo x > loud.up"),
    "attributes are a link": sh("mv .gitattributes real; ln -s real .gitattributes; echo x > loud.up"),
    "no branch": sh("git checkout -q --orphan o; echo x > a.txt"),
    "a mark like an overlay's": lambda slot: os.setxattr(slot.path / "dir", "user.overlay.opaque", b"y"),
    "names fold": sh("git config core.ignoreCase true; echo x > A.TXT"),
}
# fmt: on


def taken(
    slot: ScratchRepo, base: Oid, writer: ObjectWriter, trees: TreeReader | None, layer: Layer | None
) -> Captured:
    return capture(
        slot.path,
        base=base,
        writer=writer,
        message="left\n",
        author=ME,
        committer=ME,
        trees=trees,
        layer=layer,
        aside=True,
    )


QUICK = (
    "nothing", "much at once", "a folder made anew", "a folder renamed by git", "staged and overwritten",
    "out of the index", "committed and more", "reset", "checkout", "hidden", "sparse", "a repository inside",
    "conflicts", "a pipe", "no attributes", "a mark like an overlay's",
)  # fmt: skip
"""Those that the ordinary tests do."""


def cases(quick: Collection[str], *names: str) -> list[object]:
    """Returns parameters for a test: what is not in *quick* takes long, all together."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.soak) for name in names]


@pytest.fixture(autouse=True)
def usual_settings(ground: Ground) -> Iterator[None]:
    """Puts the settings of the repository back, which a change may have changed."""
    config = ground.repo.common_dir / "config"
    before = config.read_bytes()
    yield
    config.write_bytes(before)


@pytest.mark.parametrize("name", cases(QUICK, *CHANGES, *STRANGE))
def test_a_slot_in_an_overlay_is_captured_as_git_would(
    name: str, ground: Ground, layered: tuple[ScratchRepo, Layer], trees: TreeReader
) -> None:
    slot, layer = layered
    writer = ObjectWriter(ground.repo, durable=False)
    change = CHANGES.get(name) or STRANGE[name]
    change(slot)
    assert (work_in(slot.path, layer, writer, trees) is None) is (name in STRANGE)
    expected = by_git(slot) if name in CHANGES else ""
    by_layer = taken(slot, ground.base, writer, trees, layer)
    by_status = taken(slot, ground.base, writer, trees, None)
    plainly = taken(slot, ground.base, writer, None, None)
    assert by_layer == by_status == plainly
    if name in CHANGES:
        assert trees.root(by_layer.result) == expected


def test_marks_of_a_users_own_namespace_are_read(ground: Ground, trees: TreeReader) -> None:
    writer = ObjectWriter(ground.repo, durable=False)
    with ground.slot("slot-of-a-user", "stratum/of-a-user", OF_A_USER) as (path, layer):
        slot = ScratchRepo(path)
        CHANGES["a folder made anew"](slot)
        (slot.path / "a.txt").unlink()
        found = work_in(path, layer, writer, trees)
        assert found is not None
        assert found.tree == by_git(slot)


def test_only_what_changed_starts_git(
    ground: Ground, layered: tuple[ScratchRepo, Layer], trees: TreeReader
) -> None:
    slot, layer = layered
    writer = ObjectWriter(ground.repo, durable=False)
    counts = []
    known = ("true", "rm a.txt", "echo x > b.txt", "echo > new", "git add -A", "git commit -qm x")
    for change in (*known, "echo > new.o", "echo x >> loud.up", "rm new.o"):
        sh(change)(slot)
        work_in(slot.path, layer, writer, trees)
        before = processes_started()
        assert work_in(slot.path, layer, writer, trees) is not None
        counts.append(processes_started() - before)
    # Nothing for what is taken as it lies there, one for what may be ignored, one for what has a filter.
    assert counts == [0, 0, 0, 0, 0, 0, 1, 2, 1]


def test_an_overlay_that_is_not_there_is_not_taken_for_an_empty_slot(
    ground: Ground, layered: tuple[ScratchRepo, Layer], trees: TreeReader, tmp_path: Path
) -> None:
    slot, layer = layered
    slot.write("a.txt", "work")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / ".git").write_bytes((slot.path / ".git").read_bytes())
    writer = ObjectWriter(ground.repo, durable=False)
    assert work_in(slot.path, layer, writer, trees) is not None
    assert work_in(tmp_path / "bare", layer, writer, trees) is None


def test_repositories_made_around_files_are_found(
    ground: Ground, layered: tuple[ScratchRepo, Layer], trees: TreeReader
) -> None:
    slot, layer = layered
    slot.git("init", "-q", "dir/sub")
    slot.git("init", "-q", "elsewhere")
    assert repositories_around(slot.path, layer, ground.base, trees) == ("dir/sub/.git",)


@pytest.mark.parametrize("key", ["include.path", "includeIf.onbranch:later.path"])
def test_settings_that_come_from_elsewhere_are_seen_when_they_change(
    ground: Ground, layered: tuple[ScratchRepo, Layer], trees: TreeReader, tmp_path: Path, key: str
) -> None:
    slot, layer = layered
    more = tmp_path / "more"
    attributes = tmp_path / "attributes"
    attributes.write_text("*.txt filter=up\n")
    writer = ObjectWriter(ground.repo, durable=False)
    slot.git("config", key, str(more))
    try:
        for branch in (None, "later"):
            slot.write("a.txt", f"on {branch}\n")
            if branch is not None:
                slot.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
                slot.git("update-ref", "HEAD", ground.base)
            found = work_in(slot.path, layer, writer, trees)
            assert found is not None
            assert found.tree == by_git(slot)
            # By then it was asked for.
            more.write_text(f"[core]\n\tattributesFile = {attributes}\n")
    finally:
        slot.git("config", "--unset", key)
