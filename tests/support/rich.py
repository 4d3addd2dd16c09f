"""A repository in which git does with files whatever it can do with files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stratum_git.git.repository import open_repository
from stratum_git.git.worktree import git_dir_of
from stratum_git.model.ids import Oid
from tests.support.overlays import Ground, make_ground
from tests.support.repos import ScratchRepo

ATTRIBUTES = """
*.crlf text eol=crlf
*.auto text=auto
*.ident ident
*.up filter=up
*.wide text working-tree-encoding=UTF-16LE
"""
SETTINGS = ("filter.up.clean=tr a-z A-Z", "filter.up.smudge=tr A-Z a-z")


@contextmanager
def rich_ground(top: Path, *options: str) -> Iterator[Ground]:
    """Gives three commits, a branch ``other`` beside, and a base for overlays; *options* are for ``init``."""
    with pytest.MonkeyPatch.context() as patch:
        for key in ("GIT_AUTHOR", "GIT_COMMITTER"):
            patch.setenv(f"{key}_NAME", "Tess")
            patch.setenv(f"{key}_EMAIL", "tess@x")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        scratch = ScratchRepo.make(top / "repo", *options)
        for setting in SETTINGS:
            scratch.git("config", *setting.split("=", 1))
        scratch.commit("first", {"a.txt": "a\n", "b.txt": "b\n", "dir/c.txt": "c\n", "dir/sub/d.txt": "d\n"})
        scratch.git("branch", "other")
        scratch.commit("second", {"b.txt": "bb\n", "e/f.txt": "f\n", "g.txt": "g\n"})
        fill(scratch)
        repo = open_repository(scratch.path)
        yield make_ground(repo, top / "ground", Oid(scratch.head()))


def fill(scratch: ScratchRepo) -> None:
    """Commits files of all kinds."""
    scratch.write(".gitattributes", ATTRIBUTES)
    scratch.write(".gitignore", "*.o\nbuild/\n!keep.o\n")
    scratch.write("dos.crlf", "one\r\ntwo\r\n")
    scratch.write("x.ident", "$Id$\n")
    scratch.write("loud.up", "loud\n")
    scratch.write("w.wide", "wide\n".encode("utf-16-le"))
    scratch.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    scratch.write("forced.o", "tracked\n")
    scratch.write("build/kept.txt", "tracked, in a folder that is ignored\n")
    scratch.write("was.auto", "one\r\ntwo\r\n")
    (scratch.path / "link").symlink_to("a.txt")
    scratch.git("add", "-A")
    scratch.git("add", "-f", "forced.o", "build/kept.txt")
    raw = scratch.git("hash-object", "-w", "--no-filters", "was.auto")
    scratch.git("update-index", "--cacheinfo", f"100644,{raw},was.auto")
    module = "1" * len(raw)
    scratch.git("update-index", "--add", "--cacheinfo", f"160000,{module},module")
    scratch.git("commit", "-qm", "third")


def by_git(slot: ScratchRepo) -> str:
    """Returns the tree that git makes of a slot, which stays as it is."""
    own = git_dir_of(slot.path)
    shutil.copy2(own / "index", own / "index-of-the-test")
    env = {**os.environ, "GIT_INDEX_FILE": str(own / "index-of-the-test")}
    config = ("-c", "core.excludesFile=/dev/null", "-c", "core.safecrlf=false")
    subprocess.run(["git", *config, "add", "-A"], cwd=slot.path, env=env, check=True, capture_output=True)
    done = subprocess.run(["git", "write-tree"], cwd=slot.path, env=env, check=True, capture_output=True)
    return done.stdout.decode().strip()
