"""The repository's entries for worktrees: they come whole, so that no git trips over half of one.

``git worktree add`` fills its entry file by file, where every git looks. Whoever lists worktrees meanwhile,
or moves a branch by name, dies of it ("failed to read .../commondir"), and for ever when that git was killed.
Here an entry is made beside the others and renamed to its place: nobody sees half of one. How it goes is
``deregistration.py``. What others left half-made is not looked at. ``git worktree prune`` is never run: it
deletes the entry of any worktree that it cannot see at that moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.files import read_pointer, resolved
from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass

WORKSHOP = "stratum/entries"
"""The folder in the common directory where entries are made and deleted, and indexes for the next ones."""
ATTEMPTS = 20
BRANCH = "ref: "
TAKEN = {errno.ENOTEMPTY, errno.EEXIST}


@dataclass(frozen=True, slots=True)
class Listed:
    """A worktree that the repository knows of."""

    path: Path
    head: Oid | None
    branch: RefName | None
    locked: str | None


def add_worktree(repo: Repository, path: Path, *, base: Oid, reason: str) -> None:
    """Makes an empty worktree at *path*, locked and detached at *base*.

    Where git has to do it, the caller's lock keeps two of ours apart.
    """
    if needs_git(repo):
        words = ("--no-checkout", "--detach", "--lock", "--reason", reason, "--", str(path), base)
        repo.git.run("worktree", "add", *words)
        _take_whole(path)
        return
    path.mkdir(parents=True, mode=0o700)
    marker = resolved(path) / ".git"
    _write(marker, f"gitdir: {_entry(repo, marker, base=base, reason=reason, index=None)}\n")


def add_apart(
    repo: Repository,
    path: Path,
    files: Path,
    *,
    base: Oid,
    reason: str,
    index: Path,
    ahead: Path | None = None,
) -> None:
    """Registers a worktree whose files lie in *files*, an empty folder, until they are mounted at *path*.

    It is locked and detached at *base*, and its index is a copy of *index*: the one that was made *ahead*, if
    there is. A caller's lock keeps two of ours apart where git has to do it.
    """
    marker = resolved(path.parent) / path.name / ".git"
    if not needs_git(repo):
        entry = _entry(repo, marker, base=base, reason=reason, index=index, ahead=ahead)
        _write(files / ".git", f"gitdir: {entry}\n")
        return
    words = ("--no-checkout", "--detach", "--lock", "--reason", reason, "--", str(files), base)
    repo.git.run("worktree", "add", *words)
    _take_whole(files)
    entry = resolved(files / read_pointer(files / ".git").removeprefix("gitdir: "))
    copy_whole(index, entry / "index")
    # In one rename: until then it is the entry of a worktree that is there as well.
    _write(entry / "gitdir.new", f"{marker}\n")
    (entry / "gitdir.new").replace(entry / "gitdir")


def copy_whole(source: Path, target: Path) -> None:
    """Copies a file in the kernel, which shares its blocks where it can; *target* is new or written over."""
    with source.open("rb") as file, target.open("wb") as copy:
        left = os.fstat(file.fileno()).st_size
        try:
            while left and (done := os.copy_file_range(file.fileno(), copy.fileno(), left)):
                left -= done
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise
        if left:
            shutil.copyfileobj(file, copy)


def copied_ahead(repo: Repository, index: Path) -> Path:
    """Returns a copy of an index for an entry to come, which lies where it can be renamed from.

    Who wants it to stay is in the :func:`workshop` meanwhile.
    """
    copy = repo.common_dir / WORKSHOP / f"index-{secrets.token_hex(6)}"
    copy_whole(index, copy)
    return copy


def _entry(
    repo: Repository,
    marker: Path,
    *,
    base: Oid,
    reason: str,
    index: Path | None,
    ahead: Path | None = None,
) -> Path:
    """Makes an entry for the worktree whose ``.git`` is *marker*, and returns it."""
    with workshop(repo) as folder:
        fresh = folder / f"new-{secrets.token_hex(6)}"
        fresh.mkdir()
        for name, text in {"HEAD": base, "commondir": "../..", "gitdir": marker, "locked": reason}.items():
            _write(fresh / name, f"{text}\n")
        if ahead is not None:
            with contextlib.suppress(FileNotFoundError):
                ahead.rename(fresh / "index")
                index = None
        if index is not None:
            copy_whole(index, fresh / "index")
        return _put(repo, fresh, re.sub(r"[^A-Za-z0-9_-]", "-", marker.parent.name))


def _take_whole(path: Path) -> None:
    """Makes a new worktree one with every file: git gives it what the user's own checkout leaves out."""
    entry = resolved(path / read_pointer(path / ".git").removeprefix("gitdir: "))
    settings = entry / "config.worktree"
    for name in (
        ("core.sparseCheckout", "core.sparseCheckoutCone", "index.sparse") if settings.exists() else ()
    ):
        Git(path).run("config", "--file", str(settings), "--unset-all", name, ok=(0, 5))
    (entry / "info/sparse-checkout").unlink(missing_ok=True)


def place_of(marker: Path) -> Path | None:
    """Returns the worktree that a registration is for; ``None`` for one that is being made or dropped."""
    text = ""
    with contextlib.suppress(OSError):
        text = read_pointer(marker)
    # It may be relative to the entry (git 2.48 and later, worktree.useRelativePaths).
    return resolved(marker.parent / text).parent if text else None


def checked_out(repo: Repository) -> dict[Path, RefName]:
    """Returns the worktrees that are on a branch, and which: what git would list, had it not to read all."""
    if (repo.common_dir / "reftable").exists():
        return {listed.path: listed.branch for listed in list_worktrees(repo) if listed.branch is not None}
    own = repo.common_dir
    places: dict[Path, Path | None] = {own: own.parent if own.name == ".git" else own}
    places |= {marker.parent: place_of(marker) for marker in (own / "worktrees").glob("*/gitdir")}
    places[repo.git_dir] = repo.root
    found = ((place, branch_at(entry)) for entry, place in places.items())
    return {place: branch for place, branch in found if place is not None and branch is not None}


def branch_at(entry: Path) -> RefName | None:
    """Returns the branch that the HEAD in a git directory is on."""
    head = entry / "HEAD"
    with contextlib.suppress(OSError):
        if head.is_symlink():
            # As git did it once, and does where core.preferSymlinkRefs is set.
            return RefName(str(head.readlink()))
        text = read_pointer(head)
        if text.startswith(BRANCH):
            return RefName(text.removeprefix(BRANCH).strip())
    return None


def list_worktrees(repo: Repository) -> tuple[Listed, ...]:
    """Returns every worktree of the repository, the main one first."""
    out = repo.git.run("worktree", "list", "--porcelain", "-z").stdout
    rows = (block.split(b"\0") for block in out.split(b"\0\0") if block.strip(b"\0"))
    return tuple(_listed([os.fsdecode(line) for line in row if line]) for row in rows)


def needs_git(repo: Repository) -> bool:
    """Returns whether an entry has more to it here than the four files that every git makes."""
    is_reftable = (repo.common_dir / "reftable").exists()
    return is_reftable or (repo.git_dir / "config.worktree").exists() or repo.shared_permissions


def _put(repo: Repository, fresh: Path, name: str) -> Path:
    """Renames an entry to its place among the others, and returns that."""
    folder = repo.common_dir / "worktrees"
    entry = folder / name
    for number in range(ATTEMPTS):
        # Git removes the folder when the last entry goes, so it may be gone at any time.
        folder.mkdir(exist_ok=True)
        entry = folder / (f"{name}{number}" if number else name)
        with contextlib.suppress(FileNotFoundError):
            try:
                fresh.rename(entry)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
            else:
                return entry
    raise HostError(f"the worktree {entry.name} could not be registered", hint="see .git/worktrees")


@contextlib.contextmanager
def workshop(repo: Repository) -> Iterator[Path]:
    """Gives the folder in which entries are made; what lies there is not swept meanwhile."""
    folder = repo.common_dir / WORKSHOP
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, fcntl.LOCK_SH):
        yield folder


@contextlib.contextmanager
def locked(folder: Path, how: int) -> Iterator[bool]:
    """Holds the lock of *folder*, which ends with its process; says whether it could be had."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _could(handle, how)
    finally:
        os.close(handle)


def _could(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, text: str) -> None:
    path.write_bytes(os.fsencode(text))


def _listed(lines: list[str]) -> Listed:
    facts = {key: value for key, _, value in (line.partition(" ") for line in lines)}
    branch = facts.get("branch")
    head = facts.get("HEAD")
    return Listed(
        path=Path(facts.get("worktree", "")),
        head=None if head is None else Oid(head),
        branch=None if branch is None else RefName(branch),
        locked=facts.get("locked"),
    )
