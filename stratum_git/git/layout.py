"""Where a repository lies, read from its files alone: for whoever has no time to start git, or to load it.

What git would find in other ways (variables, a bare repository) is not found here; then there is none.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stratum_git.git.files import read_pointer


@dataclass(frozen=True, slots=True)
class Layout:
    """A checkout: its top, its own git directory, and the one that all checkouts share."""

    root: Path
    git_dir: Path
    common_dir: Path

    @property
    def object_format(self) -> Literal["sha1", "sha256"]:
        """Returns the kind of its object ids, which its settings have where it is not the usual one."""
        with suppress(OSError):
            text = (self.common_dir / "config").read_text(encoding="utf-8", errors="replace")
            if re.search(r"(?mi)^\s*objectformat\s*=\s*sha256\b", text):
                return "sha256"
        return "sha1"


def layout_of(place: Path) -> Layout | None:
    """Returns the checkout around *place*, as git would find it; ``None`` where there is none."""
    with suppress(OSError, RuntimeError, ValueError):
        top = place.resolve()
        for folder in (top, *top.parents):
            git_dir = _git_dir(folder / ".git")
            if git_dir is not None:
                return Layout(folder, git_dir, _common(git_dir))
    return None


def key_of(common_dir: Path) -> str:
    """Returns a name for folders: the checkout's name, and digits of the common directory's path."""
    owner = common_dir.parent if common_dir.name == ".git" else common_dir
    digest = hashlib.sha256(os.fsencode(common_dir)).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', owner.name)[:40].strip('.-') or 'repository'}-{digest}"


def _git_dir(marker: Path) -> Path | None:
    if marker.is_dir():
        return marker if (marker / "HEAD").is_file() or (marker / "HEAD").is_symlink() else None
    if not marker.is_file():
        return None
    found = (marker.parent / read_pointer(marker).removeprefix("gitdir: ")).resolve()
    return found if found.is_dir() else None


def _common(git_dir: Path) -> Path:
    with suppress(FileNotFoundError):
        return (git_dir / read_pointer(git_dir / "commondir")).resolve()
    return git_dir
