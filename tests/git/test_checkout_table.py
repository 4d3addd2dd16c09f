"""Whatever state the user's checkout is in: a landing keeps every byte of his, or is refused with the reason.

A row is a state, and what becomes of a landing there. The landing changes, adds, deletes and replaces files
of every kind. Landed: what is not of it is as it was, to the byte and the flag of the index. Refused: all is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from stratum_git.dispatch.landing import follow, in_the_way
from stratum_git.git.checkout import Refused, _dirt, _touches
from stratum_git.git.diff import changed_paths
from stratum_git.git.hidden import hidden_dirt
from stratum_git.git.holding import held_checkouts
from stratum_git.git.repository import open_repository
from stratum_git.git.untouched import is_untouched
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid, RefName
from tests.support.disks import remount, unable
from tests.support.repos import ScratchRepo

MAIN = RefName("refs/heads/main")
OLD_FILES: dict[str, str | bytes] = {
    "keep.txt": "keep\n", "other.txt": "other\n", "sub/keep.txt": "keep\n", "far/away.txt": "far\n",
    "touched.txt": "one\ntwo\nthree\n", "sub/touched.txt": "one\n", "gone.txt": "gone\n", "swap": "a file\n",
    "nest/inner.txt": "inner\n", "Name.txt": "name\n", "run.sh": "#!/bin/sh\n", ".gitignore": "*.o\n",
    "data.bin": b"\0\1\2", "crlf.txt": "a\nb\n",
}  # fmt: skip
TOUCHED = {
    "touched.txt", "sub/touched.txt", "gone.txt", "fresh.txt", "swap", "swap/inner.txt", "nest",
    "nest/inner.txt", "Name.txt", "name.txt", "run.sh", "link", "far/away.txt", "far/new.txt", "data.bin",
    "crlf.txt", "sub/deep/fresh.txt",
}  # fmt: skip
Fact = tuple[int, bytes]


@dataclass
class Place:
    """A copy of the repository, its commits, and the checkouts in it."""

    repo: ScratchRepo
    old: Oid
    new: Oid

    @property
    def path(self) -> Path:
        return self.repo.path

    def git(self, *words: str, at: str = "", check: bool = True) -> str:
        return ScratchRepo(self.path / at).git(*words, check=check)

    def write(self, name: str, text: str | bytes) -> None:
        self.repo.write(name, text)

    def commit_beside(self, branch: str, name: str, text: str) -> None:
        """Makes a branch with a commit that changes a file, and comes back."""
        self.git("checkout", "-qb", branch)
        self.repo.commit(branch, {name: text})
        self.git("checkout", "-q", "main")


@dataclass
class Seen:
    """All that a user has in a checkout and beside it."""

    files: dict[str, Fact]
    index: dict[str, str]
    status: str
    notes: dict[str, bytes]
    logs: dict[str, list[bytes]]
    refs: str
    raw: bytes


def look(path: Path) -> Seen:
    def git(*words: str) -> str:
        return ScratchRepo(path).git("--no-optional-locks", *words)

    folder = Path(git("rev-parse", "--absolute-git-dir"))
    common = Path(git("rev-parse", "--path-format=absolute", "--git-common-dir"))
    rows = [row for row in git("ls-files", "-v", "-z", "--stage").split("\0") if row]
    return Seen(
        files=dict(files_in(path)),
        index={f"{row[2:].split(' ')[2].split(chr(9))[0]} {row.partition(chr(9))[2]}": row for row in rows},
        status=git("status", "--porcelain=v1", "-z", "--ignored=matching", "--untracked-files=all"),
        notes={str(p.relative_to(folder)): p.read_bytes() for p in notes_in(folder, common)},
        logs={
            str(p.relative_to(common)): p.read_bytes().splitlines()
            for p in (common / "logs").rglob("*")
            if p.is_file()
        },
        refs=git("for-each-ref"),
        raw=(folder / "index").read_bytes(),
    )


def files_in(top: Path) -> Iterator[tuple[str, Fact]]:
    for folder, names, files in os.walk(top):
        here = Path(folder)
        names[:] = [name for name in names if name != ".git"]
        links = [name for name in names if (here / name).is_symlink()]
        for name in (*files, *links):
            path = here / name
            data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            yield str(path.relative_to(top)), (path.lstat().st_mode, data)
        if not names and not files:
            yield f"{here.relative_to(top)}/", (0, b"")


def notes_in(folder: Path, common: Path) -> Iterator[Path]:
    """Yields what git notes of the checkout besides the index: what is unfinished, settings, patterns."""
    own = {"index", "index.lock", "COMMIT_EDITMSG", "ORIG_HEAD", "FETCH_HEAD", "packed-refs", "gitdir"}
    left = {"objects", "refs", "logs", "worktrees", "stratum", "modules", *own}
    for path in folder.rglob("*"):
        shared = path.name.startswith("sharedindex.")
        if path.is_file() and not shared and path.relative_to(folder).parts[0] not in left:
            yield path


def land(place: Place) -> str:
    """Lands as a flow does; returns why not."""
    repo = open_repository(place.path)
    refused = in_the_way(repo, MAIN, place.old, place.new)
    if refused is not None:
        return f"{refused.reason} {' '.join(refused.paths)}"
    with held_checkouts(repo, MAIN) as held:
        assert held is not None
        place.git("update-ref", "-m", "land", MAIN, place.new, place.old)
        assert follow(repo, MAIN, place.old, place.new, held) == ()
    return ""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the commit that the branch is at, and the one that lands on it."""
    path = tmp_path_factory.mktemp("table") / "repo"
    scratch = ScratchRepo.make(path)
    for name, value in (("user.name", "Tess"), ("user.email", "tess@example.invalid")):
        scratch.git("config", name, value)
    (path / "link").symlink_to("keep.txt")
    old = scratch.commit("old", OLD_FILES)
    scratch.git("checkout", "-q", "--detach")
    for name in ("gone.txt", "swap", "nest/inner.txt", "Name.txt", "link"):
        (path / name).unlink()
    (path / "nest").rmdir()
    (path / "link").symlink_to("other.txt")
    (path / "run.sh").chmod(0o755)
    scratch.commit("new", {
        "touched.txt": "one\n2\nthree\n", "sub/touched.txt": "two\n", "fresh.txt": "fresh\n",
        "nest": "a file\n", "swap/inner.txt": "inner\n", "name.txt": "name\n", "far/away.txt": "farther\n",
        "far/new.txt": "new\n", "data.bin": b"\0\3\4", "crlf.txt": "a\nc\n", "sub/deep/fresh.txt": "fresh\n",
    })  # fmt: skip
    scratch.git("branch", "landing")
    scratch.git("checkout", "-q", "main")
    assert scratch.head() == old
    return path


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Place:
    path = tmp_path / "repo"
    shutil.copytree(template, path, symlinks=True)
    scratch = ScratchRepo(path)
    scratch.git("update-index", "-q", "--refresh")
    return Place(scratch, Oid(scratch.head()), Oid(scratch.git("rev-parse", "landing")))


Prepare = Callable[[Place], object]
ROWS: dict[str, tuple[Prepare, str]] = {}


def row(refusal: str = "", *, name: str = "") -> Callable[[Prepare], Prepare]:
    """Notes a state of the checkout; *refusal* is what the reason has to say, nothing where it lands."""

    def note(prepare: Prepare) -> Prepare:
        ROWS[name or prepare.__name__.strip("_")] = (prepare, refusal)
        return prepare

    return note


# --- changes ----------------------------------------------------------------------------------------------

row(name="clean")(lambda _: None)
row(name="changed elsewhere")(lambda at: at.write("keep.txt", "mine\n"))
row(name="emptied elsewhere")(lambda at: at.write("keep.txt", ""))
row(name="deleted elsewhere")(lambda at: (at.path / "keep.txt").unlink())
row(name="deletion staged elsewhere")(lambda at: at.git("rm", "-q", "keep.txt"))
row(name="untracked elsewhere")(lambda at: at.write("notes/mine.txt", "mine\n"))
row(name="ignored elsewhere")(lambda at: at.write("sub/mine.o", "mine\n"))
row(name="empty folder elsewhere")(lambda at: (at.path / "sub/empty").mkdir())
row(name="made executable elsewhere")(lambda at: (at.path / "keep.txt").chmod(0o755))


@row()
def _staged_elsewhere(at: Place) -> None:
    at.write("keep.txt", "mine\n")
    at.write("added.txt", "mine\n")
    at.git("add", "keep.txt", "added.txt")


@row()
def _staged_and_changed_again_elsewhere(at: Place) -> None:
    at.write("keep.txt", "staged\n")
    at.git("add", "keep.txt")
    at.write("keep.txt", "and changed\n")


@row()
def _intended_to_be_added_elsewhere(at: Place) -> None:
    at.write("soon.txt", "mine\n")
    at.git("add", "-N", "soon.txt")


@row()
def _a_file_elsewhere_is_a_folder_now(at: Place) -> None:
    (at.path / "keep.txt").unlink()
    at.write("keep.txt/inner", "mine\n")


@row()
def _a_link_elsewhere(at: Place) -> None:
    (at.path / "keep.txt").unlink()
    (at.path / "keep.txt").symlink_to("other.txt")


for _name in (
    "touched.txt",
    "gone.txt",
    "sub/touched.txt",
    "swap",
    "nest/inner.txt",
    "far/away.txt",
    "data.bin",
):
    row("touched|gone|swap|nest|far|data", name=f"changed {_name}")(
        lambda at, name=_name: at.write(name, "mine\n")  # type: ignore[misc]
    )
row("touched.txt", name="emptied")(lambda at: at.write("touched.txt", ""))
row("touched.txt", name="deleted")(lambda at: (at.path / "touched.txt").unlink())
row("touched.txt", name="deletion staged")(lambda at: at.git("rm", "-q", "touched.txt"))
row("gone.txt", name="kept in the index only")(lambda at: at.git("rm", "-q", "--cached", "gone.txt"))
row("run.sh", name="made executable as the landing does")(lambda at: (at.path / "run.sh").chmod(0o755))
row("fresh.txt", name="untracked in the way")(lambda at: at.write("fresh.txt", "mine\n"))
row("fresh.txt", name="the same untracked in the way")(lambda at: at.write("fresh.txt", "fresh\n"))
row("nest/mine", name="untracked in a folder that becomes a file")(lambda at: at.write("nest/mine", "mine\n"))
row("nest/mine.o", name="ignored in a folder that becomes a file")(lambda at: at.write("nest/mine.o", "x"))
row("sub/deep", name="untracked where a folder is wanted")(lambda at: at.write("sub/deep", "mine\n"))
row(name="an empty folder in the way")(lambda at: (at.path / "fresh.txt").mkdir())


@row("link")
def _a_link_that_leads_elsewhere(at: Place) -> None:
    (at.path / "link").unlink()
    (at.path / "link").symlink_to("swap")


@row("touched.txt")
def _staged(at: Place) -> None:
    at.write("touched.txt", "mine\n")
    at.git("add", "touched.txt")


@row("touched.txt")
def _staged_and_taken_back_in_the_file(at: Place) -> None:
    at.write("touched.txt", "mine\n")
    at.git("add", "touched.txt")
    at.write("touched.txt", OLD_FILES["touched.txt"])


@row("touched.txt")
def _staged_as_the_landing_does(at: Place) -> None:
    at.git("checkout", "-q", "landing", "--", "touched.txt")


@row("fresh.txt")
def _intended_to_be_added_in_the_way(at: Place) -> None:
    at.write("fresh.txt", "mine\n")
    at.git("add", "-N", "fresh.txt")


@row("fresh.txt")
def _ignored_in_the_way(at: Place) -> None:
    at.write(".git/info/exclude", "fresh.txt\n")
    at.write("fresh.txt", "mine\n")


@row("fresh.txt|deep")
def _a_repository_in_the_way(at: Place) -> None:
    ScratchRepo.make(at.path / "fresh.txt").write("mine", "mine\n")


@row("sub/touched.txt")
def _a_folder_that_is_a_link_to_where_it_went(at: Place) -> None:
    (at.path / "sub").rename(at.path / "moved")
    (at.path / "sub").symlink_to("moved")


@row("link")
def _a_file_where_a_link_was(at: Place) -> None:
    (at.path / "link").unlink()
    at.write("link", "mine\n")


@row("touched.txt")
def _a_folder_where_a_file_was(at: Place) -> None:
    (at.path / "touched.txt").unlink()
    at.write("touched.txt/inner", "mine\n")


# --- hidden from git --------------------------------------------------------------------------------------

for _bit in ("skip-worktree", "assume-unchanged"):
    row(name=f"{_bit} elsewhere, and changed")(
        lambda at, bit=_bit: (  # type: ignore[misc]
            at.git("update-index", f"--{bit}", "keep.txt"),
            at.write("keep.txt", "mine\n"),
        )
    )
    row(name=f"{_bit} on a touched file")(
        lambda at, bit=_bit: at.git("update-index", f"--{bit}", "touched.txt")  # type: ignore[misc]
    )
    row("touched.txt", name=f"{_bit} on a touched file, and changed")(
        lambda at, bit=_bit: (  # type: ignore[misc]
            at.git("update-index", f"--{bit}", "touched.txt"),
            at.write("touched.txt", "mine\n"),
        )
    )
    row("gone.txt", name=f"{_bit} on a file that goes, and changed")(
        lambda at, bit=_bit: (  # type: ignore[misc]
            at.git("update-index", f"--{bit}", "gone.txt"),
            at.write("gone.txt", "mine\n"),
        )
    )

# --- unfinished -------------------------------------------------------------------------------------------


@row("a merge is under way")
def _in_a_merge(at: Place) -> None:
    at.commit_beside("side", "other.txt", "side\n")
    at.git("merge", "-q", "--no-ff", "--no-commit", "side")


@row("a cherry-pick is under way")
def _in_a_cherry_pick(at: Place) -> None:
    at.commit_beside("side", "touched.txt", "side\n")
    at.commit_beside("more", "touched.txt", "more\n")
    at.git("cherry-pick", "-n", "side")
    at.git("commit", "-qm", "side")
    at.git("cherry-pick", "more", check=False)
    at.old = Oid(at.repo.head())
    rebuild(at)


@row("a revert is under way")
def _in_a_revert(at: Place) -> None:
    at.repo.commit("x", {"other.txt": "x\n"})
    at.repo.commit("y", {"other.txt": "y\n"})
    at.git("revert", "HEAD~1", check=False)
    at.old = Oid(at.repo.head())
    rebuild(at)


@row("a rebase is under way")
def _in_a_rebase_of_the_branch(at: Place) -> None:
    at.commit_beside("side", "other.txt", "side\n")
    at.repo.commit("mine", {"other.txt": "mine\n"})
    at.old = Oid(at.repo.head())
    rebuild(at)
    at.git("rebase", "side", check=False)
    assert (at.path / ".git/rebase-merge").exists()


@row("a rebase is under way")
def _in_a_rebase_by_patches(at: Place) -> None:
    at.commit_beside("side", "other.txt", "side\n")
    at.repo.commit("mine", {"other.txt": "mine\n"})
    at.old = Oid(at.repo.head())
    rebuild(at)
    at.git("rebase", "--apply", "side", check=False)
    assert (at.path / ".git/rebase-apply").exists()


@row("a rebase is under way")
def _in_an_am(at: Place) -> None:
    at.commit_beside("side", "other.txt", "side\n")
    at.repo.commit("mine", {"other.txt": "mine\n"})
    at.old = Oid(at.repo.head())
    rebuild(at)
    at.git("format-patch", "-q", "-1", "side", "-o", str(at.path.parent))
    at.git("am", str(next(at.path.parent.glob("0001*"))), check=False)
    assert (at.path / ".git/rebase-apply").exists()


@row()
def _in_a_rebase_of_another_branch(at: Place) -> None:
    at.commit_beside("side", "other.txt", "side\n")
    at.commit_beside("more", "other.txt", "more\n")
    at.git("checkout", "-q", "more")
    at.git("rebase", "side", check=False)
    assert (at.path / ".git/rebase-merge").exists()


@row("a bisect is under way")
def _in_a_bisect_that_has_not_moved(at: Place) -> None:
    at.git("bisect", "start")


@row()
def _in_a_bisect(at: Place) -> None:
    for name in ("x", "y", "z"):
        at.repo.commit(name, {"other.txt": name})
    at.old = Oid(at.repo.head())
    rebuild(at)
    at.git("bisect", "start", "HEAD", "HEAD~3")


def rebuild(at: Place) -> None:
    """Makes the landing one on top of what the branch is at now."""
    tree = at.git("merge-tree", "--write-tree", "landing", at.old, check=False).splitlines()[0]
    at.new = Oid(at.git("commit-tree", tree, "-p", at.old, "-m", "new"))


# --- other places -----------------------------------------------------------------------------------------

row(name="on another branch")(lambda at: at.git("checkout", "-qb", "mine"))
row(name="detached")(lambda at: at.git("checkout", "-q", "--detach"))


@row()
def _on_another_branch_with_changes(at: Place) -> None:
    at.git("checkout", "-qb", "mine")
    at.write("touched.txt", "mine\n")


def _beside(at: Place) -> Path:
    at.git("checkout", "-qb", "mine")
    at.git("worktree", "add", "-q", "../beside", "main")
    return at.path.parent / "beside"


row(name="checked out beside")(_beside)


@row()
def _checked_out_beside_and_locked(at: Place) -> None:
    at.git("worktree", "lock", str(_beside(at)))


@row()
def _checked_out_beside_and_gone(at: Place) -> None:
    shutil.rmtree(_beside(at))


@row()
def _checked_out_beside_locked_and_gone(at: Place) -> None:
    at.git("worktree", "lock", str(_beside(at)))
    shutil.rmtree(at.path.parent / "beside")


@row("touched.txt")
def _changed_beside(at: Place) -> None:
    (_beside(at) / "touched.txt").write_text("mine\n")


@row()
def _a_branch_beside_that_was_at_what_lands_all_along(at: Place) -> None:
    at.git("worktree", "add", "-q", "../beside", "landing")
    (at.path.parent / "beside/touched.txt").write_text("")
    (at.path.parent / "beside/fresh.txt").write_text("mine\n")


@row()
def _checked_out_twice(at: Place) -> None:
    at.git("worktree", "add", "-qf", "../beside", "main")
    (at.path.parent / "beside/keep.txt").write_text("mine\n")


@row("touched.txt")
def _checked_out_twice_and_changed_in_one(at: Place) -> None:
    at.git("worktree", "add", "-qf", "../beside", "main")
    (at.path.parent / "beside/touched.txt").write_text("mine\n")


# --- settings and kinds of files --------------------------------------------------------------------------


@row()
def _sparse_by_folders(at: Place) -> None:
    at.git("sparse-checkout", "set", "--cone", "sub")


@row()
def _sparse_by_folders_with_changes(at: Place) -> None:
    at.git("sparse-checkout", "set", "--cone", "sub")
    at.write("sub/keep.txt", "mine\n")
    at.write("sub/loose.txt", "mine\n")


@row()
def _sparse_with_a_sparse_index(at: Place) -> None:
    at.git("sparse-checkout", "set", "--cone", "--sparse-index", "sub")


@row()
def _sparse_by_patterns(at: Place) -> None:
    at.git("sparse-checkout", "set", "--no-cone", "/*", "!/far/", "!touched.txt")


@row("far/away.txt|far/new.txt")
def _sparse_with_a_file_of_his_own_outside(at: Place) -> None:
    at.git("sparse-checkout", "set", "--cone", "sub")
    at.write("far/away.txt", "mine\n")


@row()
def _an_index_in_parts(at: Place) -> None:
    at.git("update-index", "--split-index")
    at.write("keep.txt", "mine\n")
    at.git("add", "keep.txt")


@row()
def _an_index_of_another_version(at: Place) -> None:
    at.git("update-index", "--index-version", "4")
    at.git("update-index", "--assume-unchanged", "sub/touched.txt")
    at.write("keep.txt", "mine\n")


@row()
def _untracked_files_remembered(at: Place) -> None:
    at.git("update-index", "--force-untracked-cache")
    at.write("loose/mine.txt", "mine\n")
    at.git("status")


@row()
def _files_watched(at: Place) -> None:
    hook = at.path / ".git/watch"
    hook.write_text("#!/bin/sh\nprintf 'token\\0/\\0'\n")
    hook.chmod(0o755)
    at.git("config", "core.fsmonitor", str(hook))
    at.git("status")
    at.write("keep.txt", "mine\n")


@row()
def _line_ends_of_windows(at: Place) -> None:
    at.git("config", "core.autocrlf", "true")
    (at.path / ".git/index").unlink()
    at.git("reset", "-q", "--hard")
    assert (at.path / "touched.txt").read_bytes().count(b"\r\n") == 3
    at.write("keep.txt", "mine\r\n")


@row()
def _line_ends_by_attribute(at: Place) -> None:
    at.write(".git/info/attributes", "*.txt text eol=crlf\n")
    (at.path / ".git/index").unlink()
    at.git("reset", "-q", "--hard")


@row()
def _a_filter(at: Place) -> None:
    at.write(".git/info/attributes", "*.txt filter=up\n")
    at.git("config", "filter.up.smudge", "tr a-z A-Z")
    at.git("config", "filter.up.clean", "tr A-Z a-z")
    (at.path / ".git/index").unlink()
    at.git("reset", "-q", "--hard")
    assert (at.path / "touched.txt").read_text() == "ONE\nTWO\nTHREE\n"
    at.write("keep.txt", "MINE\n")


@row()
def _modes_that_do_not_count(at: Place) -> None:
    at.git("config", "core.fileMode", "false")
    (at.path / "keep.txt").chmod(0o755)


@row()
def _a_submodule_with_changes(at: Place) -> None:
    inner = ScratchRepo.make(at.path.parent / "inner")
    inner.commit("inner", {"x": "x\n"})
    allowed = ("-c", "protocol.file.allow=always")
    at.git(*allowed, "submodule", "--quiet", "add", str(inner.path), "module")
    at.git("commit", "-qm", "module")
    at.old = Oid(at.repo.head())
    rebuild(at)
    at.write("module/x", "mine\n")
    at.write("module/loose", "mine\n")


@row()
def _a_submodule_that_moves(at: Place) -> None:
    inner = ScratchRepo.make(at.path.parent / "inner")
    first = inner.commit("inner", {"x": "x\n"})
    inner.commit("second", {"x": "y\n"})
    allowed = ("-c", "protocol.file.allow=always")
    at.git(*allowed, "submodule", "--quiet", "add", str(inner.path), "module")
    at.git("checkout", "-q", first, at="module")
    at.git("add", "module")
    at.git("commit", "-qm", "module")
    at.old = Oid(at.repo.head())
    rebuild(at)


@row(name="read-only files")
def _read_only_files(at: Place) -> None:
    for name in ("touched.txt", "gone.txt", "keep.txt"):
        (at.path / name).chmod(0o444)


@row("another git is at work in|was killed")
def _a_lock_of_a_git_that_is_gone(at: Place) -> None:
    at.write(".git/index.lock", "")


@contextmanager
def busy(at: Place) -> Iterator[None]:
    """A git that is at work: a commit whose editor is open."""
    at.write("keep.txt", "mine\n")
    env = {**os.environ, "GIT_EDITOR": f"touch {at.path.parent}/open; sleep 60; false"}
    process = subprocess.Popen(["git", "commit", "-qa"], cwd=at.path, env=env, start_new_session=True)
    try:
        while not (at.path.parent / "open").exists():
            assert process.poll() is None
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


# --- the table --------------------------------------------------------------------------------------------


def checkouts(at: Place) -> list[Path]:
    beside = at.path.parent / "beside"
    return [at.path, *([beside] if beside.exists() else [])]


def is_on(path: Path) -> bool:
    return ScratchRepo(path).git("symbolic-ref", "-q", "HEAD", check=False) == MAIN


@pytest.mark.parametrize("name", ROWS)
def test_nothing_of_the_users_is_lost(place: Place, name: str) -> None:
    prepare, refusal = ROWS[name]
    prepare(place)
    before = {path: look(path) for path in checkouts(place)}
    for path in filter(is_on, before):
        check_quick_look(place, path, whole=name == "clean")

    said = land(place)

    after = {path: look(path) for path in checkouts(place)}
    if refusal:
        assert re.search(refusal, said), said
        assert after == before
        return
    assert said == ""
    assert place.git("rev-parse", "main") == place.new
    for path, seen in before.items():
        if is_on(path):
            check_followed(place, path, seen, after[path])
        else:
            check_left(seen, after[path])


def check_quick_look(place: Place, path: Path, *, whole: bool) -> None:
    """A quick look calls nothing untouched that is dirty for git; of a clean checkout, all but new kinds."""
    changes = changed_paths(open_repository(place.path), place.old, place.new)
    dirt = (*_dirt(path), *hidden_dirt(path, [change.path for change in changes]))
    paths = (PurePosixPath(change.path) for change in changes)
    dirty = {str(p) for p in paths for d in dirt if _touches(PurePosixPath(d), {p}, set(p.parents))}
    quick = {c.path for c in changes if is_untouched(path, git_dir_of(path) / "index", [c])}
    assert quick.isdisjoint(dirty)
    assert not whole or quick == {c.path for c in changes} - {"swap/inner.txt", "nest"}


def check_followed(place: Place, path: Path, before: Seen, after: Seen) -> None:
    def untouched(facts: dict[str, Fact]) -> dict[str, Fact]:
        return {
            n: f for n, f in facts.items() if n not in TOUCHED and not re.match(r"(nest|swap|fresh.txt)/", n)
        }

    assert untouched(after.files) == untouched(before.files)
    marks = [{k: v for k, v in seen.index.items() if k[2:] not in TOUCHED} for seen in (before, after)]
    assert marks[1] == marks[0]
    assert ScratchRepo(path).git("diff-index", "--cached", "--name-only", place.new, "--", *TOUCHED) == ""
    # Nothing that landed looks changed, and what looked changed before still does.
    gone_empty = "an empty folder in the way leaves no trace"
    assert after.status == before.status, gone_empty
    assert after.notes == before.notes
    hidden = {k[2:]: v[0] for k, v in before.index.items() if v[0] != "H" and k[2:] in TOUCHED}
    kept = {k[2:]: v[0] for k, v in after.index.items()}
    assert {n: kept.get(n) for n in hidden if n in kept} == {n: m for n, m in hidden.items() if n in kept}
    for name, lines in after.logs.items():
        fresh = lines[len(before.logs.get(name, [])) :]
        assert not fresh or name.endswith(("HEAD", "heads/main")), name
        assert all(line.endswith(b"\tland") for line in fresh)


def check_left(before: Seen, after: Seen) -> None:
    assert (after.files, after.index, after.notes, after.raw) == (
        before.files, before.index, before.notes, before.raw,
    )  # fmt: skip


def test_a_git_at_work_is_waited_for_and_then_told(place: Place) -> None:
    with busy(place):
        before = look(place.path)

        said = land(place)

        assert "another git is at work" in said
        assert look(place.path) == before


@pytest.mark.parametrize("name", ["_sparse_by_folders", "_sparse_with_a_sparse_index"])
def test_what_is_outside_of_a_sparse_checkout_stays_outside(place: Place, name: str) -> None:
    ROWS[name.strip("_")][0](place)

    assert land(place) == ""

    assert not (place.path / "far").exists()
    marks = place.git("ls-files", "-v", "far").splitlines()
    assert marks == ["S far/away.txt", "S far/new.txt"]
    assert (place.path / "sub/touched.txt").read_text() == "two\n"
    if name.endswith("index"):
        assert "far/" in place.git("ls-files", "--sparse").splitlines()


def test_what_lands_is_written_as_the_settings_want_it(place: Place) -> None:
    ROWS["a_filter"][0](place)
    assert land(place) == ""
    assert (place.path / "touched.txt").read_text() == "ONE\n2\nTHREE\n"
    assert (place.path / "fresh.txt").read_text() == "FRESH\n"


@pytest.mark.skipif(bool(unable()), reason=unable())
def test_a_checkout_on_a_disk_for_reading_is_looked_at_before_anything_moves(place: Place) -> None:
    place.git("checkout", "-qb", "mine")
    disk = place.path.parent / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=True)
    try:
        place.git("worktree", "add", "-q", str(disk / "beside"), "main")
        remount(disk, "ro")
        before = look(disk / "beside")

        said = land(place)

        assert "cannot be written to" in said
        assert place.git("rev-parse", "main") == place.old
        assert look(disk / "beside") == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_refusal_names_all_that_is_in_the_way(place: Place) -> None:
    place.write("touched.txt", "mine\n")
    place.write("fresh.txt", "mine\n")

    refused = in_the_way(open_repository(place.path), MAIN, place.old, place.new)

    assert isinstance(refused, Refused)
    assert refused.paths == ("touched.txt", "fresh.txt")
