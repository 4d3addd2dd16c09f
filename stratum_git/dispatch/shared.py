"""How the shared checkout looks, to tell afterwards whether somebody changed it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """HEAD, and every path that differs from it, with what the file system says of it."""

    head: str
    paths: dict[str, tuple[str, int, int, int]]

    def differences(self, later: Fingerprint) -> tuple[str, ...]:
        """Returns the paths that are not as they were, HEAD first."""
        moved = ("HEAD",) if self.head != later.head else ()
        names = sorted(self.paths.keys() | later.paths.keys())
        return (*moved, *(n for n in names if self.paths.get(n) != later.paths.get(n)))


def fingerprint(repo: Repository) -> Fingerprint:
    """Returns how the checkout at the repository's root looks now. Ignored files are not looked at."""
    status = Git(repo.root).run(
        "status", "--porcelain=v2", "-z", "--branch", "--untracked-files=all", "--no-renames",
        "--ignore-submodules=none",
    )  # fmt: skip
    head, paths = "", {}
    for record in status.stdout.split(b"\0"):
        line = os.fsdecode(record)
        if line.startswith("# branch.oid "):
            head = line.removeprefix("# branch.oid ")
        elif line and not line.startswith("#"):
            code, path = _entry(line)
            paths[path] = (code, *_look(repo.root / path))
    return Fingerprint(head, paths)


def _entry(line: str) -> tuple[str, str]:
    fields = {"1": 8, "u": 10}.get(line[0], 1)
    parts = line.split(" ", fields)
    return " ".join(parts[:fields]), parts[fields]


def _look(path: os.PathLike[str]) -> tuple[int, int, int]:
    try:
        found = os.lstat(path)
    except OSError:
        return (-1, -1, -1)
    return (found.st_size, found.st_mtime_ns, found.st_mode)
