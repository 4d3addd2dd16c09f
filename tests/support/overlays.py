"""Slots that are overlays, mounted by hand: a worktree whose files lie in a base that nobody writes to."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stratum_git.git.layers import Layer
from stratum_git.git.process import Git
from stratum_git.git.registration import add_worktree
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import check_out, git_dir_of
from stratum_git.model.ids import Oid, RefName

DETACH = 2
FIXED = "redirect_dir=off,metacopy=off,index=off"


@contextmanager
def overlay_slot(
    repo: Repository, place: Path, base: Oid, branch: str = "stratum/f/t"
) -> Iterator[tuple[Path, Layer]]:
    """Gives a slot on *branch* at *base* in an overlay, and its layer. Skips where none can be mounted."""
    lower, upper, work, slot = (place / name for name in ("base", "upper", "work", "slot"))
    place.mkdir(parents=True)
    add_worktree(repo, lower, base=base, reason="a base")
    check_out(lower, base, None)
    template = place / "template"
    settle(lower)
    shutil.copy2(git_dir_of(lower) / "index", template)
    for folder in (upper, work):
        folder.mkdir()
    add_worktree(repo, slot, base=base, reason="a test")
    own = git_dir_of(slot)
    os.link(template, own / "index")
    (own / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    repo.git.run("update-ref", RefName(f"refs/heads/{branch}"), base)
    pointer = (slot / ".git").read_bytes()
    with mounted(slot, lower, upper, work):
        (slot / ".git").write_bytes(pointer)
        yield slot, Layer(upper, template, base)


def settle(checkout: Path) -> None:
    """Makes files a little older than the index: git would read again what is as new as that."""
    for folder, _, names in os.walk(checkout):
        for name in (n for n in names if n != ".git"):
            at = Path(folder, name).lstat().st_mtime - 10
            os.utime(Path(folder, name), (at, at), follow_symlinks=False)
    Git(checkout).run("update-index", "-q", "--refresh")


@contextmanager
def mounted(slot: Path, lower: Path, upper: Path, work: Path, more: str = FIXED) -> Iterator[None]:
    """Mounts an overlay at *slot* for as long as it is needed."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work},{more}"
    if libc.mount(b"overlay", os.fsencode(slot), b"overlay", 0, os.fsencode(options)):
        pytest.skip(f"no overlay can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(slot), DETACH)
