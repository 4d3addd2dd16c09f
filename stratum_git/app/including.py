"""Files that git ignores and a new worktree is to have all the same, as ``.worktreeinclude`` names them.

The client copies them where it makes worktrees itself. The file has the form of a ``.gitignore``, and what it
names counts only where git ignores it too.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from stratum_git.git.process import GitFailed
from stratum_git.git.repository import Repository

FILE = ".worktreeinclude"
MOST = 10_000
LARGEST = 512 * 1024 * 1024
"""Files, and bytes of all of them, that are copied."""
NUL = b"\0"


def include(repo: Repository, place: Path) -> str:
    """Copies those files from the checkout of *repo* to *place*; returns why some are missing, if any are.

    What is there already stays.
    """
    if not (repo.root / FILE).is_file():
        return ""
    try:
        names = _named(repo)
    except GitFailed as error:
        return f"nothing of {FILE} was copied: {error.message}"
    size, left = 0, names[MOST:]
    for name in names[:MOST]:
        source, target = repo.root / name, place / name
        try:
            size += source.lstat().st_size
            if size > LARGEST:
                left.append(name)
            elif not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        except OSError:
            left.append(name)
    return f"not copied, of {FILE}: {', '.join(left[:5])}{' ...' if len(left) > 5 else ''}" if left else ""


def _named(repo: Repository) -> list[str]:
    """Returns the files that are named there and ignored by git."""
    asked = ("ls-files", "-z", "--others", "--ignored", f"--exclude-from={repo.root / FILE}")
    named = repo.git.run(*asked).stdout
    if not named:
        return []
    ignored = repo.git.run("check-ignore", "-z", "--stdin", stdin=named, ok=(0, 1)).stdout
    return sorted(os.fsdecode(name) for name in ignored.split(NUL) if name)
