"""Makes a commit of whatever lies in a slot: staged, unstaged, untracked, half merged.

What a commit cannot hold is told: repositories inside of the slot, and files that git could not read.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.diff import changed_paths
from stratum_git.git.index import reveal
from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.process import Git, GitFailed
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid

STATUS = (
    "status", "--porcelain=v2", "-z", "--branch", "--no-renames", "--untracked-files=normal",
    "--ignore-submodules=none", "--no-ahead-behind",
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
)


@dataclass(frozen=True, slots=True)
class Captured:
    """What a slot holds: ``head`` is its HEAD, ``result`` the commit with everything, HEAD if that was all.

    ``unfinished`` names a merge, rebase or the like that was under way. ``embedded`` are git repositories
    inside of the slot that changed: git records only their HEAD, not their files. ``unsaved`` are paths that
    git could not record, such as files it may not read. ``paths`` are those that differ from the base.
    """

    head: Oid
    result: Oid
    dirty: bool
    paths: tuple[str, ...] = ()
    unfinished: str | None = None
    embedded: tuple[str, ...] = ()
    unsaved: tuple[str, ...] = ()


def capture(
    slot: Path,
    *,
    base: Oid,
    writer: ObjectWriter,
    message: str,
    author: Signature,
    committer: Signature,
    trees: TreeReader | None = None,
) -> Captured:
    """Returns the work in *slot* as a commit. Commits of the agent stay as they are, below it.

    One git process when nothing happened, three for uncommitted work, one more without *trees*; what the
    result has that *base* has not is on the disk after the writer's sync, the agent's own commits included.
    """
    git, unfinished = Git(slot), _unfinished(slot)
    with _index(slot) as env:
        index = Path(env.get("GIT_INDEX_FILE", git_dir_of(slot) / "index"))
        reveal(slot, index, len(base) // 2, env)
        head, changes = _status(slot, env)
        head = head or base
        if not changes:
            paths = _differences(writer, trees, base, head, head)
            return Captured(head, head, dirty=False, paths=paths, unfinished=unfinished)
        left = () if _added(git, env, changes) else _left(_status(slot, env)[1])
        tree = Oid(os.fsdecode(git.run("write-tree", env=env).stdout).strip())
    result = writer.commit(tree, (head,), message, author, committer)
    writer.owe_objects([tree])
    paths = _differences(writer, trees, base, head, result)
    embedded = _embedded(slot, changes)
    unsaved = tuple(path for path in left if path not in embedded)
    return Captured(
        head,
        result,
        dirty=True,
        paths=paths,
        unfinished=unfinished,
        embedded=embedded,
        unsaved=unsaved,
    )


def _differences(
    writer: ObjectWriter, trees: TreeReader | None, base: Oid, head: Oid, result: Oid
) -> tuple[str, ...]:
    """Returns the paths in which *result* differs from *base*, and sees to it that all of it is flushed."""
    if result == base:
        return ()
    if trees is None:
        changes = changed_paths(writer.repo, base, result, folders=True)
    else:
        changes = tuple(differences(trees, trees.root(base), trees.root(result)))
    if head == base:
        # All that is new lies in the difference; what an agent committed may hold more than its end shows.
        writer.owe_objects(change.new for change in changes if change.new != writer.repo.zero)
    else:
        writer.owe(result, base)
    return tuple(change.path for change in changes if not change.is_folder)


def _added(git: Git, env: dict[str, str], changes: tuple[str, ...]) -> bool:
    """Adds everything that can be added to the index; returns whether that was all."""
    asked: tuple[str, ...] = ("add", "-A", "--ignore-errors")
    stdin, named = b"", env
    # What is staged and not changed since is in the index, and may be nowhere else.
    paths = [os.fsencode(_path_of(line)) for line in changes if line[0] != "1" or line[3] != "."]
    if not paths:
        return True
    if len(paths) <= NAMED:
        # What status found, by name: otherwise git would look at the whole checkout once more.
        asked, named = (*asked, *LISTED), {**env, **LITERAL}
        stdin = b"\0".join(paths)
    done = git.run(*asked, ok=(0, 1, FATAL), stdin=stdin, config=CONFIG, env=named)
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
def _index(slot: Path) -> Iterator[dict[str, str]]:
    """Gives the environment for the slot's index, or for a copy when a killed git left its lock behind."""
    folder = git_dir_of(slot)
    if not (folder / "index.lock").exists():
        yield {}
        return
    private = folder / f"index-{secrets.token_hex(4)}"
    if (folder / "index").exists():
        shutil.copy2(folder / "index", private)
    try:
        yield {"GIT_INDEX_FILE": str(private)}
    finally:
        private.unlink(missing_ok=True)


def _status(slot: Path, env: dict[str, str]) -> tuple[Oid | None, tuple[str, ...]]:
    head, changes = None, []
    for record in Git(slot).run(*STATUS, config=CONFIG, env=env).stdout.split(b"\0"):
        line = os.fsdecode(record)
        if line.startswith("# branch.oid "):
            oid = line.removeprefix("# branch.oid ")
            head = None if oid == "(initial)" else Oid(oid)
        elif line and not line.startswith("#"):
            changes.append(line)
    return head, tuple(changes)


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
