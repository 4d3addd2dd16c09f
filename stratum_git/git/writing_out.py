"""Writes the files of a commit into a folder as they are: no filter, no line ends, no attributes.

Nothing is written outside of the folder, whatever the names in the tree are: an agent can make any tree.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.objects import TreeEntry, read_tree
from stratum_git.git.process import Conversation
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid

LINK, PROGRAM, MODULE = "120000", "100755", "160000"
NOT_NAMES = {"", ".", ".."}


def write_out(repo: Repository, commit: Oid | None, folder: Path, over: Sequence[Path] = ()) -> int:
    """Writes the files of *commit* into *folder*, which is new or empty, and returns how many there are.

    What is in the folders *over* comes on top. Symlinks are made last: nothing is written through one.
    """
    tree = read_tree(repo, commit) if commit is not None else {}
    for path in tree:
        _check(path)
    _made(folder)
    links: dict[str, TreeEntry] = {path: entry for path, entry in tree.items() if entry.mode == LINK}
    asking = repo.git.talk("cat-file", "--batch")
    try:
        for path, entry in tree.items():
            if entry.mode == MODULE:
                _made(folder / path)
            elif entry.mode != LINK:
                _write(folder / path, _blob(asking, entry.oid), is_program=entry.mode == PROGRAM)
        added = sum(_laid_over(top, folder) for top in over if top.is_dir())
        for path, entry in links.items():
            _link(folder / path, _blob(asking, entry.oid))
    finally:
        asking.close()
    return sum(entry.mode != MODULE for entry in tree.values()) + added


def _check(path: str) -> None:
    parts = path.split("/")
    if any(part in NOT_NAMES or part.lower() == ".git" for part in parts):
        raise HostError(f"the commit has a file called {path!r}", hint="look at it with `git ls-tree -r`")


def _blob(asking: Conversation, oid: Oid) -> bytes:
    head = asking.ask_line(f"{oid}\n".encode()).split()
    if len(head) != 3 or not head[2].isdigit():
        raise HostError(f"the object {oid} cannot be read", hint="see `git fsck`")
    size = int(head[2])
    return asking.read(size + 1)[:size]


def _write(path: Path, data: bytes, *, is_program: bool) -> None:
    _made(path.parent)
    handle = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o777 if is_program else 0o666
    )
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _link(path: Path, target: bytes) -> None:
    if os.path.lexists(path):
        return
    _made(path.parent)
    path.symlink_to(os.fsdecode(target))


def _laid_over(top: Path, folder: Path) -> int:
    """Copies everything below *top* to its place in *folder*; returns how many files are new there."""
    new = 0
    for root, folders, names in os.walk(top):
        here = folder / os.path.relpath(root, top)
        _made(here)
        for name in (*names, *(name for name in folders if (Path(root) / name).is_symlink())):
            new += not os.path.lexists(here / name)
            if os.path.lexists(here / name):
                (here / name).unlink()
            shutil.copy2(Path(root) / name, here / name, follow_symlinks=False)
    return new


def _made(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
