"""Which paths git ignores, asked of git itself, with the rules of the repository and of nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from stratum_git.git.process import Git

CONFIG = ("core.excludesFile=/dev/null",)
HERE = b"./"


def ignored_among(slot: Path, paths: Iterable[str]) -> frozenset[str]:
    """Returns those of *paths*, none of them tracked, that git ignores, by themselves or with a folder."""
    # A name may begin with a colon, which would be magic; and this git does not take names as they are.
    stdin = b"".join(HERE + os.fsencode(path) + b"\0" for path in paths)
    if not stdin:
        return frozenset()
    # Without the index: to read it takes longer than all the rest, and it knows none of them.
    asked = ("check-ignore", "--no-index", "-z", "--stdin")
    said = Git(slot).run(*asked, stdin=stdin, ok=(0, 1), config=CONFIG).stdout
    return frozenset(os.fsdecode(row.removeprefix(HERE)) for row in said.split(b"\0") if row)
