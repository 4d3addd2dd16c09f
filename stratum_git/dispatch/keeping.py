"""Keeps what an attempt left: on refs what git can hold, beside the attempt's log what it can not.

A ref of an attempt never moves away from work: what it was at gets a ref of its own, named after the commit.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from stratum_git.dispatch.context import Context
from stratum_git.dispatch.names import attempt_ref, former_ref, rest_ref
from stratum_git.errors import HostError
from stratum_git.git.commits import commits_of
from stratum_git.git.files import resolved
from stratum_git.git.process import Git
from stratum_git.git.refs import LostRace, RefUpdate, tip_nowait, transact
from stratum_git.git.repository import Repository
from stratum_git.git.tree_reader import TreeReader, differences
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import FlowId, Json, Oid, RefName, StepId, TaskId
from stratum_git.slots.occupancy import Occupant

LEFT = "left"
"""The folder of an attempt's own that takes what could not be made a commit, at its place in the slot."""
RAW = "raw"
"""The folder of an attempt's own with files as they lay there, where git keeps them in another form."""
IGNORED = "ignored.json"
LISTED = 1000
"""Ignored files and folders that are listed."""
COUNTED = 100_000
"""Files in ignored folders that are counted and measured."""


def ref_of(who: Occupant) -> RefName:
    """Returns the ref of what an attempt left."""
    task = None if who.task is None else TaskId(who.task)
    return attempt_ref(FlowId(who.flow), StepId(who.step), task, who.attempt)


def moves_to(repo: Repository, ref: RefName, oid: Oid) -> Iterator[RefUpdate]:
    """Yields the updates that put *ref* at *oid*; what it is at now stays on a ref."""
    now = tip_nowait(repo, ref)
    if now == oid:
        return
    yield RefUpdate(ref, oid, now)
    if now is not None:
        former = former_ref(ref, now)
        if tip_nowait(repo, former) is None:
            yield RefUpdate(former, now, None)


def keep(repo: Repository, ref: RefName, oid: Oid) -> None:
    """Puts *ref* at *oid*, on the disk; what it was at stays on a ref."""
    answer = transact(repo, list(moves_to(repo, ref, oid)), message="stratum-git", durable=True)
    if isinstance(answer, LostRace):
        hint = "nothing was lost; try again"
        raise HostError(f"{answer.ref} was moved by somebody else meanwhile", hint=hint)


def keep_rest(repo: Repository, who: Occupant, rest: Oid) -> None:
    """Puts what an attempt left besides its files on its ref, unless that is there already."""
    ref = rest_ref(ref_of(who))
    before = tip_nowait(repo, ref)
    if before is None or not _is_same(repo, before, rest):
        keep(repo, ref, rest)


def is_kept(context: Context, refs: Iterable[RefName], result: Oid) -> bool:
    """Returns whether one of *refs* has the files of *result*, which may have been made a commit twice."""
    roots = context.merger.trees
    for ref in refs:
        tip = tip_nowait(context.repo, ref)
        if tip is not None and (tip == result or roots.root(tip) == roots.root(result)):
            return True
    return False


def set_aside(slot: Path, folder: Path, names: Iterable[str]) -> None:
    """Moves what no commit can hold out of *slot*, to its place below ``left`` in *folder*.

    What lies there already, of an attempt with the same number, is not overwritten.
    """
    for name in names:
        source = slot / name
        # A folder may have become a link: what it leads to is not ours to move.
        if os.path.lexists(source) and resolved(source.parent) == (resolved(slot) / name).parent:
            move_aside(source, folder, name)


def move_aside(source: Path, folder: Path, name: str) -> Path:
    """Moves a file or folder to the place called *name* below ``left`` in *folder*, or a further one."""
    place = _free(folder, name)
    for above in reversed([above for above in place.parents if not above.exists()]):
        above.mkdir(mode=0o700)
    _moved(source, place)
    _close_to_others(place)
    return place


def _close_to_others(top: Path) -> None:
    """Takes from everybody else the right to read what is there, and from nobody the right to run it."""
    if top.is_symlink():
        return
    top.chmod(top.stat().st_mode & 0o700)
    for root, folders, files in os.walk(top):
        for path in (Path(root, name) for name in (*folders, *files)):
            # A path may be longer than a path can be; those above keep everybody else out of it.
            with contextlib.suppress(OSError):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode & 0o700)


def set_aside_modules(slot: Path, folder: Path) -> None:
    """Moves the repositories of submodules that have commits which they did not get from elsewhere."""
    modules = git_dir_of(slot) / "modules"
    for head in sorted(modules.rglob("HEAD")):
        place = head.parent
        if (place / "objects").is_dir() and _has_own_commits(place):
            set_aside(modules, folder / "modules", [str(place.relative_to(modules))])


def put_by(folder: Path) -> None:
    """Gives the folder of a former attempt with the same number another name: a flow that goes back has such.

    What is in it, and its log, stay.
    """
    if any(folder.iterdir()):
        folder.rename(folder.with_name(f"old-{folder.name}-{len(former_folders(folder)) + 1}"))
        folder.mkdir(mode=0o700)


def former_folders(folder: Path) -> tuple[Path, ...]:
    """Returns the folders of former attempts with the same number."""
    return tuple(sorted(folder.parent.glob(f"old-{folder.name}-*")))


def set_aside_whole(repo: Repository, slot: Path, folder: Path) -> None:
    """Moves a slot that git cannot read, and copies its index and reflog, which the repository has."""
    entry = repo.common_dir / "worktrees" / slot.name
    if entry.is_dir():
        shutil.copytree(entry, _free(folder, f"{slot.name}.git"), symlinks=True)
    set_aside(slot.parent, folder, [slot.name])


def forget_raw(folder: Path) -> None:
    """Deletes what :func:`keep_raw` copied."""
    shutil.rmtree(folder / RAW, ignore_errors=True)


def keep_raw(slot: Path, folder: Path, trees: TreeReader, base: Oid, result: Oid) -> None:
    """Copies those changed files of *slot* that git keeps in another form: by line ends, or a filter."""
    if result == base:
        return
    for change in differences(trees, trees.root(base), trees.root(result)):
        source = slot / change.path
        if change.new_mode not in {"100644", "100755"} or source.is_symlink() or not source.is_file():
            continue
        if _digest(source, len(change.new)) != change.new:
            place = folder / RAW / change.path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)


def list_ignored(slot: Path, folder: Path, ignored: Iterable[str]) -> None:
    """Writes down which ignored files and folders are in *slot*, with their sizes: they go with it."""
    names = sorted(ignored)
    if not names:
        return
    rows: list[Json] = []
    budget = COUNTED
    for name in names[:LISTED]:
        files, size = _measured(slot / name, budget)
        budget -= files
        rows.append({"path": _shown(name), "files": files, "bytes": size, "is_whole": budget > 0})
    text = json.dumps({"total": len(names), "listed": rows}, indent=1)
    (folder / IGNORED).write_text(text + "\n", encoding="utf-8")


def _is_same(repo: Repository, old: Oid, new: Oid) -> bool:
    both = commits_of(repo, (old, new))
    return both[old].tree == both[new].tree and both[old].parents[1:] == both[new].parents[1:]


def _free(folder: Path, name: str) -> Path:
    number = 1
    while True:
        place = folder / (LEFT if number == 1 else f"{LEFT}-{number}") / name
        if not os.path.lexists(place):
            return place
        number += 1


def _moved(source: Path, place: Path) -> None:
    try:
        source.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The slot is a file system of its own.
        shutil.move(source, place, copy_function=_copied)


def _copied(source: str, place: str) -> str:
    """Copies a file with its facts; of a pipe, a socket or a device, which may have no end, what it is."""
    facts = os.lstat(source)
    if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
        return shutil.copy2(source, place, follow_symlinks=False)
    # Who may not make a device had none of his own there.
    with contextlib.suppress(PermissionError):
        os.mknod(place, stat.S_IFMT(facts.st_mode) | 0o600, facts.st_rdev)
    return place


def _has_own_commits(module: Path) -> bool:
    asked = ("rev-list", "--max-count=1", "--all", "--reflog", "HEAD", "--not", "--remotes", "--tags")
    done = Git(module).run(*asked, env={"GIT_DIR": str(module)}, ok=(0, 128))
    return done.code != 0 or bool(done.stdout)


def _digest(path: Path, width: int) -> str:
    """Returns the id that the bytes of a file would have as a blob."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.new("sha1" if width == 40 else "sha256", usedforsecurity=False)
        digest.update(b"blob %d\0" % size)
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _measured(path: Path, budget: int) -> tuple[int, int]:
    """Returns how many files are at *path* and how large they are; of no more than *budget* files."""
    facts = path.lstat() if os.path.lexists(path) else None
    if facts is None or not stat.S_ISDIR(facts.st_mode):
        return 1, 0 if facts is None else facts.st_size
    files = size = 0
    for root, _, names in os.walk(path):
        for name in names:
            if files >= budget:
                return files, size
            files += 1
            size += (Path(root) / name).lstat().st_size
    return files, size


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
