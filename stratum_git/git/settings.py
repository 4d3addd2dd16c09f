"""Settings under which what git makes of a file depends on other files than its own and its attributes."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeAlias

from stratum_git.git.process import Git, git_version, settings_folder
from stratum_git.git.repository import Repository
from stratum_git.model.values import dataclass

FOLDING = frozenset({"core.ignorecase", "core.precomposeunicode", "core.sparsecheckout"})
"""With these git takes two names for one, or files for left out on purpose."""
MODES = frozenset({"core.filemode", "core.symlinks"})
"""Without these git does not believe what the disk says of a file."""
NO = frozenset({b"false", b"no", b"off", b"0", b""})
YES = frozenset({b"true", b"yes", b"on", b"1"})
OTHER = "attr.tree"
"""With it git reads attributes in a commit, and none that lie beside the files."""
TELLS = (2, 42, 0)
"""Git that says where it looks for attributes."""
INCLUDING = re.compile(rb"include(?:if\..*)?\.path", re.DOTALL)
FILE = b"file:"

FileSign: TypeAlias = tuple[int, int, int]

_lock = threading.Lock()
_known: dict[Path, _Known] = {}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the settings of a repository say of files.

    ``is_plain``: each file is by itself to git. ``has_all_modes``: it takes modes and links as they are on
    the disk. ``attributes`` are files with attributes outside of checkouts, be they there or not.
    """

    is_plain: bool
    has_all_modes: bool
    attributes: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What git said. ``differs``: other worktrees, or branches, may have other settings."""

    files: tuple[Path, ...]
    differs: bool
    sign: tuple[object, ...]
    settings: Settings


def settings_of(repo: Repository, slot: Path, own: Path) -> Settings | None:
    """Returns what the settings for a worktree say; ``None`` when it has some of its own.

    Git is asked once, and again when one of the files changed that they are from, or would be from.
    """
    if os.path.lexists(own / "info" / "sparse-checkout") or os.path.lexists(own / "config.worktree"):
        return None
    shared = repo.common_dir
    with _lock:
        known = _known.get(shared)
        if known is None or known.sign != _signs(known.files, own, differs=known.differs):
            known = _known[shared] = _asked(slot, own, shared)
    return known.settings


def settings_sources(listed: Sequence[bytes], cwd: Path) -> tuple[Path, ...]:
    """Returns the files that settings are from, or would be from if they were there.

    *listed* is what ``git config --list -z --show-origin`` said in *cwd*, in turn where from, and what.
    """
    home = Path("~/.gitconfig").expanduser()
    found = dict.fromkeys((home, settings_folder() / "git" / "config", Path("/etc/gitconfig")))
    for origin, row in zip(listed[::2], listed[1::2], strict=False):
        if origin.startswith(FILE):
            place = cwd / os.fsdecode(origin.removeprefix(FILE))
            found[place] = None
            key, _, value = row.partition(b"\n")
            if INCLUDING.fullmatch(key):
                found[place.parent / os.path.expanduser(os.fsdecode(value))] = None  # noqa: PTH111 - any text
    return tuple(found)


def _asked(slot: Path, own: Path, common: Path) -> _Known:
    listed = Git(slot).run("config", "--list", "-z", "--show-origin").stdout.split(b"\0")
    rows = [row.partition(b"\n") for row in listed[1::2]]
    # A key without a value is true; the last one counts.
    last = {os.fsdecode(key): value if line else b"true" for key, line, value in rows}
    named = {key: last[key].lower() for key in (FOLDING | MODES) & {*last}}
    attributes = _attributes(last)
    settings = Settings(
        all(named.get(key, b"false") in NO for key in FOLDING),
        attributes is not None and all(named.get(key, b"true") in YES for key in MODES),
        (*(attributes or ()), common / "info" / "attributes"),
    )
    files = (common / "config", common / "config.worktree", *settings_sources(listed, slot))
    differs = any(key.startswith("includeif.") for key in last)
    return _Known(files, differs, _signs(files, own, differs=differs), settings)


def _signs(files: Sequence[Path], own: Path, *, differs: bool) -> tuple[object, ...]:
    """Returns what is another value when the settings for a worktree may be other ones."""
    where = (own, file_sign(own / "HEAD")) if differs else ()
    return (*map(file_sign, files), *where)


def _attributes(settings: Mapping[str, bytes]) -> tuple[Path, ...] | None:
    """Returns the files with attributes for all repositories; ``None`` if they are named in a strange way."""
    if OTHER in settings:
        return None
    named = os.fsdecode(settings.get("core.attributesfile", b""))
    if "core.attributesfile" not in settings:
        return (*system_attributes(), settings_folder() / "git" / "attributes")
    if named.startswith("/"):
        return (*system_attributes(), Path(named))
    return (*system_attributes(), Path(named).expanduser()) if named.startswith("~/") else None


@cache
def system_attributes() -> tuple[Path, ...]:
    """Returns the files with attributes for all users, be they there or not."""
    if git_version() >= TELLS:
        said = Git(Path("/")).line("var", "GIT_ATTR_SYSTEM", ok=(0, 1))
        return (Path(said),) if said else ()
    # It is where the system's settings are: in `etc` beside the programs, but for those in `/usr`.
    programs = Path(Git(Path("/")).line("--exec-path"))
    return Path("/etc/gitattributes"), programs.parents[1] / "etc/gitattributes"


def file_sign(path: Path) -> FileSign | None:
    """Returns what is another value when a file was written to; ``None`` where there is none."""
    with suppress(OSError):
        facts = path.stat()
        return (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return None
