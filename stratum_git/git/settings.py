"""Settings under which what git makes of a file depends on other files than its own and its attributes."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from stratum_git.git.process import Git
from stratum_git.git.repository import Repository

FOLDING = frozenset({"core.ignorecase", "core.precomposeunicode", "core.sparsecheckout"})
"""With these git takes two names for one, or files for left out on purpose."""
NO = frozenset({b"false", b"no", b"off", b"0", b""})

_lock = threading.Lock()
_known: dict[Path, tuple[tuple[tuple[int, int, int] | None, ...], bool]] = {}


def is_plain(repo: Repository, slot: Path, own: Path) -> bool:
    """Returns whether each file of the worktree *slot*, whose git directory is *own*, is by itself to git.

    Git is asked once, and again when the settings of the repository have changed.
    """
    if os.path.lexists(own / "info" / "sparse-checkout") or os.path.lexists(own / "config.worktree"):
        return False
    sign = (_sign(repo.common_dir / "config"), _sign(repo.common_dir / "config.worktree"))
    with _lock:
        known = _known.get(repo.common_dir)
        if known is None or known[0] != sign:
            known = _known[repo.common_dir] = (sign, _asked(slot))
    return known[1]


def _asked(slot: Path) -> bool:
    said = Git(slot).run("config", "--list", "-z").stdout
    rows = (row.partition(b"\n") for row in said.split(b"\0"))
    # A key without a value is true; the last one counts.
    last = {os.fsdecode(key): value.lower() if line else b"true" for key, line, value in rows}
    return all(last.get(key, b"false") in NO for key in FOLDING)


def _sign(path: Path) -> tuple[int, int, int] | None:
    with suppress(OSError):
        facts = path.stat()
        return (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return None
