"""A repository with a file of every kind that a checkout may make differently, and what git makes of it."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.ids import Oid
from tests.support.repos import ScratchRepo

ATTRIBUTES = """\
*.crlf text eol=crlf
*.shout filter=shout
*.id ident
*.wide text working-tree-encoding=UTF-16LE
*.pointer filter=lfs diff=lfs merge=lfs -text
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d" * 32 + "\nsize 12345\n"
FILES: dict[str, str | bytes] = {
    ".gitattributes": ATTRIBUTES,
    ".gitignore": "*.cache\n/node_modules/\n",
    "a.txt": "a\n",
    "lines.crlf": "one\ntwo\n",
    "loud.shout": "quiet\n",
    "who.id": "$Id$\n",
    "wide.wide": "wide\n".encode("utf-16-le"),
    "big.pointer": POINTER,
    "empty": "",
    "deep/er/and/deeper/file": "deep\n",
    "deep/.gitattributes": "inner.txt eol=crlf\n",
    "deep/inner.txt": "inner\n",
    "new\nline": "in a name\n",
    os.fsdecode(b"caf\xe9"): "latin\n",
    "tool.sh": "#!/bin/sh\n",
}


@dataclass(frozen=True)
class World:
    """A repository with two commits; ``looks`` is what git's own worktree of each has in it."""

    repo: Repository
    scratch: ScratchRepo
    commits: tuple[Oid, Oid]
    looks: tuple[dict[str, object], dict[str, object]]


def make_world(folder: Path) -> World:
    """Makes the repository, and the worktrees that slots are compared with, and removes these."""
    scratch = ScratchRepo.make(folder / "kinds")
    for key, value in {"filter.shout.smudge": "tr a-z A-Z", "filter.shout.clean": "tr A-Z a-z"}.items():
        scratch.git("config", key, value)
    for name, content in FILES.items():
        scratch.write(name, content)
    (scratch.path / "tool.sh").chmod(0o755)
    (scratch.path / "link").symlink_to("deep/er")
    (scratch.path / "dangling").symlink_to("nowhere\nat all")
    scratch.git("add", "-A")
    scratch.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module")
    scratch.git("commit", "-qm", "first")
    first = Oid(scratch.head())
    scratch.write("a.txt", "b\n")
    (scratch.path / "deep/er/and/deeper/file").unlink()
    (scratch.path / "deep/er/and/deeper").rmdir()
    (scratch.path / "deep/er/and").rmdir()
    scratch.write("deep/er/and", "a file now\n")
    scratch.write("loud.shout", "still quiet\n")
    scratch.git("add", "-A", "--", "a.txt", "deep", "loud.shout")
    scratch.git("commit", "-qm", "second")
    commits = first, Oid(scratch.head())
    looks = []
    for number, commit in enumerate(commits):
        place = folder / f"reference-{number}"
        scratch.git("worktree", "add", "-q", "--detach", str(place), commit)
        looks.append(look(place))
        scratch.git("worktree", "remove", "--force", str(place))
    return World(open_repository(scratch.path), scratch, commits, (looks[0], looks[1]))


def look(top: Path) -> dict[str, object]:
    """Returns what is below *top*, but for ``.git``: what kind, who may run it, what is in it."""
    found: dict[str, object] = {}
    for root, folders, names in os.walk(top):
        for path in (Path(root, name) for name in (*folders, *names)):
            at = path.lstat()
            if path == top / ".git":
                continue
            if stat.S_ISLNK(at.st_mode):
                found[str(path.relative_to(top))] = str(path.readlink())
            elif stat.S_ISDIR(at.st_mode):
                found[str(path.relative_to(top))] = "a folder"
            else:
                found[str(path.relative_to(top))] = (at.st_mode & 0o111, path.read_bytes())
    return found


def said(place: Path, *args: str, code: int = 0) -> str:
    """Runs git in a slot as an agent does, with nothing of ours around it, and returns what it said."""
    done = subprocess.run(["git", *args], cwd=place, capture_output=True, check=False)
    assert done.returncode == code, (args, done)
    return os.fsdecode(done.stdout)
