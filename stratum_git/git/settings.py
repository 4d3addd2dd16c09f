"""Settings under which what git makes of a file depends on other files than its own and its attributes."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stratum_git.git.process import Git, git_version, settings_folder, settings_sign
from stratum_git.git.repository import Repository

FOLDING = frozenset({"core.ignorecase", "core.precomposeunicode", "core.sparsecheckout"})
"""With these git takes two names for one, or files for left out on purpose."""
MODES = frozenset({"core.filemode", "core.symlinks"})
"""Without these git does not believe what the disk says of a file."""
NO = frozenset({b"false", b"no", b"off", b"0", b""})
YES = frozenset({b"true", b"yes", b"on", b"1"})
TELLS = (2, 42, 0)
"""Git that says where it looks for attributes."""

_lock = threading.Lock()
_known: dict[Path, tuple[tuple[object, ...], Settings]] = {}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the settings of a repository say of files.

    ``is_plain``: each file is by itself to git. ``has_all_modes``: it takes modes and links as they are on
    the disk. ``attributes`` are files with attributes outside of checkouts, be they there or not.
    """

    is_plain: bool
    has_all_modes: bool
    attributes: tuple[Path, ...]


def settings_of(repo: Repository, slot: Path, own: Path) -> Settings | None:
    """Returns what the settings for a worktree say; ``None`` when it has some of its own.

    Git is asked once, and again when the settings have changed.
    """
    if os.path.lexists(own / "info" / "sparse-checkout") or os.path.lexists(own / "config.worktree"):
        return None
    shared = repo.common_dir
    sign = (_sign(shared / "config"), _sign(shared / "config.worktree"), settings_sign(slot))
    with _lock:
        known = _known.get(shared)
        if known is None or known[0] != sign:
            known = _known[shared] = (sign, _asked(slot, shared))
    return known[1]


def _asked(slot: Path, common: Path) -> Settings:
    said = Git(slot).run("config", "--list", "-z").stdout
    rows = (row.partition(b"\n") for row in said.split(b"\0"))
    # A key without a value is true; the last one counts.
    last = {os.fsdecode(key): value if line else b"true" for key, line, value in rows}
    named = {key: last[key].lower() for key in (FOLDING | MODES) & {*last}}
    attributes = _attributes(last)
    return Settings(
        all(named.get(key, b"false") in NO for key in FOLDING),
        attributes is not None and all(named.get(key, b"true") in YES for key in MODES),
        (*(attributes or ()), common / "info" / "attributes"),
    )


def _attributes(settings: Mapping[str, bytes]) -> tuple[Path, ...] | None:
    """Returns the files with attributes for all repositories; ``None`` if they are named in a strange way."""
    named = os.fsdecode(settings.get("core.attributesfile", b""))
    if "core.attributesfile" not in settings:
        return (*_of_the_system(), settings_folder() / "git" / "attributes")
    if named.startswith("/"):
        return (*_of_the_system(), Path(named))
    return (*_of_the_system(), Path(named).expanduser()) if named.startswith("~/") else None


@cache
def _of_the_system() -> tuple[Path, ...]:
    if git_version() >= TELLS:
        said = Git(Path("/")).line("var", "GIT_ATTR_SYSTEM", ok=(0, 1))
        return (Path(said),) if said else ()
    # It is where the system's settings are: in `etc` beside the programs, but for those in `/usr`.
    programs = Path(Git(Path("/")).line("--exec-path"))
    return Path("/etc/gitattributes"), programs.parents[1] / "etc/gitattributes"


def _sign(path: Path) -> tuple[int, int, int] | None:
    with suppress(OSError):
        facts = path.stat()
        return (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return None
