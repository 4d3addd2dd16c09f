"""Makes a commit of whatever lies in a slot: staged, unstaged, untracked, half merged.

What a commit cannot hold is told: repositories inside of the slot, and files that git could not read.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.diff import FOLDER, Change, changed_paths
from stratum_git.git.index import Marks, reveal
from stratum_git.git.layered import Work, work_in
from stratum_git.git.layers import Layer
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import Git, GitFailed
from stratum_git.git.remains import GITLINK, Left, overwritten, remains
from stratum_git.git.restaged import ABSENT, tree_of
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid
from stratum_git.model.values import dataclass

STATUS = (
    "status", "--porcelain=v2", "-z", "--branch", "--no-renames",
    "--ignore-submodules=none", "--no-ahead-behind", "--ignored=matching",
)  # fmt: skip

CONFIG = (
    # What the developer ignores for all repositories is no rule of this one: an agent's work may match it.
    "core.excludesFile=/dev/null",
    "core.safecrlf=false",
    "advice.addEmbeddedRepo=false",
)

NAMED = 200
"""Changes up to which they are named to git. It compares each with every file, so more would take longer."""
LISTED = ("--pathspec-from-file=-", "--pathspec-file-nul")
LITERAL = {"GIT_LITERAL_PATHSPECS": "1"}

FATAL = 128
"""What git exits with when it gave up."""

STATES = (
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
    ("sequencer", "cherry-pick"),
)


@dataclass(frozen=True, slots=True)
class Captured:
    """What a slot holds: ``head`` is its HEAD, ``result`` the commit with everything, HEAD if that was all.

    ``unfinished`` names a merge, rebase or the like that was under way. ``embedded`` are git repositories
    inside of the slot that changed: git records only their HEAD, not their files. ``unsaved`` are paths that
    git could not record, such as files it may not read. ``paths`` are those that differ from the base, and
    ``links`` repositories that an agent recorded, or made around files of this one. ``ignored`` is no work.
    ``rest`` is a commit of what was there besides the files, see :func:`~stratum_git.git.remains.remains`.
    ``secrets`` says where something was that must not be in a commit. ``mended``: it had to be made one again
    that git can read, and of its files nobody can tell which were deleted with it.
    """

    head: Oid
    result: Oid
    dirty: bool
    paths: tuple[str, ...] = ()
    unfinished: str | None = None
    embedded: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    rest: Oid | None = None
    secrets: tuple[str, ...] = ()
    mended: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """What status says of a slot."""

    head: Oid | None
    changes: tuple[str, ...]
    ignored: tuple[str, ...]
    is_whole: bool


class UnreadableSlot(HostError):  # noqa: N818 - reads as what is the matter
    """Git cannot read a slot: whatever is in it can be kept as files alone."""


def capture(  # noqa: PLR0913 - what a commit is made of, and how careful to be
    slot: Path,
    *,
    base: Oid,
    writer: ObjectWriter,
    message: str,
    author: Signature,
    committer: Signature,
    trees: TreeReader | None = None,
    others: Iterable[Oid] = (),
    afresh: bool = False,
    aside: bool = False,
    layer: Layer | None = None,
) -> Captured:
    """Returns the work in *slot* as a commit. Commits of the agent stay as they are, below it.

    One git process when nothing happened, three for uncommitted work, one more without *trees*, some more
    when there is a rest; what the result and the rest have that *base* has not is on the disk after the
    writer's sync, the agent's own commits included. With *trees*, and the *layer* in which the slot's changes
    lie, one less, and nothing else is looked at. *others* are further commits that belong to the attempt.
    *afresh*, git reads every file again: what it had written of them was deleted. *aside*, the slot's index
    stays as it is: somebody is at work there. Raises UnreadableSlot.
    """
    unfinished = _unfinished(slot)
    late, sure = writer.deferring(), None if afresh else trees
    seen = None if layer is None or sure is None else work_in(slot, layer, late, sure)
    if seen is None:
        with _index(slot, aside=aside) as env:
            seen = _looked_at(slot, base, env, late, sure, afresh=afresh)
    head, tree = seen.head, seen.tree
    result = head if tree is None else late.commit(tree, (head,), message, author, committer)
    late.sync()
    changes = _differences(writer, trees, base, seen, result)
    embedded = _embedded(slot, seen.changes)
    found = Left(base, head, result, seen.changes, frozenset(others))
    said = message.partition("\n")[0] + "\n\nWhat was there besides the files.\n"
    return Captured(
        head,
        result,
        dirty=tree is not None,
        paths=tuple(change.path for change in changes if not change.is_folder),
        unfinished=unfinished,
        embedded=embedded,
        unsaved=tuple(path for path in seen.left if path not in embedded),
        links=_links(slot, changes, embedded),
        ignored=seen.ignored,
        rest=remains(slot, found, writer, message=said, author=author, committer=committer),
    )


def _looked_at(
    slot: Path,
    base: Oid,
    env: dict[str, str],
    writer: ObjectWriter,
    trees: TreeReader | None,
    *,
    afresh: bool,
) -> Work:
    """Returns what git finds when it looks at everything."""
    index = Path(env.get("GIT_INDEX_FILE", git_dir_of(slot) / "index"))
    seen = _seen(slot, index, len(base) // 2, env)
    head = seen.head or base
    if not seen.changes:
        return Work(head, None, ignored=seen.ignored)
    if trees is not None and seen.head is not None:
        tree = tree_of(slot, head, seen.changes, writer, trees)
        if tree is not None:
            return Work(head, tree, seen.changes, seen.ignored)
    tree, left = _recorded(slot, env, seen.changes, afresh=afresh)
    return Work(head, tree, seen.changes, seen.ignored, left, is_ours=False)


def _seen(slot: Path, index: Path, width: int, env: dict[str, str]) -> _Seen:
    """Returns what status says, with nothing hidden from it that it can be shown."""
    marks = Marks(index, width)
    try:
        seen = _status(slot, env)
        if marks.may_hide() and reveal(slot, env):
            seen = _status(slot, env)
    except GitFailed:
        seen = _without_index(slot, index, env)
    if not seen.is_whole:
        _open_up(slot)
        seen = _status(slot, env)
    if any(line.startswith("? ") and line.endswith("/") for line in seen.changes):
        # A repository lies there: it is told with the whole of the folder that it came with.
        seen = _status(slot, env, "normal")
    return seen


def _without_index(slot: Path, index: Path, env: dict[str, str]) -> _Seen:
    """Returns what status says once an index that git cannot read has been made again from HEAD."""
    try:
        with suppress(FileNotFoundError):
            index.rename(index.with_name("index.damaged"))
        Git(slot).run("read-tree", "HEAD", env=env)
        return _status(slot, env)
    except GitFailed as error:
        raise UnreadableSlot(f"git cannot read the slot {slot}: {error.message}") from error


def _open_up(top: Path) -> None:
    """Gives back the right to read what an agent took it from: git passes over what it cannot look into."""
    top.chmod(top.stat().st_mode | 0o700)
    for root, folders, _ in os.walk(top):
        for path in (Path(root, name) for name in folders):
            # A path may be longer than a path can be; what git can not look into then, it says.
            with suppress(OSError):
                if not path.is_symlink() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                    path.chmod(path.stat().st_mode | 0o700)


def _recorded(
    slot: Path, env: dict[str, str], changes: tuple[str, ...], *, afresh: bool
) -> tuple[Oid, tuple[str, ...]]:
    """Returns the tree of the slot as it lies there, and the paths that could not be taken in."""
    # What is staged and was changed since may be nowhere else: that index is left as it is.
    with _copied(slot, env) if afresh or overwritten(changes) else _given(env) as own:
        if afresh:
            Git(slot).run("read-tree", "HEAD", env=own)
        is_whole = _added(Git(slot), own, changes, every=afresh)
        left = () if is_whole else _left(_status(slot, own).changes)
        tree = Git(slot).run("write-tree", env=own).stdout
    return Oid(os.fsdecode(tree).strip()), left


def _differences(
    writer: ObjectWriter, trees: TreeReader | None, base: Oid, seen: Work, result: Oid
) -> tuple[Change, ...]:
    """Returns how *result* differs from *base*, and sees to it that all of it is flushed."""
    if seen.tree is not None and not seen.is_ours:
        writer.owe_objects([seen.tree])
    if result == base:
        return ()
    if trees is None:
        changes = changed_paths(writer.repo, base, result, folders=True)
    else:
        changes = tuple(differences(trees, trees.root(base), seen.tree or trees.root(result)))
    if seen.head == base:
        # All that is new lies in the difference; what an agent committed may hold more than its end shows.
        # The commit of a repository inside of the slot is in that one.
        writer.owe_objects(_made(seen, changes))
    elif seen.is_ours and trees is not None:
        # Of the result git need not know yet: what it has more than HEAD lies in the difference of these.
        more = () if seen.tree is None else differences(trees, trees.root(seen.head), seen.tree)
        writer.owe_objects(_made(seen, more))
        writer.owe(seen.head, base)
    else:
        writer.owe(result, base)
    return changes


def _made(seen: Work, changes: Iterable[Change]) -> Iterator[Oid]:
    """Yields the objects of a difference that this program did not write."""
    made = (change for change in changes if change.new_mode not in {ABSENT, GITLINK})
    return (change.new for change in made if not (seen.is_ours and change.is_folder))


def _links(slot: Path, changes: tuple[Change, ...], embedded: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the repositories inside of the slot that a commit names, or that were made around its files."""
    known = {path.rstrip("/") for path in embedded}
    links = (change.path for change in changes if change.new_mode == GITLINK and change.path not in known)
    around = (f"{change.path}/.git" for change in changes if change.new_mode == FOLDER)
    return (*(path for path in links if (slot / path / ".git").exists()), *inner_repositories(slot, around))


def inner_repositories(slot: Path, markers: Iterable[str]) -> tuple[str, ...]:
    """Returns those of *markers*, paths that end in ``.git``, that are there: git looks past them."""
    top = str(slot)
    # Strings: there may be ten thousand folders, and hardly ever a repository in one.
    return tuple(marker for marker in markers if os.path.lexists(f"{top}/{marker}"))


def _added(git: Git, env: dict[str, str], changes: tuple[str, ...], *, every: bool = False) -> bool:
    """Adds everything that can be added to the index; returns whether that was all."""
    asked: tuple[str, ...] = ("add", "-A", "--ignore-errors")
    stdin, named = b"", env
    # What is staged and not changed since is in the index, and may be nowhere else.
    paths = [os.fsencode(_path_of(line)) for line in changes if line[0] != "1" or line[3] != "."]
    if not paths and not every:
        return True
    if len(paths) <= NAMED and not every:
        # What status found, by name: otherwise git would look at the whole checkout once more.
        asked, named = (*asked, *LISTED), {**env, **LITERAL}
        stdin = b"\0".join(paths)
    done = git.run(*asked, ok=(0, 1, FATAL), stdin=stdin, config=CONFIG, env=named)
    if b"beyond a symbolic link" in done.stderr:
        # A folder became a link: git takes no name below it, and sees by itself that what was there is gone.
        done = git.run("add", "-A", "--ignore-errors", ok=(0, 1, FATAL), config=CONFIG, env=env)
    if done.code != FATAL:
        return done.code == 0
    if b"filter '" not in done.stderr:
        raise GitFailed(("add", "-A"), done.code, done.stderr)
    # A filter that must not fail, and did, ends git before anything is written: leave out that file alone.
    kinds = ("--modified", "--deleted", "--others", "--exclude-standard")
    rows = git.run("ls-files", "-z", *kinds, config=CONFIG, env=env).stdout.split(b"\0")
    _add_each(git, env, sorted({row for row in rows if row}))
    return False


def _add_each(git: Git, env: dict[str, str], paths: list[bytes]) -> None:
    """Adds paths, and where some cannot be added, each half of them."""
    stdin = b"\0".join(paths)
    done = git.run("add", "-A", *LISTED, ok=(0, 1, FATAL), stdin=stdin, config=CONFIG, env={**env, **LITERAL})
    if done.code and len(paths) > 1:
        middle = len(paths) // 2
        _add_each(git, env, paths[:middle])
        _add_each(git, env, paths[middle:])


@contextmanager
def _index(slot: Path, *, aside: bool) -> Iterator[dict[str, str]]:
    """Gives the environment for the slot's index, or for a copy when a killed git left its lock behind."""
    stuck = aside or (git_dir_of(slot) / "index.lock").exists()
    with _copied(slot, {}) if stuck else _given({}) as env:
        yield env


@contextmanager
def _given(env: dict[str, str]) -> Iterator[dict[str, str]]:
    yield env


@contextmanager
def _copied(slot: Path, env: dict[str, str]) -> Iterator[dict[str, str]]:
    """Gives the environment for a copy of the index that *env* is for."""
    folder = git_dir_of(slot)
    source, private = (
        Path(env.get("GIT_INDEX_FILE", folder / "index")),
        folder / f"index-{secrets.token_hex(4)}",
    )
    if source.exists():
        shutil.copy2(source, private)
    try:
        yield {"GIT_INDEX_FILE": str(private)}
    finally:
        private.unlink(missing_ok=True)


def _status(slot: Path, env: dict[str, str], untracked: str = "all") -> _Seen:
    head, changes, ignored = None, [], []
    done = Git(slot).run(*STATUS, f"--untracked-files={untracked}", config=CONFIG, env=env)
    for record in done.stdout.split(b"\0"):
        line = os.fsdecode(record)
        if line.startswith("# branch.oid "):
            oid = line.removeprefix("# branch.oid ")
            head = None if oid == "(initial)" else Oid(oid)
        elif line.startswith("! "):
            ignored.append(line[2:])
        elif line and not line.startswith("#"):
            changes.append(line)
    # It warns of what it may not look into, and of hardly anything else.
    return _Seen(head, tuple(changes), tuple(ignored), is_whole=not done.stderr)


def _unfinished(slot: Path) -> str | None:
    folder = git_dir_of(slot)
    return next((word for name, word in STATES if (folder / name).exists()), None)


def _embedded(slot: Path, changes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the repositories inside of the slot that changed, registered submodules among them."""
    modules = tuple(line.split(" ", 8)[8] for line in changes if line.startswith("1 ") and line[5] == "S")
    folders = (line[2:] for line in changes if line.startswith("? ") and line.endswith("/"))
    return (*(folder for folder in folders if any((slot / folder).rglob(".git"))), *modules)


def _left(changes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns what differs from the index even after everything was added to it."""
    files = (line for line in changes if line.startswith("? ") or (line[0] == "1" and line[3] != "."))
    return tuple(map(_path_of, files))


def _path_of(line: str) -> str:
    """Returns the path of a line of status: it comes after the fields of its kind."""
    fields = {"1": 8, "u": 10, "?": 1}[line[0]]
    return line.split(" ", fields)[fields]
