"""Slots that are overlays, mounted by hand: worktrees whose files lie in a base that nobody writes to."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stratum_git.git.layers import Layer
from stratum_git.git.process import Git
from stratum_git.git.registration import add_worktree
from stratum_git.git.repository import Repository
from stratum_git.git.worktree import check_out, git_dir_of
from stratum_git.model.ids import Oid, RefName

DETACH = 2
OF_ROOT = "redirect_dir=on,metacopy=off,index=off,xino=off"
OF_A_USER = "userxattr"


@dataclass(frozen=True, slots=True)
class Ground:
    """A checkout of ``base`` below which overlays are made, and a template of their indexes."""

    repo: Repository
    place: Path
    base: Oid

    @property
    def lower(self) -> Path:
        return self.place / "base"

    @property
    def template(self) -> Path:
        return self.place / "template"

    @contextmanager
    def slot(self, name: str, branch: str, options: str = OF_ROOT) -> Iterator[tuple[Path, Layer]]:
        """Gives a slot on *branch*, and its layer. Skips where none can be mounted."""
        slot, upper, work = (self.place / f"{name}{end}" for end in ("", "-upper", "-work"))
        for folder in (upper, work):
            folder.mkdir()
        add_worktree(self.repo, slot, base=self.base, reason="a test")
        own = git_dir_of(slot)
        os.link(self.template, own / "index")
        (own / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        self.repo.git.run("update-ref", RefName(f"refs/heads/{branch}"), self.base)
        pointer = (slot / ".git").read_bytes()
        with mounted(slot, self.lower, upper, work, options):
            (slot / ".git").write_bytes(pointer)
            yield slot, Layer(upper, self.template, self.base)


def make_ground(repo: Repository, place: Path, base: Oid) -> Ground:
    """Checks out *base*, for overlays at *place*."""
    place.mkdir(parents=True)
    ground = Ground(repo, place, base)
    add_worktree(repo, ground.lower, base=base, reason="a base")
    check_out(ground.lower, base, None)
    settle(ground.lower)
    shutil.copy2(git_dir_of(ground.lower) / "index", ground.template)
    return ground


def settle(checkout: Path) -> None:
    """Makes files a little older than the index: git would read again what is as new as that."""
    for folder, folders, names in os.walk(checkout):
        if ".git" in folders:
            folders.remove(".git")
        for name in names:
            at = Path(folder, name).lstat().st_mtime - 10
            os.utime(Path(folder, name), (at, at), follow_symlinks=False)
    Git(checkout).run("update-index", "-q", "--refresh")


@contextmanager
def mounted(slot: Path, lower: Path, upper: Path, work: Path, more: str) -> Iterator[None]:
    """Mounts an overlay at *slot* for as long as it is needed."""
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work},{more}"
    if libc.mount(b"overlay", os.fsencode(slot), b"overlay", 0, os.fsencode(options)):
        pytest.skip(f"no overlay can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(slot), DETACH)
