"""The repository that somebody stands in: where it is, what it points at, who commits."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from stratum_git.errors import HostError, UserError
from stratum_git.git.layout import key_of
from stratum_git.git.process import Git, GitFailed, require_git
from stratum_git.model.ids import Oid, RefName
from stratum_git.model.values import dataclass

SEARCH = re.compile(r"\^\{/|^:|\.\.|[\x00-\x1f]")
LONGEST = 1000
PART = 200
"""Bytes of a part of a branch's name: it becomes the name of a file, and of one for its lock."""
UNSET = "stratum-git", "stratum-git@localhost"


class NotARepository(UserError):  # noqa: N818 - reads as what is the matter
    """The directory is not inside a git repository."""


class BareRepository(UserError):  # noqa: N818
    """The repository has no checkout."""


class UnbornHead(UserError):  # noqa: N818
    """The repository has no commit yet."""


class UnknownRevision(UserError):  # noqa: N818
    """A name that is no commit of the repository."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, seen from one of its checkouts.

    ``root`` is the top of that checkout, ``git_dir`` its own git directory, ``common_dir`` the one that all
    checkouts share. ``key`` names the repository readably and uniquely on this host.
    """

    root: Path
    git_dir: Path
    common_dir: Path
    object_format: Literal["sha1", "sha256"]
    shared_permissions: bool = False

    @property
    def key(self) -> str:
        """Returns a name for folders: the checkout's name, and digits of the common directory's path."""
        return key_of(self.common_dir)

    @property
    def git(self) -> Git:
        """Returns git in the checkout."""
        return Git(self.root)

    @property
    def zero(self) -> str:
        """Returns the object id that stands for nothing."""
        return "0" * (40 if self.object_format == "sha1" else 64)


@dataclass(frozen=True, slots=True)
class Head:
    """What HEAD is: a commit, and the branch it is on; ``None`` when it is detached."""

    oid: Oid
    branch: RefName | None


@dataclass(frozen=True, slots=True)
class Person:
    """A name and an address for commits."""

    name: str
    email: str


def open_repository(cwd: Path) -> Repository:
    """Returns the repository around *cwd*; raises NotARepository or BareRepository."""
    require_git()
    bare, git_dir, common_dir, object_format, *root = _layout(cwd)
    if bare == "true":
        raise BareRepository(f"{git_dir} is a bare repository", hint="run it in a clone that has a checkout")
    if not root:
        raise NotARepository(f"{cwd} is inside of a .git directory", hint="run it in the checkout")
    return Repository(
        root=Path(root[0]),
        git_dir=Path(git_dir),
        common_dir=Path(common_dir),
        object_format="sha256" if object_format == "sha256" else "sha1",
        shared_permissions=shares_permissions(cwd),
    )


def head_of(repo: Repository) -> Head:
    """Returns what HEAD of the checkout is; raises UnbornHead."""
    branch = repo.git.run("symbolic-ref", "-q", "HEAD", ok=(0, 1))
    oid = repo.git.run("rev-parse", "--verify", "-q", "HEAD^{commit}", ok=(0, 1, 128))
    if oid.code != 0:
        hint = "make a first commit"
        raise UnbornHead(f"{repo.root} has no commit yet", hint=hint)
    name = os.fsdecode(branch.stdout).strip()
    return Head(Oid(oid.stdout.decode().strip()), RefName(name) if name else None)


def resolve(repo: Repository, revision: str) -> Oid:
    """Returns the commit that *revision* names; raises UnknownRevision."""
    if SEARCH.search(revision) or len(revision) > LONGEST:
        # It would be looked for in every message of the history, by a pattern that may never come to an end.
        raise UnknownRevision(f"{revision[:100]} is a search, and not the name of a commit")
    asked = ("rev-parse", "--verify", "-q", "--end-of-options", f"{revision}^{{commit}}")
    found = repo.git.run(*asked, ok=(0, 1, 128))
    oid = found.stdout.decode("ascii", "replace").strip()
    if found.code != 0 or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", oid):
        raise UnknownRevision(f"there is no commit called {revision}")
    return Oid(oid)


def identity(repo: Repository) -> Person:
    """Returns who commits here by git's own configuration, or the program itself where nobody is set."""
    said = repo.git.run("var", "GIT_COMMITTER_IDENT", ok=(0, 128), config=("user.useConfigOnly=true",))
    found = re.match(r"(.*?) ?<([^>]*)>", os.fsdecode(said.stdout)) if said.code == 0 else None
    if found is None or not found[1]:
        return Person(*UNSET)
    return Person(found[1], found[2])


def valid_branch(repo: Repository, name: str) -> RefName:
    """Returns the full ref of a branch called *name*; raises UserError for what cannot be one."""
    ref = f"refs/heads/{name.removeprefix('refs/heads/')}"
    long = max(map(len, os.fsencode(ref).split(b"/"))) > PART or len(ref) > LONGEST
    wrong = long or "\0" in ref or ref.startswith("refs/heads/-")
    if wrong or repo.git.run("check-ref-format", ref, ok=(0, 1)).code != 0:
        raise UserError(f"{name[:100]} cannot be the name of a branch")
    return RefName(ref)


def dirty_paths(repo: Repository) -> tuple[str, ...]:
    """Returns the paths of the checkout that differ from HEAD, untracked ones included."""
    asked = ("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal")
    said = repo.git.run(*asked, env={"GIT_OPTIONAL_LOCKS": "0"})
    return tuple(os.fsdecode(row[3:]) for row in said.stdout.split(b"\0") if row)


def _layout(cwd: Path) -> list[str]:
    """Returns what git says of the repository; the fifth answer is missing where there is no checkout."""
    asked = ("--is-bare-repository", "--absolute-git-dir", "--git-common-dir", "--show-object-format")
    said = Git(cwd).run("rev-parse", "--path-format=absolute", *asked, "--show-toplevel", ok=(0, 128))
    lines = os.fsdecode(said.stdout).split("\n")[:-1]
    # Git answers in order and stops at what it cannot answer: only for want of a checkout is that the fifth.
    if said.code == 0 and len(lines) == len(asked) + 1:
        return lines
    if said.code != 0 and len(lines) == len(asked):
        return lines
    if b"not a git repository" in said.stderr:
        hint = "run it inside of a repository, or make one with `git init`"
        raise NotARepository(f"{cwd} is not in a git repository", hint=hint)
    if said.code == 0:
        raise HostError(f"the path of the repository around {cwd} has a line break in it", hint="rename it")
    raise GitFailed(("rev-parse",), said.code, said.stderr)


def shares_permissions(cwd: Path) -> bool:
    """Returns whether a repository is shared by the permissions of its files."""
    said = Git(cwd).run("config", "--get", "core.sharedRepository", ok=(0, 1))
    value = said.stdout.decode("utf-8", "replace").strip().lower()
    return value not in {"", "umask", "false", "no", "off", "0"}
