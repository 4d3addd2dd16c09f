"""Which paths git ignores, asked of git where a rule may match: one of the repository, and of nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository
from stratum_git.git.rules import IGNORING, Surroundings, Unclear

CONFIG = ("core.excludesFile=/dev/null",)
HERE = b"./"


def ignored_among(slot: Path, repo: Repository, paths: Iterable[str]) -> frozenset[str]:
    """Returns those of *paths*, none of them tracked, that git ignores, by themselves or with a folder.

    Without a git where certainly no rule matches one of them.
    """
    around = Surroundings(str(slot), IGNORING, (str(repo.common_dir / "info" / "exclude"),))
    # A name may begin with a colon, which would be magic; and this git does not take names as they are.
    stdin = b"".join(HERE + os.fsencode(path) + b"\0" for path in paths if not _is_clear(around, path))
    if not stdin:
        return frozenset()
    # Without the index: to read it takes longer than all the rest, and it knows none of them.
    asked = ("check-ignore", "--no-index", "-z", "--stdin")
    said = Git(slot).run(*asked, stdin=stdin, ok=(0, 1), config=CONFIG).stdout
    return frozenset(os.fsdecode(row.removeprefix(HERE)) for row in said.split(b"\0") if row)


def _is_clear(around: Surroundings, path: str) -> bool:
    with suppress(Unclear):
        return around.say_nothing(path)
    return False
